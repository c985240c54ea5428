//! What a session looks at.

use std::{path::PathBuf, time::Duration};

use crate::{cluster, filter::Filter, names, probe::Recording};

/// What a session looks at, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionConfig {
    /// Devices of the home namespace, by name; empty for all but `lo`.
    pub devices: Vec<String>,
    /// Namespaces beside the home one, as they were given: `NAME`, `PID`, `INODE`, `self`, `all`;
    /// empty for the pods behind the node.
    pub netns: Vec<String>,
    /// Which packets; what of it the kernel can test is tested there.
    pub filter: Filter,
    /// Send an event for each packet.
    pub each_packet: bool,
    /// Tell all that a recording needs: the first bytes of each packet, and every change of a total.
    pub recording: Option<Recording>,
    /// Entries of the kernel's table of flows at devices; `None` for the usual number.
    pub flows: Option<u32>,
    /// Stop after this time; `None` for a signal.
    pub duration: Option<Duration>,
    /// For a session without end: flows that were idle this long are forgotten, sums over all are
    /// kept, and a picture is taken once a second.
    pub forget: Option<Duration>,
    /// How soon pictures follow each other when there are very many flows.
    pub pace: Pace,
    /// Type information instead of `/sys/kernel/btf/vmlinux`.
    pub btf: Option<PathBuf>,
    /// Go on as nobody once everything is attached: nothing is read or written later that only root
    /// may.
    pub drop_root: bool,
    /// What was given of what the network is meant to do; the rest is read from the node's files.
    pub cluster: cluster::Given,
    /// Where the names of pods and containers are looked up.
    pub names: names::Sources,
    /// Ask an API server for names as well.
    pub kube: bool,
}

/// How soon pictures follow each other when one takes long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Making them takes a fifth of a CPU at most.
    #[default]
    Sparing,
    /// Somebody looks at them, and they may take half of a CPU.
    Watched,
}
