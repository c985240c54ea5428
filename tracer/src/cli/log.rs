//! The log of tracer itself: stderr, except while a screen is drawn there.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError},
};

use tracing_subscriber::{EnvFilter, fmt};

use super::{args::Options, output};

/// Bytes of the log that are kept while a screen is drawn; later lines are left out.
const HELD: usize = 64 * 1024;

/// What was logged while a screen is drawn; `None` when none is.
static HELD_BACK: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Diagnostics go to stderr; `TRACER_LOG` overrides `-v` and `-q`.
pub(super) fn init(options: &Options) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    // what the client of the API server finds wrong is told by tracer
    let quiet = format!("{level},kube_client=off,kube_runtime=off,tower=off");
    let filter = EnvFilter::try_from_env("TRACER_LOG").unwrap_or_else(|_e| EnvFilter::new(quiet));
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        .with_target(false);
    let log = log
        .without_time()
        .with_ansi(output::colored(options.color, &io::stderr()));
    // a second call in one process (tests) keeps the first
    drop(log.try_init());
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(kept) if kept.len() < HELD => kept.extend_from_slice(bytes),
            Some(_) => {}
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Holds the log back until it is dropped, when stderr is a terminal.
pub(super) struct HoldBack;

impl HoldBack {
    pub(super) fn begin() -> Self {
        if io::stderr().is_terminal() {
            let mut held = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
            held.get_or_insert_default();
        }
        Self
    }
}

impl Drop for HoldBack {
    fn drop(&mut self) {
        let mut held = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = held.take() {
            // nobody is left to be told
            drop(io::stderr().write_all(&kept));
        }
    }
}
