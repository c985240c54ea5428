//! Stopping as `^Z` does: the terminal is given back first.

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction},
    unistd::Pid,
};

/// Restores the terminal and stops this process until it is continued; `group` stops the programs
/// that it runs with as well, as the terminal does for `^Z`. Where no shell could continue it, the
/// kernel does not stop it.
pub fn stop(group: bool) -> Result<()> {
    super::restore();
    let action = |handler| SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // the others first, without us
    // SAFETY: ignoring a signal runs no code
    let before = unsafe { sigaction(Signal::SIGTSTP, &action(SigHandler::SigIgn)) };
    let before = before.context("cannot ignore SIGTSTP")?;
    if group {
        kill(Pid::from_raw(0), Signal::SIGTSTP).context("cannot stop the process group")?;
    }
    // SAFETY: the default action runs no code of this process
    unsafe { sigaction(Signal::SIGTSTP, &action(SigHandler::SigDfl)) }
        .context("cannot stop on SIGTSTP")?;
    // to this thread, so that it has happened when this returns
    let stopped = raise(Signal::SIGTSTP);
    // SAFETY: it is the handler that was there before
    unsafe { sigaction(Signal::SIGTSTP, &before) }.context("cannot catch SIGTSTP again")?;
    stopped.context("cannot stop")
}
