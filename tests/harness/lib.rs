//! Labs and helpers for the end-to-end tests of tracer.
//!
//! A lab is a small cluster of network namespaces on this machine: nodes, pods, the fabric between
//! them. Nothing outside those namespaces is touched, and they disappear with the value that
//! raised them, also when the process is killed.
//!
//! - [`labs`]: the broken clusters, by name. Start here, and copy one of its files for a new one.
//! - [`topology`]: the builder that a lab is written with.
//! - [`traffic`]: senders and echo servers.
//! - [`tracer`]: the program under test as a process inside a namespace.
//! - [`observe`]: tracer beside a lab's traffic. [`expect`]: assertions on its JSON.
//! - [`confusion`]: cases of route decisions, each compared with the packets that really left
//!   ([`truth`]).
//! - [`kubelet`]: pods with names.
//! - [`tmux`]: a terminal for its TUI. [`pty`]: one for measuring it.

pub mod bpf;
pub mod brief;
pub mod command;
pub mod confusion;
pub mod deadline;
pub mod expect;
pub mod inject;
pub mod kubelet;
pub mod labs;
pub mod netns;
pub mod observe;
pub mod pty;
pub mod random;
pub mod reaper;
pub mod tmux;
pub mod topology;
pub mod tracer;
pub mod traffic;
pub mod truth;

pub use labs::Lab;
pub use netns::Netns;
pub use observe::Observed;
pub use topology::{Network, Topology};
pub use tracer::Tracer;

use anyhow::{Result, bail, ensure};

/// Says in one sentence why labs cannot run here: not root, or a tool is missing.
///
/// A test that needs a lab calls this and fails; it never skips, so that a green run means that
/// everything ran.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "labs need root (network namespaces): run this with sudo"
    );
    for (tool, package) in [
        ("ip", "iproute2"),
        ("bridge", "iproute2"),
        ("tc", "iproute2"),
        ("nft", "nftables"),
    ] {
        if !command::installed(tool) {
            bail!("labs need `{tool}`, which is not on PATH: install {package}");
        }
    }
    Ok(())
}
