//! The interactive view in a real terminal, on real labs.

mod load;
mod panics;
mod recording;
mod replay;
mod screens;

use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};
use harness::tracer::{READY_LIMIT, binary};
use harness::traffic::Udp;
use harness::{Lab, Netns, Tracer, deadline, tmux::Tmux};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const SIZE: (u16, u16) = (80, 24);
/// For what should be there at once, on a machine that others use.
const SOON: Duration = Duration::from_secs(10);
/// For what a lab needs some rounds of traffic for.
const LATER: Duration = Duration::from_secs(40);

/// The view itself is the terminal's program.
fn open(ns: &Netns, size: (u16, u16)) -> Result<Tmux> {
    let tracer = binary()?;
    let tracer = tracer.to_str().context("the path is no text")?;
    let terminal = Tmux::start(ns, size, &[tracer, "live"])?;
    terminal.wait_for("the first screen", READY_LIMIT, |s| s.contains("LIVE"))?;
    Ok(terminal)
}

/// A shell that runs the view, so that what it leaves behind can be looked at.
fn open_in_shell(ns: &Netns) -> Result<Tmux> {
    let terminal = Tmux::start(ns, SIZE, &["sh", "-i"])?;
    terminal.wait_for("a prompt", SOON, |s| s.contains(['#', '$']))?;
    terminal.send_text(&format!("{} live; echo status $?", binary()?.display()))?;
    terminal.send_keys(&["Enter"])?;
    terminal.wait_for("the first screen", READY_LIMIT, |s| s.contains("LIVE"))?;
    Ok(terminal)
}

/// The terminal is as it was: no alternate screen, no mouse, a cursor, line editing and echo.
fn restored(terminal: &Tmux, after: &str) -> Result<()> {
    let modes = "#{alternate_on}#{mouse_any_flag}#{cursor_flag}";
    deadline::wait_for("the terminal's own screen", SOON, || {
        Ok((terminal.ask(modes)? == "001").then_some(()))
    })
    .with_context(|| format!("after {after}: {}", terminal.ask(modes).unwrap_or_default()))?;
    terminal.send_text("stty -a; echo set")?;
    terminal.send_keys(&["Enter"])?;
    let screen = terminal.wait_for("the settings", SOON, |s| {
        s.lines().any(|l| l.trim() == "set")
    })?;
    let set: Vec<&str> = screen.split([' ', '\n']).collect();
    for word in ["icanon", "echo", "isig"] {
        ensure!(set.contains(&word), "no {word} after {after}:\n{screen}");
    }
    Ok(())
}

/// The only child of the terminal's shell.
fn child(terminal: &Tmux) -> Result<Pid> {
    let shell = terminal.pid()?;
    let path = format!("/proc/{shell}/task/{shell}/children");
    let children = fs::read_to_string(&path).with_context(|| path.clone())?;
    let pid = children.split_whitespace().next().context("no child")?;
    Ok(Pid::from_raw(pid.parse()?))
}

/// The row of a flow to `to` that is marked with one of `marks`.
fn row<'s>(screen: &'s str, to: &str, marks: &[char]) -> Option<&'s str> {
    let mut rows = screen.lines();
    rows.find(|l| l.starts_with(marks) && l.contains(to))
}

/// Sends three datagrams of a pod to one on the other node, and measures until the first screen
/// shows that they are lost.
fn shown_after(mode: &str, marks: &[char], state: &str) -> Result<Duration> {
    let lab = Lab::raise("ipv6-prefix", Some(mode))?;
    let terminal = open(lab.node(), SIZE)?;
    let pod = lab.ns("p1")?;
    thread::scope(|scope| {
        let began = Instant::now();
        let sender = scope.spawn(|| Udp::to("[2001:db8:44:2::20]:7").send(pod));
        terminal.wait_for("the lost flow", SOON, |s| {
            row(s, "2::20]:7", marks).is_some_and(|r| r.contains(state))
        })?;
        let took = began.elapsed();
        let sent = sender
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        ensure!(
            sent.lost() && sent.sent == 3,
            "the lab is not broken: {sent}"
        );
        Ok(took)
    })
}

