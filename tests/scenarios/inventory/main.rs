//! What tracer reads of the configuration is what `ip` prints of it. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod follow;
mod lab;
mod links;
mod nodes;
mod routes;
mod rules;
