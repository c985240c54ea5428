//! What each lab must give. `warning ` and `info ` stand before ids that are no errors.

mod incidents;
mod node;

use anyhow::Result;
use harness::{Lab, expect};

/// A lab, what is given of what it is meant to do, and its findings in order.
pub(crate) struct Case {
    pub(crate) lab: &'static str,
    /// `--mode …`.
    pub(crate) meant: &'static [&'static str],
    pub(crate) live: &'static [&'static str],
    /// Which flows go wrong is the choice of a hash of their ports: how often each is told is not compared.
    pub(crate) by_hash: bool,
    /// Nothing is found live where the kernel gives no drop reason.
    pub(crate) needs_reasons: bool,
    pub(crate) audit: &'static [&'static str],
    /// Words that the first live finding must contain.
    pub(crate) says: &'static [&'static str],
    /// The same for the first one of the audit.
    pub(crate) says_audit: &'static [&'static str],
    /// Waits for what comes after the traffic.
    pub(crate) settled: fn(&Lab) -> Result<()>,
}

impl Case {
    pub(crate) fn scenario(&self) -> &str {
        self.lab.split_once(':').map_or(self.lab, |(name, _)| name)
    }

    /// What must be found live on this kernel.
    pub(crate) fn live(&self, kernel: &str) -> &'static [&'static str] {
        if self.needs_reasons && !expect::has_reasons(kernel) {
            &[]
        } else {
            self.live
        }
    }
}

const NONE: Case = Case {
    lab: "",
    meant: &[],
    live: &[],
    by_hash: false,
    needs_reasons: false,
    audit: &[],
    says: &[],
    says_audit: &[],
    settled: |_| Ok(()),
};

/// All cases.
pub(crate) fn table() -> impl Iterator<Item = &'static Case> {
    incidents::INCIDENTS.iter().chain(node::NODE)
}

const NATIVE: &[&str] = &[
    "--mode",
    "native",
    "--pod-cidr",
    "10.244.0.0/16",
    "--pod-cidr",
    "fd44::/16",
];
const TUNNEL: &[&str] = &[
    "--mode",
    "tunnel",
    "--pod-cidr",
    "10.244.0.0/16",
    "--pod-cidr",
    "fd44::/16",
];
