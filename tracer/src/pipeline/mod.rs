//! Source → decode → model → diagnose → views.

mod config;
mod devices;
mod feed;
mod names;
mod record;
mod replay;
mod session;
mod signals;
mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use config::{Pace, SessionConfig};
pub use record::Recorder;
pub use replay::{FileFacts, Replay, Replayed, replay};
pub use session::run;

use crate::{
    diagnose::{Finding, Intent},
    event::{Event, HopKey, KtimeNs, RawPacket},
    inventory::{Attached, Inventory},
    model::Snapshot,
    view::Limit,
};

/// What a running session tells.
#[derive(Clone, Copy, Debug)]
pub enum PipelineEvent<'a> {
    /// Everything is attached and drained; comes first, once.
    Ready(&'a Ready),
    /// A record of the kernel side, in its order.
    Event(&'a Event),
    /// A picture of everything, several times a second, with what is wrong.
    Snapshot(&'a Arc<Snapshot>, &'a [Finding]),
    /// The node's configuration changed.
    Inventory(&'a Arc<Inventory>),
    /// Where tracer is attached; comes behind [`PipelineEvent::Ready`] and when it changed.
    Attached(&'a Arc<Attached>),
    /// Only with [`SessionConfig::recording`].
    Recording(Recorded<'a>),
}

/// What a recording keeps beside all else.
#[derive(Clone, Copy, Debug)]
pub enum Recorded<'a> {
    /// An entry of the kernel's tables changed.
    Total(&'a Event),
    /// The kernel's entry of a flow was deleted, its total stays.
    Retired(&'a HopKey),
    /// The kernel's entry of a drop was deleted; this was its total.
    Forgotten(&'a Event),
    /// A packet with its bytes, in the order of the events.
    Packet(&'a RawPacket<'a>),
    /// Packets so far that found the ring buffer full; comes before a snapshot.
    PacketsLost(u64),
    /// SIGUSR1 asks for the counters.
    Asked,
}

/// What is known once everything is attached.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The node's configuration.
    pub inventory: Arc<Inventory>,
    /// Nanoseconds since 1970 at `CLOCK_MONOTONIC` 0.
    pub wall_offset_ns: u64,
    /// When it started.
    pub started: KtimeNs,
    /// What this kernel does not let us see.
    pub limits: Vec<Limit>,
    /// Devices that are traced.
    pub devices: usize,
    /// What the network is meant to do.
    pub intent: Intent,
}

/// The last picture, after everything was drained.
#[derive(Clone, Debug)]
pub struct SessionEnd {
    /// What was known when it started.
    pub ready: Ready,
    /// The node's configuration at the end.
    pub inventory: Arc<Inventory>,
    /// Flows, drops, loss.
    pub snapshot: Arc<Snapshot>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Why it ended.
    pub ended: Ended,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its time was over.
    Time,
    /// Whoever was told of the events had enough.
    Told,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Hangup,
}
