//! Sizes, counts, rotation, and what is told meanwhile.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{Dir, END, array, packets, read};

const LAB: &str = "native-tunnel:native";

#[test]
fn a_count_is_exact_and_the_file_is_private() -> Result<()> {
    let dir = Dir::new("count")?;
    let file = dir.file("a.pcapng");
    // a file that was there and that others could read
    std::fs::write(&file, "x")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    let lab = Lab::raise_named(LAB)?;
    let record = Tracer::start(lab.node(), &["record", "-c", "7", "-w", &file, "udp"])?;
    lab.traffic(1)?;
    let ended = record.wait(END)?.expect_code(0)?;
    ensure!(ended.stderr.contains("7 packets"), "{}", ended.stderr);
    ensure!(packets(&lab, &file)?.len() == 7);
    let mode = std::fs::metadata(&file)?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    Ok(())
}

#[test]
fn each_file_of_a_rotation_is_complete() -> Result<()> {
    let dir = Dir::new("rotation")?;
    let file = dir.file("r.pcapng");
    let lab = Lab::raise_named(LAB)?;
    let args = ["record", "-C", "100k", "-W", "3", "-w", &file];
    let record = Tracer::start(lab.node(), &args)?;
    let mut flows = 0;
    while !std::path::Path::new(&format!("{file}2")).exists() {
        ensure!(flows < 100, "no third file");
        lab.traffic(1)?;
        flows += 1;
    }
    record.interrupt(END)?.expect_code(0)?;
    let mut parts = Vec::new();
    for n in 0..3 {
        let report = read(&lab, &format!("{file}{n}"), &[])?;
        let about = &report["file"];
        ensure!(about["complete"] == json!(true), "{about}");
        ensure!(about["unreadable"] == json!(0), "{about}");
        ensure!(!array(&report, "flows")?.is_empty(), "no flows in {n}");
        ensure!(
            report["node"] == json!(lab.node().name()),
            "{}",
            report["node"]
        );
        parts.push(about["part"].as_u64().context("no part")?);
    }
    parts.sort_unstable();
    ensure!(
        parts[1] == parts[0] + 1 && parts[2] == parts[1] + 1,
        "{parts:?}"
    );
    ensure!(!std::path::Path::new(&format!("{file}3")).exists());
    Ok(())
}

#[test]
fn a_size_stops_it() -> Result<()> {
    let dir = Dir::new("size")?;
    let file = dir.file("a.pcapng");
    let lab = Lab::raise_named(LAB)?;
    let record = Tracer::start(lab.node(), &["record", "--max-size", "64K", "-w", &file])?;
    for _ in 0..3 {
        lab.traffic(1)?;
    }
    record.wait(END)?.expect_code(0)?;
    let size = std::fs::metadata(&file)?.len();
    // room is kept for the totals that end it
    ensure!((32 << 10..=64 << 10).contains(&size), "{size} bytes");
    let report = read(&lab, &file, &[])?;
    ensure!(
        report["file"]["complete"] == json!(true),
        "{}",
        report["file"]
    );
    ensure!(!array(&report, "flows")?.is_empty(), "no flows");
    Ok(())
}

#[test]
fn a_signal_asks_for_the_counters() -> Result<()> {
    let dir = Dir::new("signal")?;
    let file = dir.file("a.pcapng");
    let lab = Lab::raise_named(LAB)?;
    let record = Tracer::start(lab.node(), &["record", "-w", &file])?;
    record.signal(Signal::SIGUSR1)?;
    let line = record.stderr_line("counters", Duration::from_secs(10), |line| {
        line.contains("dropped") && line.contains("none lost")
    })?;
    ensure!(line.starts_with("tracer: "), "{line}");
    record.interrupt(END)?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_command_is_recorded_from_begin_to_end() -> Result<()> {
    let dir = Dir::new("command")?;
    let file = dir.file("a.pcapng");
    let lab = Lab::raise_named(LAB)?;
    let ping = ["--", "ping", "-c", "3", "-i", "0.2", "10.0.0.2"];
    let args: Vec<&str> = ["record", "-w", &file, "icmp"]
        .into_iter()
        .chain(ping)
        .collect();
    Tracer::run(lab.node(), &args, END)?.expect_code(0)?;
    let report = read(&lab, &file, &[])?;
    let flow = harness::expect::flow(&report, &json!({"proto": "icmp", "dst": "10.0.0.2"}))?;
    ensure!(flow["packets"] == json!(3), "{flow}");
    ensure!(flow["reply"]["packets"] == json!(3), "{flow}");
    Ok(())
}
