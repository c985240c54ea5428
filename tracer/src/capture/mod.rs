//! Capture files: pcapng that Wireshark opens, with everything that tracer knows beside the packets.
//!
//! Packets are enhanced packet blocks. All else (events, the node's configuration, losses) is JSON,
//! one object a line, in blocks of a local-use type that other readers skip. `docs/capture-format.md`
//! describes both. A [`Writer`] is fed by a session, a [`Reader`] feeds one.

mod block;
mod comment;
mod frame;
mod hash;
mod identity;
mod interface;
mod line;
mod options;
mod reader;
mod totals;
mod version;
mod writer;

#[cfg(test)]
mod tests;

pub use block::BLOCK_MAX;
pub use interface::{Interface, What};
pub use line::{End, Header, Line, Tick};
pub use reader::{Block, Ending, Packet, ReadError, Reader};
pub use version::{CURRENT, SCHEMA};
pub use writer::{Counts, Writer};
