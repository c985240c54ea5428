//! BPF programs that others attached to a device.

use serde::{Deserialize, Serialize};

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
