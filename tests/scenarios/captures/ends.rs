//! However a recording ends, what is written can be read.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer, deadline, tracer};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{Dir, END, read};

const LAB: &str = "native-tunnel:native";

#[test]
fn a_killed_recording_reads_to_its_last_second() -> Result<()> {
    let dir = Dir::new("killed")?;
    let file = dir.file("a.pcapng");
    let lab = Lab::raise_named(LAB)?;
    let record = Tracer::start(lab.node(), &["record", "-w", &file])?;
    lab.traffic(1)?;
    let wanted = "the traffic in the file";
    deadline::wait_for(wanted, Duration::from_secs(20), || {
        let report = read(&lab, &file, &[])?;
        // still being written: no end yet
        ensure!(
            report["file"]["complete"] == json!(false),
            "{}",
            report["file"]
        );
        let flows = report["flows"].as_array().map_or(0, Vec::len);
        let packets = report["file"]["packets"].as_u64().unwrap_or(0);
        Ok((flows > 0 && packets > 0).then_some(()))
    })?;
    record.signal(Signal::SIGKILL)?;
    let ended = record.wait(END)?;
    ensure!(ended.status.code().is_none(), "{}", ended.status);
    let args = ["read", "-o", "json", &file];
    let ended = Tracer::run(lab.node(), &args, END)?.expect_code(0)?;
    ensure!(ended.stderr.contains("has no end"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_full_disk_ends_it_in_order() -> Result<()> {
    let dir = Dir::new("full")?;
    let lab = Lab::raise_named(LAB)?;
    let binary = tracer::binary()?.display().to_string();
    let script = "mount -t tmpfs -o size=128k full \"$0\" || exit 99
        \"$1\" record -s 4096 -w \"$0/a.pcapng\" --for 60s; echo \"code $?\" >&2
        exec \"$1\" read -o json \"$0/a.pcapng\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script])
        .arg(&dir.0)
        .arg(&binary);
    let job = Tracer::spawn_command(lab.node(), command)?;
    job.wait_ready(tracer::READY_LIMIT)?;
    let full = |line: &str| line.contains("No space left on device");
    for _ in 0..20 {
        lab.traffic(1)?;
        if job.stderr().lines().any(full) {
            break;
        }
    }
    let ended = job.wait(END)?.expect_code(0)?;
    ensure!(ended.stderr.contains("code 1"), "{}", ended.stderr);
    ensure!(
        ended.stderr.contains("cannot write") && ended.stderr.lines().any(full),
        "{}",
        ended.stderr
    );
    let report = ended.json()?;
    ensure!(report["file"]["complete"] == json!(false));
    ensure!(
        report["file"]["packets"].as_u64() > Some(0),
        "{}",
        report["file"]
    );
    Ok(())
}

#[test]
fn a_closed_pipe_ends_it_in_order() -> Result<()> {
    let lab = Lab::raise_named(LAB)?;
    let binary = tracer::binary()?.display().to_string();
    let script = "{ \"$0\" record -w - --for 60s; echo \"code $?\" >&2; } | head -c 8192 | wc -c";
    let mut command = Command::new("sh");
    command.args(["-c", script, &binary]);
    let job = Tracer::spawn_command(lab.node(), command)?;
    // the inventory alone can be more than `head` takes: the pipe may be closed before the start
    // is complete
    job.stderr_line("ready, or the code", tracer::READY_LIMIT, |line| {
        line.contains("ready") || line.contains("code ")
    })?;
    let ended = |job: &Tracer| job.stderr().contains("code ");
    for _ in 0..20 {
        lab.traffic(1)?;
        if ended(&job) {
            break;
        }
    }
    let ended = job.wait(END)?.expect_code(0)?;
    ensure!(ended.stderr.contains("code 0"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_pipe_is_read_as_a_file_is() -> Result<()> {
    let lab = Lab::raise_named(LAB)?;
    let binary = tracer::binary()?.display().to_string();
    let script = "\"$0\" record -w - -- sleep 2 | \"$0\" read -o json -";
    let mut command = Command::new("sh");
    command.args(["-c", script, &binary]);
    let job = Tracer::spawn_command(lab.node(), command)?;
    job.wait_ready(tracer::READY_LIMIT)?;
    lab.traffic(1)?;
    let report = job.wait(END)?.expect_code(0)?.json()?;
    ensure!(
        report["file"]["complete"] == json!(true),
        "{}",
        report["file"]
    );
    let flows = report["flows"].as_array().context("no flows")?;
    ensure!(!flows.is_empty(), "no flows");
    Ok(())
}

#[test]
fn tcpdump_shows_a_pipe_while_it_is_written() -> Result<()> {
    let lab = Lab::raise_named(LAB)?;
    let binary = tracer::binary()?.display().to_string();
    let script = "\"$0\" record -w - -- sleep 3 | tcpdump -l -n -r - udp and dst host 10.244.2.20";
    let mut command = Command::new("sh");
    command.args(["-c", script, &binary]);
    let job = Tracer::spawn_command(lab.node(), command)?;
    job.wait_ready(tracer::READY_LIMIT)?;
    lab.traffic(1)?;
    let ended = job.wait(END)?.expect_code(0)?;
    let shown = ended.stdout.lines().filter(|l| l.contains("UDP")).count();
    ensure!(shown > 0, "tcpdump shows nothing:\n{}", ended.stdout);
    ensure!(
        !ended.stderr.contains("tcpdump: pcap_loop"),
        "{}",
        ended.stderr
    );
    Ok(())
}
