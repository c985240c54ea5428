//! Translated addresses, fragments and ICMP errors: what belongs together is one flow, and its counts
//! are those of the network. Needs root.

mod fragments;
mod icmp;
mod lab;
mod service;
