//! Signals that ask this program to end, noticed instead of obeyed, so that whoever owns a machine
//! can stop it first.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SigSet, Signal};

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static WATCHED: OnceLock<()> = OnceLock::new();

/// From now on ^C, SIGTERM and SIGHUP only make [`check`] fail. Called before other threads start,
/// because each of them takes over which signals are blocked.
pub(super) fn watch() -> Result<()> {
    if WATCHED.set(()).is_err() {
        return Ok(());
    }
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().context("blocking signals")?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            RECEIVED.store(signal as i32, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Fails once a signal has come.
pub(super) fn check() -> Result<()> {
    match Signal::try_from(RECEIVED.load(Ordering::Relaxed)) {
        Ok(signal) => bail!("stopped by {signal}"),
        // zero is no signal
        Err(_) => Ok(()),
    }
}
