//! A terminal for the TUI: a tmux server of its own, with keys to press and a screen to read.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{Netns, deadline};

static SEQUENCE: AtomicU32 = AtomicU32::new(0);

/// A session with one window. Its server is killed when this is dropped.
#[derive(Debug)]
pub struct Tmux {
    socket: String,
}

impl Tmux {
    /// Runs `argv` in a new terminal of `columns` × `rows` in `ns`. When the program ends, the
    /// screen stays.
    pub fn start(ns: &Netns, size: (u16, u16), argv: &[&str]) -> Result<Self> {
        let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let tmux = Self {
            socket: format!("tracer-test-{}-{number}", std::process::id()),
        };
        let (columns, rows) = (size.0.to_string(), size.1.to_string());
        let mut args = vec![
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "--",
        ];
        // the options are set before the program runs, or one that ends at once is gone before
        let program = format!(
            "tmux -L {} set -g remain-on-exit on \\; set -g status off; exec \"$@\"",
            tmux.socket
        );
        args.extend(["sh", "-c", &program, "sh"]);
        args.extend(argv);
        let mut command = tmux.command(&args);
        command
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX");
        let output = ns
            .run_with_sysfs(|| command.output())?
            .context("cannot start tmux")?;
        checked(&output, "tmux new-session")?;
        Ok(tmux)
    }

    /// The text on the screen, one line a row.
    pub fn screen(&self) -> Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// The text on the screen with its colours as escape sequences.
    pub fn screen_with_colours(&self) -> Result<String> {
        self.run(&["capture-pane", "-p", "-e"])
    }

    /// Presses keys by tmux's names: `q`, `Enter`, `Down`, `C-c`.
    pub fn send_keys(&self, keys: &[&str]) -> Result<()> {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.run(&args).map(drop)
    }

    /// Types text as it is.
    pub fn send_text(&self, text: &str) -> Result<()> {
        self.run(&["send-keys", "-l", "--", text]).map(drop)
    }

    /// From now on every byte that the program writes goes to a file as well.
    pub fn tee(&self, file: &Path) -> Result<()> {
        let command = format!("exec cat > {}", file.display());
        self.run(&["pipe-pane", "-O", &command]).map(drop)
    }

    /// Makes the terminal this large.
    pub fn resize(&self, (columns, rows): (u16, u16)) -> Result<()> {
        self.run(&[
            "resize-window",
            "-x",
            &columns.to_string(),
            "-y",
            &rows.to_string(),
        ])
        .map(drop)
    }

    /// Waits until the screen satisfies `wanted` and returns it, as a whole frame if it can be had. The
    /// error shows the last screen.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let mut last = String::new();
        let seen = deadline::wait_for(what, limit, || {
            last = self.screen()?;
            Ok(wanted(&last).then(|| last.clone()))
        })
        .with_context(|| format!("the screen is:\n{last}"))?;
        Ok(self.at_rest(seen, wanted))
    }

    /// The terminal takes in a frame piece by piece: what the screen is when it no longer changes, or
    /// after some more looks, as long as it is still `wanted`.
    fn at_rest(&self, mut seen: String, wanted: impl Fn(&str) -> bool) -> String {
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(20));
            match self.screen() {
                Ok(next) if next != seen && wanted(&next) => seen = next,
                // there is no screen any more when the program has ended
                _ => break,
            }
        }
        seen
    }

    /// What tmux knows of the terminal, by its name for it: `#{alternate_on}`.
    pub fn ask(&self, format: &str) -> Result<String> {
        let text = self.run(&["display-message", "-p", format])?;
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// Lets programs fill the clipboard (OSC 52), as many terminals do.
    pub fn accept_clipboard(&self) -> Result<()> {
        self.run(&["set", "-g", "set-clipboard", "on"]).map(drop)
    }

    /// What a program put into the clipboard; an error when none did.
    pub fn clipboard(&self) -> Result<String> {
        self.run(&["show-buffer"])
    }

    /// The pid of the program.
    pub fn pid(&self) -> Result<i32> {
        let text = self.run(&["display-message", "-p", "#{pane_pid}"])?;
        text.trim()
            .parse()
            .with_context(|| format!("tmux says the pid is {text:?}"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-L").arg(&self.socket).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output().context("cannot start tmux")?;
        checked(&output, &format!("tmux {}", args.join(" ")))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // an error says that the server has gone already
        drop(self.command(&["kill-server"]).output());
    }
}

fn checked(output: &Output, shown: &str) -> Result<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{shown}` failed ({}): {stderr}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
