//! A child that removes namespaces when their owner is gone, however it ended.
//!
//! The child reads a pipe whose other end only the owner holds. Dropping the guard closes it, and so
//! does the kernel when the owner is killed: there is one way to clean up, and each run takes it.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::deadline;
use crate::netns::NAMES;

/// `$1` is the directory of names, `$2` the prefix. Signals of a terminal or of `timeout` reach the
/// owner and must not reach the reaper first.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
each() {
    for file in "$2/$3"-*; do [ ! -e "$file" ] || echo "netns $1 ${file##*/}"; done
}
for pid in $(each pids "$@" | ip -force -batch - 2>/dev/null); do kill -9 "$pid"; done
each del "$@" | ip -force -batch -
"#;

/// Deleting a handful of namespaces takes milliseconds; a machine under load gets this long.
const LIMIT: Duration = Duration::from_secs(20);

/// Deletes all namespaces called `PREFIX-…`, and kills what runs in them, when dropped or when this
/// process ends in any way.
#[derive(Debug)]
pub struct Reaper {
    prefix: String,
    child: Child,
}

impl Reaper {
    /// Starts the child that guards `prefix`.
    pub fn guard(prefix: &str) -> Result<Self> {
        let child = Self::spawn(prefix, Stdio::piped())?;
        Ok(Self {
            prefix: prefix.to_owned(),
            child,
        })
    }

    fn spawn(prefix: &str, stdin: Stdio) -> Result<Child> {
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "reaper", NAMES, prefix])
            .stdin(stdin);
        command.stdout(Stdio::null()).current_dir("/");
        // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
        }
        command
            .spawn()
            .context("cannot start the shell that cleans up namespaces")
    }

    /// Removes what earlier runs left behind: names with the prefix of a lab whose process is dead.
    pub fn remove_stale() -> Result<()> {
        let Ok(entries) = fs::read_dir(NAMES) else {
            return Ok(());
        };
        let mut prefixes: Vec<String> = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some((prefix, pid)) = owner(&name)
                && !fs::exists(format!("/proc/{pid}"))?
                && !prefixes.iter().any(|known| known == prefix)
            {
                prefixes.push(prefix.to_owned());
            }
        }
        for prefix in prefixes {
            // its own reaper may be at work just now, so a name that is gone already is no error
            Self::spawn(&prefix, Stdio::null())?.wait()?;
        }
        Ok(())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = deadline::wait_for("the end of the namespaces", LIMIT, || {
            self.child.try_wait().map_err(Into::into)
        });
        let failure = match ended {
            Ok(status) if status.success() => return,
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        #[expect(
            clippy::print_stderr,
            reason = "a drop cannot return, and silence hides a leak"
        )]
        {
            eprintln!("namespaces {}-* may be left behind: {failure}", self.prefix);
        }
    }
}

/// The common start of the names of one run: the lab, who owns it, and a number within the owner.
pub(crate) fn prefix_of(lab: &str, sequence: u32) -> String {
    format!("{lab}-{}.{sequence}", std::process::id())
}

/// The prefix and the pid in a name made of [`prefix_of`] and a role.
fn owner(name: &str) -> Option<(&str, u32)> {
    let (start, role) = name.rsplit_once('-')?;
    let (_, number) = start.rsplit_once('-')?;
    let (pid, sequence) = number.split_once('.')?;
    sequence.parse::<u32>().ok()?;
    (!role.is_empty()).then_some(())?;
    Some((start, pid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{owner, prefix_of};

    #[test]
    fn finds_the_owner_in_a_name() {
        let prefix = prefix_of("ipv6-prefix", 3);
        let name = format!("{prefix}-n1");
        assert_eq!(owner(&name), Some((prefix.as_str(), std::process::id())));
    }

    #[test]
    fn leaves_foreign_names_alone() {
        for name in [
            "cni-0f1e2d3c-4b5a",
            "s4-n1",
            "x-12.y-n1",
            "x-12.1-",
            "12.1-n1",
            "x-1.2",
        ] {
            assert_eq!(owner(name), None, "{name}");
        }
    }
}
