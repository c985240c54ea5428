//! The program under test as a process inside a namespace.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{Netns, deadline};

/// From start to `ready`. The promise is below 1 s; a debug build on a machine under load may take
/// longer, and a test of the promise measures it.
pub const READY_LIMIT: Duration = Duration::from_secs(30);

/// A running tracer. Killed when dropped.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    shown: String,
    stdout: Output,
    stderr: Output,
}

/// A tracer that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// All that it wrote to stdout.
    pub stdout: String,
    /// All that it wrote to stderr.
    pub stderr: String,
}

impl Tracer {
    /// Starts `tracer ARGS…` in `ns` without waiting for anything.
    pub fn spawn(ns: &Netns, args: &[impl AsRef<OsStr>]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(args);
        Self::spawn_command(ns, command)
    }

    /// Starts a command that was made with [`binary`], for a test that sets an environment.
    pub fn spawn_command(ns: &Netns, mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = ns.spawn(&mut command)?;
        let stdout = Output::of(child.stdout.take().context("no stdout")?)?;
        let stderr = Output::of(child.stderr.take().context("no stderr")?)?;
        Ok(Self {
            child,
            shown: format!("{command:?} in {}", ns.name()),
            stdout,
            stderr,
        })
    }

    /// Starts `tracer ARGS…` in `ns` and waits until it traces.
    pub fn start(ns: &Netns, args: &[impl AsRef<OsStr>]) -> Result<Self> {
        let tracer = Self::spawn(ns, args)?;
        tracer.wait_ready(READY_LIMIT)?;
        Ok(tracer)
    }

    /// Runs `tracer ARGS…` in `ns` to its end.
    pub fn run(ns: &Netns, args: &[impl AsRef<OsStr>], limit: Duration) -> Result<Ended> {
        Self::spawn(ns, args)?.wait(limit)
    }

    /// Waits for the line with `ready` on stderr.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        self.stderr_line("ready", limit, |line| line.contains("ready"))
            .map(drop)
    }

    /// Waits for a line of stderr; `what` names it in the error.
    pub fn stderr_line(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        self.line(&self.stderr, what, limit, &wanted)
    }

    /// Waits for a line of stdout; `what` names it in the error.
    pub fn stdout_line(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        self.line(&self.stdout, what, limit, &wanted)
    }

    fn line(
        &self,
        output: &Output,
        what: &str,
        limit: Duration,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<String> {
        match output.wait_line(limit, wanted) {
            Some(line) => Ok(line),
            None => bail!(
                "{} {} without a line for: {what}\nstdout:\n{}\nstderr:\n{}",
                self.shown,
                if output.ended() {
                    "ended".to_owned()
                } else {
                    format!("ran {limit:?}")
                },
                self.stdout.text(),
                self.stderr.text()
            ),
        }
    }

    /// The pid of tracer itself.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.shown))
    }

    /// Sends SIGINT, as ^C does, and waits for the end.
    pub fn interrupt(self, limit: Duration) -> Result<Ended> {
        self.signal(Signal::SIGINT)?;
        self.wait(limit)
    }

    /// Waits for the end.
    pub fn wait(mut self, limit: Duration) -> Result<Ended> {
        let what = format!("the end of {}", self.shown);
        let status = deadline::wait_for(&what, limit, || Ok(self.child.try_wait()?))
            .with_context(|| format!("its stderr:\n{}", self.stderr.text()))?;
        self.stdout.finish();
        self.stderr.finish();
        Ok(Ended {
            status,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // an error says that it has ended already
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    /// The exit status; an error when a signal ended it.
    pub fn code(&self) -> Result<i32> {
        self.status
            .code()
            .with_context(|| format!("{}; stderr:\n{}", self.status, self.stderr))
    }

    /// Requires an exit status, and shows both outputs otherwise.
    pub fn expect_code(self, wanted: i32) -> Result<Self> {
        ensure!(
            self.status.code() == Some(wanted),
            "wanted exit status {wanted}, got {}\nstdout:\n{}\nstderr:\n{}",
            self.status,
            shortened(&self.stdout),
            shortened(&self.stderr)
        );
        Ok(self)
    }

    /// stdout as one JSON object (`check`, `read`, `audit`).
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| {
            format!(
                "stdout is no JSON object:\n{}\nstderr:\n{}",
                self.stdout, self.stderr
            )
        })
    }

    /// stdout as one JSON object a line (`watch`).
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        let parse = |line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
        self.stdout
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(parse)
            .collect()
    }
}

/// The start of a text, so that a report of many flows does not bury what went wrong.
fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    const MOST: usize = 8000;
    match text.char_indices().nth(MOST) {
        None => text.into(),
        Some((at, _)) => {
            let (start, rest) = text.split_at(at);
            format!("{start}… and {} bytes more", rest.len()).into()
        }
    }
}

/// The binary to test: `TRACER_BIN`, or `tracer` in the build directory that this test is from.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("TRACER_BIN") {
        Some(path) => PathBuf::from(path),
        None => build_dir()?.join("tracer"),
    };
    ensure!(
        path.is_file(),
        "there is no tracer at {}: build it with `cargo build -p tracer`, or set TRACER_BIN",
        path.display()
    );
    Ok(std::path::absolute(path)?)
}

/// `target/debug`: above `deps`, where test binaries lie, or the directory of the running binary.
fn build_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own
        .parent()
        .context("the running binary has no directory")?;
    let test = matches!(
        dir.file_name().and_then(OsStr::to_str),
        Some("deps" | "examples")
    );
    let build = if test { dir.parent() } else { Some(dir) };
    build.map(Path::to_path_buf).context("deps has no parent")
}

/// Lines of a pipe, collected by a thread.
#[derive(Debug)]
struct Output {
    shared: Arc<(Mutex<Collected>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Result<Self> {
        let shared = Arc::new((Mutex::new(Collected::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let (collected, changed) = &*theirs;
                let mut reader = BufReader::new(pipe);
                let mut line = Vec::new();
                while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                    let text = String::from_utf8_lossy(&line);
                    lock(collected)
                        .lines
                        .push(text.trim_end_matches('\n').to_owned());
                    changed.notify_all();
                    line.clear();
                }
                lock(collected).ended = true;
                changed.notify_all();
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    fn wait_line(&self, limit: Duration, wanted: &dyn Fn(&str) -> bool) -> Option<String> {
        let end = Instant::now() + deadline::scaled(limit);
        let (collected, changed) = &*self.shared;
        let mut guard = lock(collected);
        let mut seen = 0;
        loop {
            let fresh = guard.lines.get(seen..).unwrap_or_default();
            if let Some(line) = fresh.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = guard.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if guard.ended || left.is_zero() {
                return None;
            }
            guard = changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn ended(&self) -> bool {
        lock(&self.shared.0).ended
    }

    fn text(&self) -> String {
        let collected = lock(&self.shared.0);
        collected
            .lines
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect()
    }

    /// Waits for the end of the pipe, which the end of the process closes.
    fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn lock(collected: &Mutex<Collected>) -> MutexGuard<'_, Collected> {
    collected.lock().unwrap_or_else(PoisonError::into_inner)
}
