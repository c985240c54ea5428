//! Keys are answered, and few frames are drawn, while very many packets of many flows arrive.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use harness::bpf::xdp::{Action, Mode, Xdp};
use harness::pty::Pty;
use harness::random::Random;
use harness::tracer::{READY_LIMIT, binary};
use harness::traffic::frame::{self, Frames};
use harness::{Lab, deadline};

use super::{LATER, SOON};

const FLOWS: u16 = 20_000;
/// With its Ethernet header.
const LENGTH: usize = 64;
/// Frames a second; one more may fall into a second's edge.
const FRAMES: f64 = 10.0;
/// What the view promises: the packets a second that arrive while keys are answered.
const RATE: f64 = 100_000.0;
/// Where tracer is not optimized it is not what the view promises that is measured.
const SLOW_RATE: f64 = 20_000.0;
/// From a key to the screen, for half of the keys and for 99 of 100, and the age of what is on the
/// screen with the second to which the clock is shown. On a machine that others use.
const LIMITS: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_secs(3),
];
/// The same for a build without optimization.
const SLOW_LIMITS: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_millis(2500),
    Duration::from_secs(12),
];
/// How often each of the eight keys is pressed.
const ROUNDS: usize = 25;
/// Seconds of it.
const DAY: f64 = 86_400.0;
/// The sender goes before other programs of the machine, as packets from a network do.
const BEFORE_OTHERS: libc::c_int = -15;

/// The rows of flows on the screen, without what changes by itself.
fn rows(screen: &str) -> Vec<String> {
    let rows = screen.lines().filter(|l| l.contains(" > 10.2.0.2:"));
    let names = rows.map(|l| l.split_whitespace().take(5).collect::<Vec<_>>().join(" "));
    names.collect()
}

fn scroll(terminal: &mut Pty, key: &[u8]) -> Result<Duration> {
    let before = rows(&terminal.screen());
    terminal.answer(key, SOON, |s| {
        let now = rows(s);
        !now.is_empty() && now != before
    })
}

