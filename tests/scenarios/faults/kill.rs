//! Killed at any moment: while it loads, attaches, traces, writes, stands still.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use harness::bpf::held::{Held, Kind};
use harness::random::Random;
use harness::traffic::Udp;
use harness::{Lab, Tracer, deadline};
use nix::sys::signal::Signal;

use super::{Dir, END, devices_are_clean};

/// At once on one node, so that they are also in each other's way.
const TOGETHER: usize = 4;
/// A quarter of them is killed at a random moment of their start, a quarter when the first program is
/// loaded, the others within this time after they are ready: a recording is written each second.
const TRACING: Duration = Duration::from_millis(2500);

/// How one of them ended.
#[derive(Debug, Default)]
struct Tally {
    /// No program was loaded yet.
    early: u32,
    /// Some were, but not all links were there.
    loading: u32,
    attached: u32,
    /// Recordings that hold packets.
    with_packets: u32,
    /// Recordings that were killed before the first block was written.
    empty: u32,
}

#[test]
fn nothing_is_left_of_two_hundred_that_were_killed() -> Result<()> {
    let given = std::env::var("TRACER_KILLS").ok();
    let kills = given.and_then(|text| text.parse().ok());
    let rounds = kills.unwrap_or(deadline::amount(200, 12)) / TOGETHER;
    let (mut random, seed) = Random::seeded();
    println!("seed {seed} (TRACER_SEED)");
    let dir = Dir::new("killed")?;
    let lab = Lab::raise("router", None)?;
    let mut tally = Tally::default();
    let start = Start::measured(&lab, &dir)?;
    println!("{TOGETHER} together are ready: {start:?}");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let udp = Udp::to("10.2.0.2:7").count(20).wait(Duration::from_secs(1));
                // the lab's own state is checked at the end
                drop(lab.ns("a").and_then(|a| udp.send(a)));
            }
        });
        let result = (0..rounds).try_for_each(|round| {
            let each: Vec<Random> = (0..TOGETHER)
                .map(|_| Random::with(random.number()))
                .collect();
            together(&lab, &dir, (start, each), &mut tally)
                .with_context(|| format!("seed {seed}, round {round}"))
        });
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    println!("{} killed: {tally:?}", rounds * TOGETHER);
    // a test that never met a moment would prove nothing about it
    ensure!(
        tally.attached > 0 && tally.with_packets > 0,
        "none was killed while it traced: {tally:?}"
    );
    if rounds > 10 {
        ensure!(
            tally.early > 0 && tally.loading > 0,
            "none was killed while it started: {tally:?}"
        );
    }
    devices_are_clean(&lab)?;
    let sent = Udp::to("10.2.0.2:7").send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    Ok(())
}

/// How they start on this machine as it is now.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// Until all are ready.
    time: Duration,
    /// What one holds when it is ready.
    links: usize,
}

impl Start {
    fn measured(lab: &Lab, dir: &Dir) -> Result<Self> {
        let begun = Instant::now();
        let all = (0..TOGETHER).map(|number| {
            let file = dir.file(&format!("{number}.pcapng"));
            Tracer::spawn(lab.node(), &["record", "-w", &file])
        });
        let all = all.collect::<Result<Vec<_>>>()?;
        for tracer in &all {
            tracer.wait_ready(harness::tracer::READY_LIMIT)?;
        }
        let time = begun.elapsed();
        let held = all.first().map(|tracer| Held::by(tracer.pid()));
        let links = held.context("none was started")??.count(Kind::Link);
        ensure!(links > 1, "a tracer that is ready holds {links} links");
        Ok(Self { time, links })
    }
}

