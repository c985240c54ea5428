//! What one process holds in the kernel's BPF subsystem, and whether it is gone with it. Programs of
//! other processes, also of other tracers, are none of its business.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{PROG_GET_FD_BY_ID, bpf};
use crate::deadline;

// commands of linux/bpf.h
const MAP_GET_FD_BY_ID: libc::c_int = 14;
const LINK_GET_FD_BY_ID: libc::c_int = 30;

/// What a descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A program.
    Program,
    /// A map.
    Map,
    /// A link: an attachment that ends when nobody holds it.
    Link,
}

/// The BPF objects that a process has descriptors of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(BTreeSet<(Kind, u32)>);

impl Held {
    /// Of a process; nothing when it has ended.
    pub fn by(pid: u32) -> Result<Self> {
        let mut held = BTreeSet::new();
        let entries = match fs::read_dir(format!("/proc/{pid}/fdinfo")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("descriptors of {pid}")),
        };
        for entry in entries {
            // a descriptor that was closed meanwhile holds nothing
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            let number = |key: &str| -> Option<u32> {
                let line = text.lines().find_map(|line| line.strip_prefix(key))?;
                line.trim().parse().ok()
            };
            // the entry of a link names its program as well
            let kinds = [
                (Kind::Link, "link_id:"),
                (Kind::Program, "prog_id:"),
                (Kind::Map, "map_id:"),
            ];
            held.extend(
                kinds
                    .iter()
                    .filter_map(|(kind, key)| Some((*kind, number(key)?))),
            );
        }
        Ok(Self(held))
    }

    /// How many of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|(of, _)| *of == kind).count()
    }

    /// What of it is still in the kernel.
    pub fn left(&self) -> Result<Vec<(Kind, u32)>> {
        let mut left = Vec::new();
        for (kind, id) in &self.0 {
            let command = match kind {
                Kind::Program => PROG_GET_FD_BY_ID,
                Kind::Map => MAP_GET_FD_BY_ID,
                Kind::Link => LINK_GET_FD_BY_ID,
            };
            match bpf(command, &mut [*id, 0, 0]) {
                // SAFETY: a new descriptor that nobody else owns; it is closed at once.
                Ok(fd) => drop(unsafe { OwnedFd::from_raw_fd(fd) }),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                Err(error) => return Err(error).with_context(|| format!("{kind:?} {id}")),
            }
            left.push((*kind, *id));
        }
        Ok(left)
    }

    /// Waits until nothing of it is in the kernel, which frees it after a grace period.
    pub fn wait_gone(&self) -> Result<()> {
        let mut left = Vec::new();
        deadline::wait_for("the end of what it held", Duration::from_secs(10), || {
            left = self.left()?;
            Ok(left.is_empty().then_some(()))
        })
        .with_context(|| format!("still there: {left:?}"))
    }
}
