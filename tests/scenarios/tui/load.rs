//! Keys are answered, and few frames are drawn, while very many packets of many flows arrive.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use harness::bpf::xdp::{Action, Mode, Xdp};
use harness::tracer::binary;
use harness::traffic::frame::{self, Frames};
use harness::{Lab, deadline, tmux::Tmux};

use super::recording::Dir;
use super::{LATER, SOON, open};

const FLOWS: u16 = 20_000;
/// With its Ethernet header.
const LENGTH: usize = 64;
/// Frames a second; one more may fall into a second's edge.
const FRAMES: f64 = 10.0;
/// The slowest answer to a key, half of the keys being answered in half of it, and the age of what
/// is on the screen with the second to which the clock is shown. On a machine that others use; the
/// figures are printed.
const LIMITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// The same for a build without optimization.
const SLOW_LIMITS: [Duration; 2] = [Duration::from_millis(2500), Duration::from_secs(12)];
/// Seconds of it.
const DAY: f64 = 86_400.0;
/// Each frame begins with it (synchronized update).
const FRAME: &[u8] = b"\x1b[?2026h";
/// The sender goes before other programs of the machine, as packets from a network do.
const BEFORE_OTHERS: libc::c_int = -15;

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

/// Seconds since midnight (UTC) by the clock in the header, `LIVE 17:32:55 00:00:15`.
fn clock(screen: &str) -> Option<u64> {
    let shown = screen.lines().next()?.split("LIVE ").nth(1)?;
    let mut parts = shown.split(' ').next()?.split(':').map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    Some(next()? * 3600 + next()? * 60 + next()?)
}

/// How old what is shown is, and up to a second more.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock on the screen is compared with the machine's"
)]
fn age(terminal: &Tmux) -> Result<Duration> {
    let screen = terminal.screen()?;
    let shown = clock(&screen).with_context(|| format!("no clock:\n{screen}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    // midnight may have passed
    let age = (now - shown as f64).rem_euclid(DAY);
    Ok(Duration::from_secs_f64(age))
}

/// The packets a second that the header shows: `105k pkt/s`.
fn counted(screen: &str) -> Option<f64> {
    let text = screen.lines().nth(1)?.split(" pkt/s").next()?;
    let text = text.rsplit(' ').next()?;
    match text.strip_suffix('k') {
        Some(thousands) => Some(thousands.parse::<f64>().ok()? * 1000.0),
        None => text.parse().ok(),
    }
}

/// What was measured.
struct Measured {
    /// From keys to the screen.
    times: Vec<Duration>,
    /// Packets that arrived, packets that tracer counted, and frames that were drawn, per second.
    rates: [f64; 3],
    /// The oldest that anything on the screen was.
    age: Duration,
}

fn measure(lab: &Lab, terminal: &Tmux, dir: &Dir) -> Result<Measured> {
    let received = || lab.node().statistic("in", "rx_packets");
    terminal.wait_for("many flows", LATER, |s| {
        let count = s.lines().nth(1).and_then(|l| l.split_whitespace().next());
        count
            .and_then(|n| n.parse::<u32>().ok())
            .is_some_and(|n| n >= u32::from(FLOWS) / 2)
    })?;
    let raw = dir.0.join("raw");
    terminal.tee(&raw)?;
    let (begun, before) = (Instant::now(), received()?);
    let (mut times, mut shown, mut ages) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        times.push(answer(terminal, &["?"], |s| s.contains("row down"))?);
        times.push(answer(terminal, &["Escape"], |s| !s.contains("row down"))?);
        for key in ["NPage", "G", "PPage", "g"] {
            times.push(scroll(terminal, key)?);
            ages.push(age(terminal)?);
        }
        times.push(answer(terminal, &["5"], |s| s.contains("ROUTE"))?);
        times.push(answer(terminal, &["1"], |s| s.contains("! FLOW"))?);
        shown.extend(counted(&terminal.screen()?));
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let packets = received()? - before;
    let bytes = fs::read(&raw).context("what was written")?;
    let frames = bytes.windows(FRAME.len()).filter(|w| *w == FRAME).count();
    times.sort();
    Ok(Measured {
        times,
        rates: [
            packets as f64 / elapsed,
            shown.iter().sum::<f64>() / shown.len().max(1) as f64,
            frames as f64 / elapsed,
        ],
        age: ages.into_iter().max().unwrap_or_default(),
    })
}

/// Sends datagrams of 20,000 flows to host b until it is enough, past everything that is not
/// needed: the sender has no routing, and the receiver drops them in its driver.
fn flood(lab: &Lab, enough: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let sender = Frames::open(lab.ns("a")?, "eth0")?;
    sender.bypass_queues()?;
    let router = frame::mac(lab.node(), "in")?;
    let frames: Vec<Vec<u8>> = (0..FLOWS)
        .map(|i| {
            let datagram = frame::udp((1024 + i, 20_000), &[0; LENGTH - 14 - 20 - 8]);
            let packet = frame::ipv4(17, ([10, 1, 0, 2], [10, 2, 0, 2]), &datagram);
            frame::ethernet(router, 0x0800, &packet)
        })
        .collect();
    // SAFETY: it changes the priority of the calling thread
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, BEFORE_OTHERS) };
    ensure!(
        result == 0,
        "setpriority: {}",
        std::io::Error::last_os_error()
    );
    while !enough.load(Ordering::Relaxed) {
        sent.fetch_add(sender.send_all(&frames)?, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn keys_are_answered_while_a_hundred_thousand_packets_a_second_arrive() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let dir = Dir::new("load")?;
    let length = i32::try_from(LENGTH)?;
    let sink = Xdp::attach(lab.ns("b")?, "eth0", Mode::Native, length, Action::Drop)?;
    let terminal = open(lab.node(), (120, 40))?;
    let (enough, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = thread::scope(|scope| {
        let sender = scope.spawn(|| flood(&lab, &enough, &sent));
        let measured = measure(&lab, &terminal, &dir);
        enough.store(true, Ordering::Relaxed);
        sender
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        measured
    })?;
    let Measured { times, rates, age } = measured;
    let [rate, counted, frames] = rates;
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let (sent, through) = (sent.load(Ordering::Relaxed), sink.packets()?);
    println!(
        "{rate:.0} packets/s of {FLOWS} flows came in ({sent} were sent, {through} went through), \
         tracer shows {counted:.0}/s; key to screen {median:?}, worst {worst:?}; what is shown is \
         {age:?} old at most, {frames:.1} frames/s"
    );
    ensure!(rate > 20_000.0, "only {rate} packets a second arrived");
    ensure!(
        counted > rate / 2.0 && counted < rate * 1.5,
        "{rate} packets a second came in, and tracer shows {counted}"
    );
    let optimized = binary()?.components().any(|c| c.as_os_str() == "release");
    let limits = if optimized { LIMITS } else { SLOW_LIMITS };
    let [answer, oldest] = limits.map(deadline::scaled);
    ensure!(
        median < answer / 2 && worst < answer,
        "keys wait: {times:?}"
    );
    ensure!(age < oldest, "what is shown is {age:?} old");
    ensure!(
        frames > 0.0 && frames <= FRAMES + 1.0,
        "{frames} frames a second"
    );
    Ok(())
}