/// Starts some, ends each at its own moment, and looks for what is left.
fn together(
    lab: &Lab,
    dir: &Dir,
    (start, each): (Start, Vec<Random>),
    tally: &mut Tally,
) -> Result<()> {
    let ended: Vec<Result<(Held, String)>> = thread::scope(|scope| {
        let threads: Vec<_> = each
            .into_iter()
            .enumerate()
            .map(|(number, random)| {
                scope.spawn(move || one(lab, &dir.file(&format!("{number}.pcapng")), start, random))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    for ended in ended {
        let (held, file) = ended?;
        held.wait_gone()?;
        match (held.count(Kind::Program), held.count(Kind::Link)) {
            (0, _) => tally.early += 1,
            (_, links) if links < start.links => tally.loading += 1,
            _ => tally.attached += 1,
        }
        if readable(lab, &file)? {
            tally.with_packets += 1;
        } else {
            tally.empty += 1;
        }
    }
    devices_are_clean(lab)
}

/// A recording that stands still at a random moment, is let go on or not, and is killed.
fn one(lab: &Lab, file: &str, start: Start, mut random: Random) -> Result<(Held, String)> {
    // what the last one wrote
    drop(fs::remove_file(file));
    let tracer = Tracer::spawn(lab.node(), &["record", "-w", file])?;
    let begun = Instant::now();
    match random.below(4) {
        0 => thread::sleep(random.time(start.time)),
        1 => first_program(tracer.pid())?,
        _ => {
            tracer.wait_ready(harness::tracer::READY_LIMIT)?;
            thread::sleep(random.time(deadline::scaled(TRACING)));
        }
    }
    tracer.signal(Signal::SIGSTOP)?;
    stands_still(tracer.pid())?;
    let mut held = Held::by(tracer.pid())?;
    if random.below(2) == 0 {
        // over a moment in which it loads, attaches or writes on
        tracer.signal(Signal::SIGCONT)?;
        thread::sleep(random.time(Duration::from_millis(300)));
        tracer.signal(Signal::SIGSTOP)?;
        stands_still(tracer.pid())?;
        held = Held::by(tracer.pid())?;
    }
    tracer.signal(Signal::SIGKILL)?;
    let ended = tracer.wait(END)?;
    ensure!(
        ended.status.code().is_none(),
        "after {:?} it had ended by itself with {}; stderr:\n{}",
        begun.elapsed(),
        ended.status,
        ended.stderr
    );
    Ok((held, file.to_owned()))
}

/// Waits until it has loaded its first program: the others follow within a time that a random moment
/// of a whole start seldom meets.
fn first_program(pid: u32) -> Result<()> {
    let limit = Instant::now() + harness::tracer::READY_LIMIT;
    while Held::by(pid)?.count(Kind::Program) == 0 {
        ensure!(Instant::now() < limit, "process {pid} loads no program");
    }
    Ok(())
}

/// Waits until a stopped process has stopped: a call that it was in may still have to end.
fn stands_still(pid: u32) -> Result<()> {
    deadline::wait_for("the stop of all threads", Duration::from_secs(10), || {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // a thread that ended meanwhile does nothing
            let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
            if !matches!(state, None | Some(Some('T' | 'Z' | 'X'))) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Reads what is in the file: true when there are packets, false when nothing was written yet.
fn readable(lab: &Lab, file: &str) -> Result<bool> {
    let length = fs::metadata(file).map_or(0, |meta| meta.len());
    let ended = Tracer::run(lab.node(), &["read", "-o", "json", file], END)?;
    if length == 0 {
        ensure!(ended.code()? == 1, "{}", ended.stderr);
        ensure!(
            ended.stderr.lines().count() == 1 && ended.stderr.contains(file),
            "not one sentence:\n{}",
            ended.stderr
        );
        return Ok(false);
    }
    let ended = match ended.code()? {
        0 => ended,
        code => bail!("{length} bytes, exit status {code}:\n{}", ended.stderr),
    };
    ensure!(
        ended.stderr.contains("has no end"),
        "{length} bytes:\n{}",
        ended.stderr
    );
    let report = ended.json()?;
    ensure!(report["file"]["complete"] == false, "{}", report["file"]);
    Ok(report["file"]["packets"].as_u64() > Some(0))
}
