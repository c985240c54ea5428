//! `tracer read FILE --tui`: a recording with a place in its time.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::tracer::{READY_LIMIT, binary};
use harness::{Lab, Tracer, deadline, tmux::Tmux};

use super::recording::Dir;
use super::{LATER, SOON, restored};

/// `00:00:03/00:00:07 paused` → 3, 7 and whether it plays.
fn position(screen: &str) -> Option<(u32, u32, bool)> {
    let rest = screen.split_once("REPLAY ")?.1.lines().next()?;
    let times = rest.split(' ').find(|w| w.contains('/'))?;
    let seconds = |t: &str| {
        let mut sum = 0;
        for part in t.split(':') {
            sum = sum * 60 + part.parse::<u32>().ok()?;
        }
        Some(sum)
    };
    let (at, end) = times.split_once('/')?;
    Some((seconds(at)?, seconds(end)?, rest.contains("playing")))
}

/// Some quiet seconds, some packets that are lost, some quiet seconds.
fn recorded(lab: &Lab, file: &str) -> Result<()> {
    let tracer = Tracer::start(lab.node(), &["record", "-w", file])?;
    // the recording has a moment each second: quiet ones before and behind
    let quiet = || thread::sleep(Duration::from_millis(2500));
    quiet();
    lab.traffic(1)?;
    quiet();
    tracer.interrupt(LATER)?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_recording_is_played_stepped_through_and_searched_for_drops() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", Some("nodefault"))?;
    let dir = Dir::new("replay")?;
    let file = dir.0.join("now.pcapng");
    let file = file.to_str().context("the path is no text")?;
    recorded(&lab, file)?;

    let terminal = Tmux::start(lab.node(), (100, 30), &["sh", "-i"])?;
    terminal.wait_for("a prompt", SOON, |s| s.contains(['#', '$']))?;
    let command = format!("{} read {file} --tui; echo status $?", binary()?.display());
    terminal.send_text(&command)?;
    terminal.send_keys(&["Enter"])?;
    // the whole recording, without a key
    let whole = |s: &str| position(s).is_some_and(|(at, end, _)| at == end);
    let screen = terminal.wait_for("the first screen", READY_LIMIT, |s| {
        whole(s) && s.contains("DROPPED")
    })?;
    let (_, end, playing) = position(&screen).context("no position")?;
    ensure!(
        end >= 4 && !playing && screen.contains("next ["),
        "{screen}"
    );

    terminal.send_keys(&["<"])?;
    let at = |wanted: u32| move |s: &str| position(s).is_some_and(|(at, ..)| at == wanted);
    // the first moment is a quarter of a second or a second after the start
    let begun = |s: &str| position(s).is_some_and(|(at, ..)| at <= 1);
    let screen = terminal.wait_for("the beginning", SOON, begun)?;
    ensure!(!screen.contains("DROPPED"), "{screen}");
    terminal.send_keys(&["n"])?;
    let screen = terminal.wait_for("a drop", SOON, |s| s.contains("DROPPED"))?;
    let (first, ..) = position(&screen).context("no position")?;
    ensure!(first >= 2 && first < end, "{screen}");
    ensure!(
        screen
            .lines()
            .next_back()
            .is_some_and(|l| l.contains("2001:db8:44:2::20"))
            || screen.contains("NOROUTES"),
        "the drop is not named:\n{screen}"
    );
    terminal.send_keys(&["."])?;
    terminal.wait_for("a step", SOON, at(first + 1))?;
    terminal.send_keys(&[",", ","])?;
    terminal.wait_for("two steps back", SOON, at(first - 1))?;

    terminal.send_keys(&["Space"])?;
    terminal.wait_for("it plays", SOON, |s| {
        position(s).is_some_and(|(.., playing)| playing)
    })?;
    terminal.wait_for("the end of it", LATER, |s| {
        whole(s) && position(s).is_some_and(|(.., playing)| !playing)
    })?;
    // from the end it begins again, and a second press holds it
    terminal.send_keys(&["Space"])?;
    terminal.wait_for("it plays again", SOON, |s| {
        position(s).is_some_and(|(at, _, playing)| playing && at < end)
    })?;
    terminal.send_keys(&["Space"])?;
    let held = terminal.wait_for("it is held", SOON, |s| {
        position(s).is_some_and(|(.., playing)| !playing)
    })?;
    ensure!(!whole(&held), "{held}");
    terminal.send_keys(&[">"])?;
    terminal.wait_for("the end", SOON, whole)?;
    terminal.send_text("/udp and ip6")?;
    terminal.send_keys(&["Enter"])?;
    terminal.wait_for("a filter", SOON, |s| {
        s.contains("filter: udp and ip6") && !s.contains("tcp ")
    })?;
    terminal.send_keys(&["q"])?;
    terminal.wait_for("the end", SOON, |s| s.contains("status 0"))?;
    restored(&terminal, "q")
}

#[test]
fn what_cannot_be_shown_so_is_refused() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", None)?;
    for (args, why) in [
        (&["read", "-", "--tui"][..], "not standard input"),
        (
            &["read", "a.pcapng", "--tui", "--via", "eth0"],
            "judges nothing",
        ),
        (&["read", "a.pcapng", "--tui"], "needs a terminal"),
        (
            &["read", "a.pcapng", "--tui", "--packets"],
            "cannot be used with",
        ),
    ] {
        let ended = Tracer::run(lab.node(), args, deadline::scaled(SOON))?.expect_code(2)?;
        ensure!(ended.stderr.contains(why), "{args:?}: {}", ended.stderr);
    }
    Ok(())
}
