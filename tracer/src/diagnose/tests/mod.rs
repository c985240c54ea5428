//! Every finding on small nodes: what fires, what stays silent beside it, and in which order.

mod audit;
mod build;
mod fixtures;
mod intent;
mod matrix;
mod pages;
mod words;
