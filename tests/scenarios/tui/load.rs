//! Keys are answered, and few frames are drawn, while very many packets of many flows arrive.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::traffic::Blast;
use harness::{Lab, deadline, tmux::Tmux};

use super::recording::Dir;
use super::{LATER, SOON, open};

const FLOWS: u32 = 20_000;
/// Frames a second; one more may fall into a second's edge.
const FRAMES: f64 = 10.0;
/// On a machine that others use; the figures are printed.
const ANSWER: Duration = Duration::from_secs(1);
/// Each frame begins with it (synchronized update).
const FRAME: &[u8] = b"\x1b[?2026h";

/// The time from keys to a screen that satisfies `wanted`.
fn answer(terminal: &Tmux, keys: &[&str], wanted: impl Fn(&str) -> bool) -> Result<Duration> {
    let begun = Instant::now();
    terminal.send_keys(keys)?;
    terminal.wait_for(&format!("an answer to {keys:?}"), SOON, wanted)?;
    Ok(begun.elapsed())
}

/// The rows of flows on the screen, without what changes by itself.
fn rows(screen: &str) -> Vec<String> {
    let rows = screen.lines().filter(|l| l.contains(" > 10.2.0.2:"));
    let names = rows.map(|l| l.split_whitespace().take(5).collect::<Vec<_>>().join(" "));
    names.collect()
}

fn scroll(terminal: &Tmux, key: &str) -> Result<Duration> {
    let before = rows(&terminal.screen()?);
    answer(terminal, &[key], |s| {
        let now = rows(s);
        !now.is_empty() && now != before
    })
}

/// What was measured.
struct Measured {
    /// From keys to the screen.
    times: Vec<Duration>,
    /// Packets that arrived, and frames that were drawn, per second.
    rates: [f64; 2],
}

fn measure(lab: &Lab, terminal: &Tmux, dir: &Dir) -> Result<Measured> {
    let received = || lab.node().statistic("in", "rx_packets");
    terminal.wait_for("many flows", LATER, |s| {
        let count = s.lines().nth(1).and_then(|l| l.split_whitespace().next());
        count
            .and_then(|n| n.parse::<u32>().ok())
            .is_some_and(|n| n >= FLOWS / 2)
    })?;
    let raw = dir.0.join("raw");
    terminal.tee(&raw)?;
    let (begun, before) = (Instant::now(), received()?);
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(answer(terminal, &["?"], |s| s.contains("row down"))?);
        times.push(answer(terminal, &["Escape"], |s| !s.contains("row down"))?);
        for key in ["NPage", "G", "PPage", "g"] {
            times.push(scroll(terminal, key)?);
        }
        times.push(answer(terminal, &["5"], |s| s.contains("ROUTE"))?);
        times.push(answer(terminal, &["1"], |s| s.contains("! FLOW"))?);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let packets = received()? - before;
    let bytes = fs::read(&raw).context("what was written")?;
    let frames = bytes.windows(FRAME.len()).filter(|w| *w == FRAME).count();
    times.sort();
    Ok(Measured {
        times,
        rates: [packets as f64 / elapsed, frames as f64 / elapsed],
    })
}

#[test]
fn keys_are_answered_while_a_hundred_thousand_packets_a_second_arrive() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let dir = Dir::new("load")?;
    let terminal = open(lab.node(), (120, 40))?;
    let enough = AtomicBool::new(false);
    let blast = Blast::to("10.2.0.2:20000")
        .packets(u64::from(FLOWS) * 5)
        .flows(FLOWS);
    let measured = thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<()> {
            while !enough.load(Ordering::Relaxed) {
                blast.send(lab.ns("a")?)?;
            }
            Ok(())
        });
        let measured = measure(&lab, &terminal, &dir);
        enough.store(true, Ordering::Relaxed);
        sender
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        measured
    })?;
    let Measured { times, rates } = measured;
    let [rate, frames] = rates;
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{rate:.0} packets/s of {FLOWS} flows: key to screen {median:?}, worst {worst:?}; \
         {frames:.1} frames/s"
    );
    ensure!(rate > 20_000.0, "only {rate} packets a second arrived");
    ensure!(
        median < deadline::scaled(ANSWER / 2) && worst < deadline::scaled(ANSWER),
        "keys wait: {times:?}"
    );
    ensure!(
        frames > 0.0 && frames <= FRAMES + 1.0,
        "{frames} frames a second"
    );
    Ok(())
}
