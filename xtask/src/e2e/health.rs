//! Whether the kernel still answers questions about its network configuration.
//!
//! All of that configuration is behind one lock, rtnl. A process that dies with it (a bug of the
//! kernel) leaves every later one that asks in uninterruptible sleep, where no signal reaches it.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::sh;

/// Changes nothing, and takes milliseconds also on a machine under load.
const QUESTION: [&str; 4] = ["ip", "link", "show", "lo"];
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Asks, and waits for the answer for a limited time.
pub(super) fn network_answers() -> Result<bool> {
    if asked_before()? {
        return Ok(false);
    }
    let [program, args @ ..] = QUESTION;
    Ok(ends_within(PATIENCE, Command::new(program).args(args))?.is_none())
}

/// Starts a program and waits for its end, with any status. The child that has not ended is handed
/// back and must not be waited for: when it is in uninterruptible sleep, that would never return.
fn ends_within(patience: Duration, command: &mut Command) -> Result<Option<Child>> {
    // no pipe and no directory that it would hold for ever
    command.current_dir("/").stdin(Stdio::null());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.with_context(|| format!("cannot start `{}`", sh::line(command)))?;
    let start = Instant::now();
    while start.elapsed() < patience {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
    Ok(Some(child))
}

/// Whether such a question hangs already since longer than that, so that there need not be one more
/// for each run.
fn asked_before() -> Result<bool> {
    let uptime = fs::read_to_string("/proc/uptime").context("reading /proc/uptime")?;
    let uptime = uptime.split('.').next().and_then(|text| text.parse().ok());
    let uptime = Duration::from_secs(uptime.context("/proc/uptime is no number")?);
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let dir = entry?.path();
        // a process that has just ended has no files any more
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        let asks = || {
            let words = read("cmdline");
            words.trim_end_matches('\0').split('\0').eq(QUESTION)
        };
        if let Some(start) = asleep_since(&read("stat"))
            && uptime.saturating_sub(start) > PATIENCE
            && asks()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads `/proc/PID/stat`: when the process started, counted from boot, if it sleeps
/// uninterruptibly now. Fields: `proc_pid_stat(5)`.
fn asleep_since(stat: &str) -> Option<Duration> {
    // USER_HZ, which is part of Linux' ABI
    const TICKS_PER_SECOND: u64 = 100;
    // the second field is a name in parentheses, which may hold anything
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    let start: u64 = fields.nth(18)?.parse().ok()?;
    (state == "D").then(|| Duration::from_secs(start / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uninterruptible_sleep_is_read_behind_any_name() {
        let stat = |state: &str| {
            format!("12 (a) S (b) {state} 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4200 9 9\n")
        };
        assert_eq!(asleep_since(&stat("D")), Some(Duration::from_secs(42)));
        assert_eq!(asleep_since(&stat("S")), None);
        assert_eq!(asleep_since(""), None);
    }

    #[test]
    fn a_child_that_hangs_is_not_waited_for() {
        let patience = Duration::from_millis(50);
        let hangs = ends_within(patience, Command::new("sleep").arg("60")).unwrap();
        let mut child = hangs.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let patience = Duration::from_secs(30);
        assert!(
            ends_within(patience, &mut Command::new("false"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_running_process_does_not_hang() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(asleep_since(&stat), None);
    }
}
