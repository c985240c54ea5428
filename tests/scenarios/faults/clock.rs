//! Clocks that are not what they were.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::traffic::Udp;
use harness::{Lab, Tracer, expect, tracer};
use serde_json::json;

use super::END;

/// In a time namespace (as of a container that was moved) `CLOCK_MONOTONIC` is not the clock of the
/// kernel's programs.
#[test]
fn another_monotonic_clock_changes_nothing() -> Result<()> {
    // the clock of a namespace cannot be before its start
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let seconds: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    let back = format!("-{}", (seconds / 2.0).min(1000.0) as u64);
    for offset in ["100000", &back] {
        let lab = Lab::raise("router", None)?;
        let mut command = Command::new("unshare");
        command.args(["--time", "--monotonic", offset, "--boottime", offset, "--"]);
        command.arg(tracer::binary()?);
        command.args(["check", "-o", "json", "--for", "1h", "udp port 7"]);
        let tracer = Tracer::spawn_command(lab.node(), command)?;
        tracer.wait_ready(tracer::READY_LIMIT)?;
        // longer than a few pictures, so that later ones have to find what changed
        for _ in 0..5 {
            let udp = Udp::to("10.2.0.2:7")
                .sport(4000)
                .wait(Duration::from_secs(1));
            let sent = udp.send(lab.ns("a")?)?;
            ensure!(sent.delivered(), "{sent}");
            std::thread::sleep(Duration::from_millis(400));
        }
        let report = tracer.interrupt(END)?.expect_code(0)?.json()?;
        let flow = expect::flow(&report, &json!({"dst": "10.2.0.2", "dport": 7}))?;
        ensure!(flow["packets"] == 15, "{flow}");
        // on the same wall clock as everybody else
        let (first, last) = (&flow["first"], &flow["last"]);
        let today = these_hours()?;
        ensure!(
            [first, last].iter().all(|at| at
                .as_str()
                .is_some_and(|at| today.iter().any(|day| at.starts_with(day)))),
            "with {offset} s: first {first}, last {last}, today {today:?}"
        );
    }
    Ok(())
}

/// Steps of the wall clock, forward and back, while packets pass.
#[test]
#[ignore = "sets the machine's clock: run in a virtual machine by `cargo xtask vm`"]
fn a_step_of_the_wall_clock_changes_nothing() -> Result<()> {
    ensure!(
        std::env::var_os("TRACER_E2E_SLOW").is_some(),
        "this test sets the clock, and runs in a virtual machine only"
    );
    let lab = Lab::raise("router", None)?;
    let began = these_hours()?;
    let args = ["check", "-o", "json", "--for", "1h", "udp port 7"];
    let tracer = Tracer::start(lab.node(), &args)?;
    for step in ["now", "+30 hours", "-60 hours", "+30 hours"] {
        harness::command::run(&["date", "-s", step], "")?;
        let udp = Udp::to("10.2.0.2:7")
            .sport(4000)
            .wait(Duration::from_secs(1));
        let sent = udp.send(lab.ns("a")?)?;
        ensure!(sent.delivered(), "after {step}: {sent}");
        std::thread::sleep(Duration::from_secs(1));
    }
    let report = tracer.interrupt(END)?.expect_code(0)?.json()?;
    expect::no_loss(&report)?;
    let flow = expect::flow(&report, &json!({"dst": "10.2.0.2", "dport": 7}))?;
    ensure!(
        flow["packets"] == 12 && flow["reply"]["packets"] == 12,
        "{flow}"
    );
    for at in [&flow["first"], &flow["last"], &report["started"]] {
        let here = at
            .as_str()
            .is_some_and(|at| began.iter().any(|day| at.starts_with(day)));
        ensure!(here, "{at} is not of the clock it began with, {began:?}");
    }
    let lasted = report["duration_s"].as_f64().unwrap_or_default();
    ensure!((2.0..1800.0).contains(&lasted), "{lasted} s");
    Ok(())
}

/// The hours around now, in UTC.
fn these_hours() -> Result<Vec<String>> {
    let date = |when: &str| harness::command::run(&["date", "-u", "-d", when, "+%Y-%m-%dT%H"], "");
    let hours = ["-1 hour", "now", "+1 hour"].iter();
    hours
        .map(|when| Ok(date(when)?.trim().to_owned()))
        .collect()
}
