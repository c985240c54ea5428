//! A terminal in this process, for measuring: what tmux takes to be asked is not in the times.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Netns, deadline};

/// The end of a frame (synchronized update).
const END: &[u8] = b"\x1b[?2026l";

/// A program on a terminal. It is killed when this is dropped.
pub struct Pty {
    child: Child,
    keys: File,
    seen: Arc<Seen>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    screen: Mutex<Screen>,
    changed: Condvar,
}

#[derive(Default)]
struct Screen {
    terminal: vt100::Parser,
    frames: u64,
    /// When the last of them was there.
    at: Option<Instant>,
    ended: bool,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in whole frames, as long as there are any.
    fn read(&self, mut from: File) {
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        // at the end of the program this is an error (EIO)
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            let at = Instant::now();
            bytes.extend_from_slice(&chunk[..n]);
            let last = bytes.windows(END.len()).rposition(|w| w == END);
            let Some(last) = last else { continue };
            let frames: Vec<u8> = bytes.drain(..last + END.len()).collect();
            let mut screen = self.lock();
            screen.terminal.process(&frames);
            screen.frames += frames.windows(END.len()).filter(|w| *w == END).count() as u64;
            screen.at = Some(at);
            drop(screen);
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl Pty {
    /// Runs `argv` in a terminal of `columns` × `rows` in `ns`.
    pub fn start(ns: &Netns, (columns, rows): (u16, u16), argv: &[&str]) -> Result<Self> {
        let [ours, theirs] = open((columns, rows))?;
        let copy = || theirs.try_clone().map(Stdio::from);
        let [program, args @ ..] = argv else {
            bail!("no program")
        };
        let mut command = Command::new(program);
        command
            .args(args)
            .env("TERM", "xterm-256color")
            .stdin(copy()?)
            .stdout(copy()?)
            .stderr(copy()?);
        // SAFETY: setsid and ioctl are async-signal-safe
        unsafe {
            command.pre_exec(|| {
                let terminal = libc::setsid() >= 0 && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0;
                terminal
                    .then_some(())
                    .ok_or_else(std::io::Error::last_os_error)
            });
        }
        let child = ns.run_with_sysfs(|| command.spawn())?;
        let child = child.with_context(|| format!("cannot start {program}"))?;
        drop((command, theirs));
        let seen = Arc::new(Seen::default());
        let size = |n| NonZero::new(n).context("a terminal without rows or columns");
        seen.lock().terminal = vt100::Parser::new(size(rows)?, size(columns)?, 0);
        let (keys, output) = (File::from(ours.try_clone()?), File::from(ours));
        let sees = Arc::clone(&seen);
        let reader = thread::spawn(move || sees.read(output));
        Ok(Self {
            child,
            keys,
            seen,
            reader: Some(reader),
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types `q` and waits for the end, which must be an orderly one.
    pub fn quit(mut self, limit: Duration) -> Result<()> {
        self.keys.write_all(b"q").context("cannot type")?;
        let status = deadline::wait_for("the end of the view", limit, || {
            Ok(self.child.try_wait()?)
        })?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    /// Types `bytes` as a terminal sends them (`\x1b[6~` for page down) and waits for the first frame
    /// behind them that satisfies `wanted`. How long that took.
    pub fn answer(
        &mut self,
        bytes: &[u8],
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Duration> {
        let begun = Instant::now();
        self.keys.write_all(bytes).context("cannot type")?;
        let what = format!("an answer to {}", bytes.escape_ascii());
        let at = self.frame(&what, limit, Some(begun), wanted)?.0;
        Ok(at.saturating_duration_since(begun))
    }

    /// The text on the screen, one line a row.
    pub fn screen(&self) -> String {
        self.seen.lock().text()
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.seen.lock().frames
    }

    /// Waits for a frame that satisfies `wanted`, at most for `limit` ([`deadline::scaled`]). Its text.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        Ok(self.frame(what, limit, None, wanted)?.1)
    }

    fn frame(
        &self,
        what: &str,
        limit: Duration,
        since: Option<Instant>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Instant, String)> {
        let end = Instant::now() + deadline::scaled(limit);
        let mut screen = self.seen.lock();
        loop {
            let text = screen.text();
            if let Some(at) = screen.at.filter(|at| Some(*at) > since && wanted(&text)) {
                return Ok((at, text));
            }
            let left = end.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero() && !screen.ended,
                "{what} did not appear within {limit:?}; the screen is:\n{text}"
            );
            let waited = self.seen.changed.wait_timeout(screen, left);
            screen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Screen {
    fn text(&self) -> String {
        self.terminal.screen().contents()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // an error says that it has ended already
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.reader.take().map(JoinHandle::join));
    }
}

/// Both ends of a new terminal.
fn open((columns, rows): (u16, u16)) -> Result<[OwnedFd; 2]> {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointers are to this frame's variables, or null where that is allowed
    let result = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    ensure!(result == 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: openpty made both, and nobody else has them
    let ends = unsafe { [OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)] };
    for end in &ends {
        // SAFETY: it only sets a flag of this descriptor
        unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(ends)
}
