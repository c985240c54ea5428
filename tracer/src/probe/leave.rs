//! The end of a session's kernel side.
//!
//! Taking a program from a device has the kernel wait for a grace period, some ten milliseconds, device
//! by device (`tcx_entry_sync()` of `net/tcx.h`, under the lock of the network configuration, so that
//! several threads gain nothing). A node with 250 devices takes seconds for that. Nobody needs to wait
//! for it: the kernel closes what a process leaves open, so that also after SIGKILL nothing stays.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use nix::unistd::{ForkResult, close, fork, pipe, read};

use super::Probe;

/// Devices from which programs are being taken.
static LEAVING: AtomicUsize = AtomicUsize::new(0);

/// So many devices are waited for: a quarter of a second.
const FEW: usize = 16;

impl Probe {
    /// Detaches everything, and returns before that is done where it takes long.
    pub fn leave(self) {
        let devices = self.attached().count();
        // a clsact filter is no link: it stays unless it is removed
        if self.uses_clsact() || devices <= FEW {
            return;
        }
        LEAVING.fetch_add(devices, Ordering::Relaxed);
        thread::spawn(move || {
            drop(self);
            LEAVING.fetch_sub(devices, Ordering::Relaxed);
        });
    }
}

/// Has another process end what [`Probe::leave`] began, so that this one can end at once. It shares the
/// open files and ends after this one: the last one who closes a file waits for what that takes.
pub fn leave_the_rest() {
    if LEAVING.load(Ordering::Relaxed) == 0 {
        return;
    }
    let Ok((end, held)) = pipe() else {
        return;
    };
    // SAFETY: the child calls nothing but close(2), read(2) and _exit(2), which are safe after fork(2)
    // in a program with threads.
    if let Ok(ForkResult::Child) = unsafe { fork() } {
        drop(held);
        // who reads what tracer printed is told that it is all
        for standard in 0..3 {
            let _closed = close(standard);
        }
        // nothing is ever written: it returns when this process has no parent any more
        let _ended = read(&end, &mut [0]);
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    // open until the end of the process
    std::mem::forget(held);
}
