//! Network namespaces: which there are, what they are called, and how to enter them.

mod enter;
mod list;
mod peer;
mod select;

pub use enter::{enter, run_in};
pub use list::{Found, Namespaces};
pub(super) use peer::peers;
pub use select::{NetnsSelection, find};

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::NetError;
use crate::event::NetnsId;

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// The namespace that the calling thread is in.
pub fn current() -> Result<NetnsId, NetError> {
    inode(Path::new(OWN)).map_err(|source| NetError::File {
        path: OWN.into(),
        source,
    })
}

/// The inode number of a namespace file. They are below 2^32.
fn inode(path: &Path) -> std::io::Result<NetnsId> {
    let number = fs::metadata(path)?.ino();
    Ok(NetnsId(u32::try_from(number).unwrap_or(0)))
}
