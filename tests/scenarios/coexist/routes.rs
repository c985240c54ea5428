//! The route table is rewritten a thousand times a second.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Netns, Tracer, deadline, expect};
use serde_json::json;

use super::{CHECK, END, ROUND, round, seen_at};

const TIME: Duration = Duration::from_secs(10);
/// Changes in one run of `ip`, before a pause: a thousand a second.
const BURST: u64 = 100;
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn routes_that_change_a_thousand_times_a_second() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let tracer = Tracer::start(node, &CHECK)?;
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let (rounds, took, used) = thread::scope(|scope| -> Result<_> {
        let writer = scope.spawn(|| rewrite(node, &stop, &changes));
        let (begun, before) = (Instant::now(), cpu(&tracer)?);
        let mut rounds = 0;
        let result = (|| -> Result<()> {
            while begun.elapsed() < TIME {
                let came = round(&lab)?;
                ensure!(came == u64::from(ROUND), "{came} of {ROUND} came back");
                rounds += 1;
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        result?;
        Ok((
            rounds,
            begun.elapsed(),
            cpu(&tracer)?.saturating_sub(before),
        ))
    })?;
    let changes = changes.load(Ordering::Relaxed);
    let rate = changes as f64 / took.as_secs_f64();
    println!(
        "{changes} changes in {took:?}, {rate:.0} a second; tracer used {used:?} of the CPU, {:.0} %",
        used.as_secs_f64() / took.as_secs_f64() * 100.0
    );
    ensure!(
        rate > deadline::amount(900.0, 50.0),
        "the table was not rewritten often enough: {rate:.0} a second"
    );
    // what it reads again is paid by it alone, and there is a pause between two readings
    ensure!(used < took.mul_f64(0.6), "tracer was busy for {used:?}");
    let report = tracer.interrupt(END)?.expect_code(0)?.json()?;
    expect::no_loss(&report)?;
    let all = rounds * u64::from(ROUND);
    for (dev, dir) in [("in", "in"), ("out", "out")] {
        let seen = seen_at(&report, dev, dir)?;
        ensure!(seen == all, "{seen} of {all} at {dev}");
    }
    for flow in expect::flows(&report, &json!({"dst": "10.2.0.2"}))? {
        expect::path(
            flow,
            &[expect::route(
                &json!({"dev": "out", "matched": "10.2.0.0/24"}),
            )],
        )?;
    }
    Ok(())
}

/// Adds and deletes routes beside the one that is used, and replaces that one too.
fn rewrite(node: &Netns, stop: &AtomicBool, changes: &AtomicU64) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let beside = (0..BURST / 2 - 1).map(|n| {
            format!("route add 10.64.0.{n}/32 dev out\nroute del 10.64.0.{n}/32 dev out\n")
        });
        let used = "route replace 10.2.0.0/24 dev out proto kernel scope link src 10.2.0.1\n";
        let lines = beside.collect::<Vec<_>>().concat() + used + used;
        node.exec_with_input(&["ip", "-batch", "-"], &lines)?;
        changes.fetch_add(BURST, Ordering::Relaxed);
        thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

/// User and system time of a process so far.
fn cpu(tracer: &Tracer) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", tracer.pid()))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    // USER_HZ is 100 on every architecture that tracer runs on
    Ok(Duration::from_millis(ticks * 10))
}
