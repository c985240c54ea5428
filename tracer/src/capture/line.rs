//! What a capture says beside packets, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::{
    diagnose::Intent,
    event::{Event, HopKey, KtimeNs, NetnsId},
    inventory::{Inventory, Netns},
    model::Loss,
    view::Limit,
};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// First in each file.
    Header(Box<Header>),
    /// The node's configuration: second in each file, and when it changed as a whole.
    Inventory(Box<Inventory>),
    /// One namespace of it changed, or is new.
    Netns(Box<Netns>),
    /// One namespace of it is gone.
    Gone(NetnsId),
    /// What the model was told.
    Event(Box<Event>),
    /// The kernel's entry of a flow was deleted; its totals stay.
    Retired(Box<HopKey>),
    /// Everything up to a time is written.
    Tick(Tick),
    /// Last in a file that was ended in order.
    End(End),
}

/// What the recording is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`super::SCHEMA`].
    pub schema: String,
    /// Version of the tracer that wrote it.
    pub tracer: String,
    /// `CLOCK_MONOTONIC` at the start.
    pub started: KtimeNs,
    /// Nanoseconds since 1970 at `CLOCK_MONOTONIC` 0.
    pub wall_offset_ns: u64,
    /// The filter as it was given; empty for none.
    pub filter: String,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    /// What the kernel did not let us see.
    pub limits: Vec<Limit>,
    /// What the network is meant to do.
    pub intent: Intent,
    /// All devices were traced, so that an answer would have been seen.
    pub answers_visible: bool,
    /// Number of this file in a rotation, from 0.
    pub part: u64,
}

/// A moment up to which everything is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// When.
    pub at: KtimeNs,
    /// What was lost up to then.
    pub loss: Loss,
    /// Of it: packets with their bytes that found the ring buffer full.
    pub packets_lost: u64,
}

/// Why the recording ended, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The last moment.
    pub tick: Tick,
    /// Packets in this file.
    pub packets: u64,
    /// The recording goes on in the next file.
    pub continues: bool,
}
