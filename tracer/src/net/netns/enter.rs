//! Entering a namespace.

use std::{fs::File, thread};

use nix::sched::{CloneFlags, setns};

use super::{Found, current};
use crate::net::NetError;

/// Moves the calling thread into a namespace; there is no way back for a thread that may not
/// enter its own again, so that this is for threads made for it.
pub fn enter(target: &Found) -> Result<(), NetError> {
    let refused = |source| NetError::Enter {
        netns: target.id,
        source,
    };
    if current()? == target.id {
        return Ok(());
    }
    let file = File::open(&target.path).map_err(refused)?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|e| refused(e.into()))?;
    // a process id may have been used again since it was looked up
    if current()? == target.id {
        Ok(())
    } else {
        Err(refused(std::io::ErrorKind::NotFound.into()))
    }
}

/// Runs `work` in a namespace, on a thread of its own.
pub fn run_in<T: Send>(target: &Found, work: impl FnOnce() -> T + Send) -> Result<T, NetError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into());
        let handle = thread
            .spawn_scoped(scope, || enter(target).map(|()| work()))
            .map_err(|source| NetError::Thread { source })?;
        handle.join().unwrap_or(Err(NetError::ThreadEnded))
    })
}
