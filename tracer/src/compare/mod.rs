//! Two nodes' captures, joined packet by packet: what left one and never reached the other.
//!
//! A packet is taken where it leaves a node (its last sight, going out by an uplink) and where it
//! enters the other (its first sight, coming in by an uplink), and matched by what no router
//! changes: innermost addresses, IP identification, TCP sequence, the beginning of the payload.
//! Time is not used to match, so that clocks may differ by hours; their difference comes out of it.
//! Flows whose addresses something between the nodes translates are joined by the rest.

mod clock;
mod key;
mod pairing;
mod renamed;
mod side;

#[cfg(test)]
mod tests;

pub use clock::{Clocks, Delays};
pub use pairing::{Compared, FlowCompared, Node, Pairs, Totals, compare};
pub use side::{Observation, Place, Side};
