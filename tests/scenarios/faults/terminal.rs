//! The terminal goes: closed with its session, or only closed.

use std::fs;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::bpf::held::{Held, Kind};
use harness::tmux::Tmux;
use harness::traffic::Udp;
use harness::{Lab, deadline, tracer};

use super::{END, devices_are_clean, traced};

#[test]
fn the_interactive_view_ends_with_its_terminal() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let binary = tracer::binary()?.display().to_string();
    let tmux = Tmux::start(node, (100, 30), &[&binary, "live"])?;
    let pid = u32::try_from(tmux.pid()?)?;
    deadline::wait_for("the attachment", END, || {
        Ok(traced(node, "out")?.then_some(()))
    })?;
    let held = Held::by(pid)?;
    ensure!(held.count(Kind::Program) > 0, "{pid} holds no program");
    drop(tmux);
    ended(pid, &held)?;
    devices_are_clean(&lab)?;
    let sent = Udp::to("10.2.0.2:7").send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    Ok(())
}

/// Without a session of its own there is no SIGHUP: reading and writing fail, and that is all.
#[test]
fn a_terminal_that_is_only_closed_ends_it_too() -> Result<()> {
    for command in ["live", "watch"] {
        let lab = Lab::raise("router", None)?;
        let node = lab.node();
        let (ours, theirs) = terminal()?;
        let mut child = Command::new(tracer::binary()?);
        child.arg(command).env("TERM", "xterm-256color");
        child
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs.try_clone()?))
            .stderr(Stdio::from(theirs));
        let mut process = node.spawn(&mut child)?;
        // the command holds the terminal's other end as well
        drop(child);
        deadline::wait_for("the attachment", END, || {
            Ok(traced(node, "out")?.then_some(()))
        })?;
        let held = Held::by(process.id())?;
        drop(ours);
        let wait = deadline::wait_for("its end", END, || {
            // something to show, for a command that would notice only when it writes
            let udp = Udp::to("10.2.0.2:7")
                .count(1)
                .wait(Duration::from_millis(100));
            udp.send(lab.ns("a")?)?;
            Ok(process.try_wait()?)
        });
        if wait.is_err() {
            process.kill()?;
            process.wait()?;
        }
        let status = wait.with_context(|| format!("`{command}` goes on"))?;
        println!("`{command}` without its terminal: {status}");
        ensure!(
            matches!(status.code(), Some(0 | 1)),
            "`{command}` ended with {status}"
        );
        held.wait_gone()?;
        devices_are_clean(&lab)?;
    }
    Ok(())
}

fn ended(pid: u32, held: &Held) -> Result<()> {
    deadline::wait_for("the end of the process", END, || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        Ok(stat
            .map_or(true, |stat| stat.contains(") Z "))
            .then_some(()))
    })?;
    held.wait_gone()
}

/// Both ends of a new terminal: ours, and the one that a program sees.
fn terminal() -> Result<(OwnedFd, OwnedFd)> {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize {
        ws_row: 30,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: both integers and the size are valid for the call; a name and settings are not asked for.
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
    // SAFETY: openpty returned two new descriptors that nobody else owns.
    let ends = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    // a child must not hold our end, or it would never be closed
    nix::fcntl::fcntl(
        &ends.0,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    Ok(ends)
}
