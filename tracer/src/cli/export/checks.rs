//! Checks that are repeated beside the session.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::board::Board;
use crate::cli::check::Repeated;

/// Running checks.
pub(super) struct Checks {
    quit: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Checks {
    pub(super) fn start(checks: Repeated, every: Duration, board: Arc<Board>) -> Result<Self> {
        let (quit, asked) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("checks".to_owned())
            .spawn(move || repeat(&checks, every, &board, &asked))
            .context("cannot start a thread for the checks")?;
        Ok(Self { quit, thread })
    }

    /// Ends them. A run that is under way got the same signal.
    pub(super) fn stop(self) {
        // it has ended when nobody listens
        let _ended = self.quit.send(());
        if self.thread.join().is_err() {
            tracing::error!("the checks ended unexpectedly; this is a bug in tracer");
        }
    }
}

fn repeat(checks: &Repeated, every: Duration, board: &Board, quit: &mpsc::Receiver<()>) {
    loop {
        let begun = Instant::now();
        match checks.run() {
            Ok(Some(verdicts)) => board.judged(Some(&verdicts)),
            // a signal
            Ok(None) => return,
            Err(e) => {
                tracing::warn!("the checks could not be made: {e:#}");
                board.judged(None);
            }
        }
        let pause = every.saturating_sub(begun.elapsed());
        if quit.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
    }
}
