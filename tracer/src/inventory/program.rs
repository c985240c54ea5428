//! BPF programs at the devices: those of others, and tracer's own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::Ifindex;

/// Which tc hook of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TcHook {
    /// Packets that come in, before routing.
    Ingress,
    /// Packets that go out, behind routing.
    Egress,
}

/// A program at a tc hook (tcx or clsact). It may send packets on by itself (`bpf_redirect` and
/// its kin), past routing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TcProgram {
    /// Where.
    pub hook: TcHook,
    /// Number, as `bpftool prog` shows it; `None` when the kernel does not tell.
    pub id: Option<u32>,
    /// Name: for tcx that of the program, which the kernel cuts after 15 bytes; for clsact that of
    /// the filter, as `tc filter show` prints it. Empty when it may not be read.
    pub name: String,
}

/// Where tracer's own program is attached, in the home namespace. It is no part of the node's
/// configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// By clsact filters, because the kernel has no tcx.
    pub clsact: bool,
    /// The devices.
    pub devices: BTreeSet<Ifindex>,
}

impl Attached {
    /// How a device is attached: `tcx`, `clsact`, `none`.
    pub fn how(&self, dev: Ifindex) -> &'static str {
        match (self.devices.contains(&dev), self.clsact) {
            (false, _) => "none",
            (true, false) => "tcx",
            (true, true) => "clsact",
        }
    }
}