#[test]
fn a_lost_ipv6_flow_is_on_the_first_screen_within_two_seconds() -> Result<()> {
    for (mode, mark, state) in [
        ("nodefault", '✗', "DROPPED"),
        ("default", '?', "UNANSWERED"),
    ] {
        let took = shown_after(mode, &[mark], state)?;
        println!("{mode}: {state} shown after {took:?}");
        ensure!(
            took < deadline::scaled(Duration::from_secs(2)),
            "{mode}: {state} is shown after {took:?}"
        );
    }
    Ok(())
}

#[test]
fn a_healthy_lab_has_no_trouble_on_its_first_screen() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", Some("ok"))?;
    let terminal = open(lab.node(), SIZE)?;
    let traffic = lab.traffic(2)?;
    ensure!(traffic.iter().all(|f| f.sent.delivered()), "{traffic:?}");
    let screen = terminal.wait_for("answered flows", SOON, |s| {
        s.lines().filter(|l| l.starts_with('✓')).count() >= 5
    })?;
    ensure!(
        !screen.lines().any(|l| l.starts_with(['✗', '?'])) && !screen.contains("next ["),
        "{screen}"
    );
    Ok(())
}

#[test]
fn follows_the_size_of_the_terminal() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", None)?;
    let terminal = open(lab.node(), SIZE)?;
    lab.traffic(1)?;
    for (columns, rows) in [(160, 48), (60, 20), (30, 8), (100, 30)] {
        terminal.resize((columns, rows))?;
        let screen = terminal.wait_for("a screen of the new size", SOON, |s| {
            let lines: Vec<&str> = s.trim_end_matches('\n').split('\n').collect();
            lines.len() == usize::from(rows)
                && lines[0].starts_with(" tracer")
                // the last row is the keys, and its right end is where the terminal ends
                && lines[usize::from(rows) - 1].starts_with(" Enter open")
                && lines[0].contains("LIVE")
                && lines[0].trim_end().chars().count() + 1 == usize::from(columns)
        })?;
        let wide = screen.lines().find(|l| l.chars().count() > columns.into());
        ensure!(wide.is_none(), "wider than {columns}: {wide:?}");
    }
    Ok(())
}

#[test]
fn quitting_and_signals_restore_the_terminal() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", None)?;
    for end in ["q", "C-c", "SIGTERM", "SIGHUP", "SIGINT"] {
        let terminal = open_in_shell(lab.node())?;
        ensure!(
            terminal.ask("#{alternate_on}#{mouse_any_flag}")? == "11",
            "the view is not on a screen of its own, or takes no mouse"
        );
        match end {
            "SIGTERM" => kill(child(&terminal)?, Signal::SIGTERM)?,
            "SIGHUP" => kill(child(&terminal)?, Signal::SIGHUP)?,
            "SIGINT" => kill(child(&terminal)?, Signal::SIGINT)?,
            key => terminal.send_keys(&[key])?,
        }
        let screen = terminal.wait_for("the end", SOON, |s| s.contains("status 0"))?;
        ensure!(
            screen.contains("tracer lost nothing"),
            "no summary after {end}:\n{screen}"
        );
        restored(&terminal, end)?;
    }
    Ok(())
}

#[test]
fn stops_and_comes_back() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", None)?;
    let terminal = open_in_shell(lab.node())?;
    for round in 0..2 {
        terminal.send_keys(&["C-z"])?;
        terminal.wait_for("the shell's message", SOON, |s| s.contains("Stopped"))?;
        restored(&terminal, "^Z")?;
        terminal.send_text("clear; fg")?;
        terminal.send_keys(&["Enter"])?;
        terminal.wait_for("the view again", SOON, |s| s.contains("LIVE"))?;
        ensure!(terminal.ask("#{alternate_on}")? == "1", "round {round}");
        terminal.send_keys(&["?"])?;
        terminal.wait_for("the keys", SOON, |s| s.contains("row down"))?;
        terminal.send_keys(&["Escape"])?;
    }
    terminal.send_keys(&["q"])?;
    // fg ends the line in which the shell would print the status
    terminal.wait_for("the end", SOON, |s| s.contains("tracer lost nothing"))?;
    restored(&terminal, "fg and q")
}

