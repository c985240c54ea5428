//! A node with a million routes and ten thousand rules.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{Lab, Tracer, deadline};

use super::{END, memory, ordinary, ordinary_is_exact};

/// Far above what was measured (docs/reliability.md); a time for each pair of routes would show.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn a_million_routes() -> Result<()> {
    let routes = deadline::amount(1_000_000, 50_000);
    let lab = Lab::raise("router", None)?;
    let begun = Instant::now();
    let lines: Vec<String> = (0..routes)
        .map(|n| {
            format!(
                "route add {}.{}.{}.0/24 dev out\n",
                20 + n / 65536,
                n / 256 % 256,
                n % 256
            )
        })
        .collect();
    lab.node()
        .exec_with_input(&["ip", "-batch", "-"], &lines.concat())?;
    println!("{routes} routes were added in {:?}", begun.elapsed());
    bounded(&lab, routes)
}

#[test]
fn ten_thousand_rules() -> Result<()> {
    let rules = deadline::amount(10_000, 1000);
    let lab = Lab::raise("router", None)?;
    let begun = Instant::now();
    let lines: Vec<String> = (0..rules)
        .map(|n| {
            format!(
                "rule add from 172.16.{}.{} lookup main pref {}\n",
                n / 256,
                n % 256,
                100 + n
            )
        })
        .collect();
    lab.node()
        .exec_with_input(&["ip", "-batch", "-"], &lines.concat())?;
    println!("{rules} rules were added in {:?}", begun.elapsed());
    bounded(&lab, rules)
}

/// What is read once (`audit`) and while traffic flows (`check`) takes a bounded time and a bounded
/// memory for each route or rule.
fn bounded(lab: &Lab, count: u64) -> Result<()> {
    let begun = Instant::now();
    let audit = Tracer::spawn(lab.node(), &["audit", "-o", "json"])?;
    let pid = audit.pid();
    let mut most = 0;
    deadline::wait_for("the end of audit", LIMIT, || {
        // a zombie has no memory
        most = memory(pid, "VmHWM:").unwrap_or(most).max(most);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.contains(") Z ").then_some(()))
    })?;
    let took = begun.elapsed();
    let ended = audit.wait(END)?;
    ensure!([0, 3].contains(&ended.code()?), "{}", ended.stderr);
    println!("audit: {took:?}, {most} KiB");
    let begun = Instant::now();
    let check = Tracer::spawn(
        lab.node(),
        &["check", "-o", "json", "--for", "1h", "udp port 7"],
    )?;
    check.wait_ready(LIMIT)?;
    let ready = begun.elapsed();
    ordinary(lab, 20)?;
    // a change, so that all of it is read again while traffic flows
    lab.node()
        .exec(&["ip", "route", "add", "10.99.0.0/24", "dev", "out"])?;
    std::thread::sleep(deadline::scaled(Duration::from_secs(3)));
    ordinary(lab, 20)?;
    let memory = memory(check.pid(), "VmHWM:")?;
    let begun = Instant::now();
    let report = check.interrupt(LIMIT)?.expect_code(0)?.json()?;
    println!(
        "check: ready after {ready:?}, ended in {:?}, {memory} KiB",
        begun.elapsed()
    );
    ordinary_is_exact(&report, 40)?;
    // beside what tracer takes with none of them: 1.5 KiB each
    let room = 150 * 1024 + count * 3 / 2;
    ensure!(
        most < room && memory < room,
        "{most} and {memory} KiB, {room} expected"
    );
    Ok(())
}
