//! The command that runs while a recording is made.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::{self, Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A running command.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: process::Child,
    status: Option<ExitStatus>,
}

impl Child {
    /// Starts it. Its output goes where tracer's does, and to stderr where stdout is the capture.
    pub(super) fn start(program: &OsString, args: &[OsString], to_stderr: bool) -> Result<Self> {
        let name = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(args);
        if to_stderr {
            command.stdout(Stdio::from(io::stderr()));
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        Ok(Self {
            name,
            process: child,
            status: None,
        })
    }

    /// It is over.
    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        self.status = self.process.try_wait()?;
        Ok(self.status.is_some())
    }

    /// Ends it when it still runs, and says so when it failed by itself.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.has_ended()? {
            let status = self.status.unwrap_or_default();
            if !status.success() {
                writeln!(io::stderr().lock(), "tracer: {}: {status}", self.name)?;
            }
            return Ok(());
        }
        // it may have ended just now
        let _gone = kill(
            Pid::from_raw(self.process.id().cast_signed()),
            Signal::SIGTERM,
        );
        self.process.wait()?;
        Ok(())
    }
}
