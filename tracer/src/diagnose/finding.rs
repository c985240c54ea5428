//! What a rule found.

use std::net::IpAddr;

use crate::{
    event::{Ifindex, NetnsId},
    model::FlowId,
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Packets are lost or go the wrong way.
    Error,
    /// Something that loses packets under conditions not seen yet.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What a finding is about; any part may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Flows concerned, most affected first.
    pub flows: Vec<FlowId>,
    /// Device.
    pub dev: Option<(NetnsId, Ifindex)>,
    /// Address or next hop.
    pub address: Option<IpAddr>,
}

/// One thing that is wrong, said in plain words, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable id: the name of its page in `docs/findings/`.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// One full sentence about this instance.
    pub summary: String,
    /// What it is about.
    pub subject: Subject,
    /// Numbers and config lines that show it.
    pub evidence: Vec<String>,
    /// A command to run or a setting to change.
    pub next: String,
}