/// Presses a key `n` of eight: five change the list, one opens and one closes the help, and the last two
/// go to the routes and back.
fn press(terminal: &mut Pty, n: usize) -> Result<Duration> {
    match n {
        0 => terminal.answer(b"?", SOON, |s| s.contains("row down")),
        1 => terminal.answer(b"\x1b", SOON, |s| !s.contains("row down")),
        2 => scroll(terminal, b"\x1b[6~"),
        3 => scroll(terminal, b"G"),
        4 => scroll(terminal, b"\x1b[5~"),
        5 => scroll(terminal, b"g"),
        6 => terminal.answer(b"5", SOON, |s| s.contains("ROUTE")),
        _ => terminal.answer(b"1", SOON, |s| s.contains("! FLOW")),
    }
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
fn age(screen: &str) -> Result<Duration> {
    let shown = clock(screen).with_context(|| format!("no clock:\n{screen}"))?;
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

/// What tracer says that it lost, and the tables that gave it nothing.
fn lost(screen: &str) -> Option<&str> {
    let row = screen.lines().nth(1)?;
    let (_, lost) = row.split_once("tracer lost ")?;
    lost.split_whitespace().next()
}

/// What was measured.
struct Measured {
    /// From keys to the screen, the shortest first.
    times: Vec<Duration>,
    /// Packets that arrived, packets that tracer counted, and frames that were drawn, per second.
    rates: [f64; 3],
    /// The oldest that anything on the screen was.
    age: Duration,
    /// What the view says that tracer lost.
    lost: Option<String>,
}

impl Measured {
    /// The time within which so many of a hundred keys were answered.
    fn percent(&self, n: usize) -> Duration {
        self.times[(self.times.len() * n).div_ceil(100).max(1) - 1]
    }
}

fn measure(lab: &Lab, terminal: &mut Pty) -> Result<Measured> {
    let received = || lab.node().statistic("in", "rx_packets");
    terminal.wait_for("many flows", LATER, |s| {
        let count = s.lines().nth(1).and_then(|l| l.split_whitespace().next());
        count
            .and_then(|n| n.parse::<u32>().ok())
            .is_some_and(|n| n >= u32::from(FLOWS) / 2)
    })?;
    let (begun, before, frames) = (Instant::now(), received()?, terminal.frames());
    let (mut times, mut shown, mut ages) = (Vec::new(), Vec::new(), Vec::new());
    let mut random = Random::with(1);
    for _ in 0..ROUNDS {
        for n in 0..8 {
            // as a user does it: not in step with frames or pictures
            thread::sleep(Duration::from_millis(20 + random.below(180)));
            times.push(press(terminal, n)?);
            ages.push(age(&terminal.screen())?);
        }
        shown.extend(counted(&terminal.screen()));
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let (packets, frames) = (received()? - before, terminal.frames() - frames);
    times.sort();
    Ok(Measured {
        times,
        rates: [
            packets as f64 / elapsed,
            shown.iter().sum::<f64>() / shown.len().max(1) as f64,
            frames as f64 / elapsed,
        ],
        age: ages.into_iter().max().unwrap_or_default(),
        lost: lost(&terminal.screen()).map(str::to_owned),
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
    let length = i32::try_from(LENGTH)?;
    let sink = Xdp::attach(lab.ns("b")?, "eth0", Mode::Native, length, Action::Drop)?;
    let program = binary()?;
    let program = program.to_str().context("the path is no text")?;
    let mut terminal = Pty::start(lab.node(), (120, 40), &[program, "live"])?;
    terminal.wait_for("the first screen", READY_LIMIT, |s| s.contains("LIVE"))?;
    let (enough, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = thread::scope(|scope| {
        let sender = scope.spawn(|| flood(&lab, &enough, &sent));
        let measured = measure(&lab, &mut terminal);
        enough.store(true, Ordering::Relaxed);
        sender
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        measured
    })?;
    let [rate, counted, frames] = measured.rates;
    let (half, most) = (measured.percent(50), measured.percent(99));
    let (sent, through) = (sent.load(Ordering::Relaxed), sink.packets()?);
    let load = fs::read_to_string("/proc/loadavg").context("the load")?;
    println!(
        "{rate:.0} packets/s of {FLOWS} flows came in ({sent} were sent, {through} went through), each seen at two \
         devices; tracer shows {counted:.0}/s and lost {}; key to screen: {} keys, median {half:.0?}, 99 % within \
         {most:.0?}, worst {:.0?}; what is shown is {:.1?} old at most, {frames:.1} frames/s; load {}",
        measured.lost.as_deref().unwrap_or("nothing"),
        measured.times.len(),
        measured.percent(100),
        measured.age,
        load.split(' ').next().unwrap_or("?"),
    );
    judge(&measured)
}

fn judge(measured: &Measured) -> Result<()> {
    let [rate, counted, frames] = measured.rates;
    let (half, most) = (measured.percent(50), measured.percent(99));
    let optimized = binary()?.components().any(|c| c.as_os_str() == "release");
    let (limits, wanted) = if optimized {
        (LIMITS, RATE)
    } else {
        (SLOW_LIMITS, SLOW_RATE)
    };
    ensure!(
        rate > wanted,
        "NOT CHECKED at {wanted} packets a second: only {rate:.0} arrived"
    );
    ensure!(
        counted > rate / 2.0 && counted < rate * 1.5,
        "{rate} packets a second came in, and tracer shows {counted}"
    );
    let [middle, slowest, oldest] = limits.map(deadline::scaled);
    ensure!(
        half < middle && most < slowest,
        "keys wait: {:?}",
        measured.times
    );
    let age = measured.age;
    ensure!(age < oldest, "what is shown is {age:?} old");
    ensure!(
        frames > 0.0 && frames <= FRAMES + 1.0,
        "{frames} frames a second"
    );
    Ok(())
}
