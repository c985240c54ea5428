//! Giving up what is not needed any more.
//!
//! Landlock is not used: a thread in a Landlock domain may not look at the namespaces of processes
//! outside of it (`ptrace_access_check`), and new pods are found by those.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

/// `nobody` and `nogroup`: they own nothing.
const NOBODY: u32 = 65_534;

/// What following a node needs: attaching to new devices, entering new pods' namespaces, looking at
/// processes' namespaces and at other people's programs.
const KEPT: [Capability; 5] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_PTRACE,
];

/// Makes a process that root started one of nobody. The calling thread, and threads that it starts,
/// keep the capabilities that tracing goes on with; all other threads lose theirs. Nothing happens
/// to a process of another user.
pub fn drop_root() -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|c| permitted.contains(c)).collect();
    caps::securebits::set_keepcaps(true).map_err(io::Error::other)?;
    setgroups(&[])?;
    setresgid(
        Gid::from_raw(NOBODY),
        Gid::from_raw(NOBODY),
        Gid::from_raw(NOBODY),
    )?;
    // glibc changes all threads of the process
    setresuid(
        Uid::from_raw(NOBODY),
        Uid::from_raw(NOBODY),
        Uid::from_raw(NOBODY),
    )?;
    for set in [CapSet::Permitted, CapSet::Effective] {
        // what is effective must be permitted at any moment, and setresuid has cleared it
        caps::set(None, set, &kept).map_err(io::Error::other)?;
    }
    caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)
}