#[test]
fn names_with_escape_sequences_do_not_disturb_the_screen() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", None)?;
    let ns = lab.node();
    for (name, peer) in [("\u{1b}[2J\u{1b}[H", "h1"), ("漢字é\u{301}", "h2")] {
        ns.exec(&[
            "ip", "link", "add", name, "type", "veth", "peer", "name", peer,
        ])?;
        ns.exec(&["ip", "link", "set", name, "up"])?;
    }
    let terminal = open(ns, (100, 30))?;
    terminal.send_keys(&["4"])?;
    let screen = terminal.wait_for("the devices", SOON, |s| {
        s.contains(r"\u{1b}[2J") && s.contains(r"漢字é\u{301}")
    })?;
    let rows: Vec<&str> = screen.lines().collect();
    ensure!(
        rows[0].starts_with(" tracer") && rows[0].contains("LIVE"),
        "{screen}"
    );
    let column = |row: &&str| {
        // columns, not characters: the wide ones take two
        let before = &row[..row.find("veth")?];
        Some(
            before
                .chars()
                .map(|c| if c > '\u{2e80}' { 2 } else { 1 })
                .sum::<usize>(),
        )
    };
    let columns: Vec<usize> = rows.iter().filter_map(column).collect();
    ensure!(
        columns.len() >= 6 && columns.iter().all(|c| *c == columns[0]),
        "the columns of devices are disturbed: {columns:?}\n{screen}"
    );
    Ok(())
}

#[test]
fn copies_and_exports() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", Some("nodefault"))?;
    let dir = env::temp_dir().join(format!("tracer-export-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let command = format!("cd {} && exec {} live", dir.display(), binary()?.display());
    let terminal = Tmux::start(lab.node(), (200, 40), &["sh", "-c", &command])?;
    terminal.accept_clipboard()?;
    terminal.wait_for("the first screen", READY_LIMIT, |s| s.contains("LIVE"))?;
    lab.traffic(1)?;
    terminal.wait_for("a finding", SOON, |s| s.contains("next ["))?;
    terminal.send_keys(&["p", "y"])?;
    let screen = terminal.wait_for("the message", SOON, |s| s.contains("copied: "))?;
    let said = screen.split_once("copied: ").context("no message")?.1;
    let said = said.lines().next().unwrap_or_default();
    let copied = deadline::wait_for("a clipboard", SOON, || Ok(terminal.clipboard().ok()))?;
    let same = copied.starts_with("ip ") && said.trim_end_matches('…').len() > 10;
    ensure!(
        same && copied.starts_with(said.trim_end().trim_end_matches('…')),
        "copied {copied:?}, said {said:?}"
    );

    terminal.send_keys(&["x"])?;
    terminal.wait_for("the message", SOON, |s| s.contains("written: tracer-"))?;
    let mut files = fs::read_dir(&dir)?.collect::<std::io::Result<Vec<_>>>()?;
    let Some(file) = files.pop().filter(|_| files.is_empty()) else {
        bail!("not one file in {}", dir.display())
    };
    let mode = file.metadata()?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "others can read it: {mode:o}");
    let report: Value = serde_json::from_slice(&fs::read(file.path())?)?;
    ensure!(report["schema"] == "tracer.read/1", "{}", report["schema"]);
    ensure!(
        report["flows"].as_array().is_some_and(|f| f.len() >= 4)
            && report["findings"][0]["next"] == copied.trim_end(),
        "{report}"
    );
    fs::remove_dir_all(&dir)?;
    Ok(())
}

#[test]
fn without_a_terminal_there_are_lines() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", Some("nodefault"))?;
    let tracer = Tracer::start(lab.node(), &["live"])?;
    lab.traffic(1)?;
    tracer.stdout_line("a lost flow", SOON, |l| {
        l.contains("2001:db8:44:2::20") && l.contains("dropped")
    })?;
    let ended = tracer.interrupt(SOON)?.expect_code(0)?;
    ensure!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
    Ok(())
}
