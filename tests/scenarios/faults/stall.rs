//! A process that stands still under load: the ring buffer fills, the tables go on counting.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::traffic::Blast;
use harness::{Lab, Tracer, deadline, expect};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Dir, END, number};

/// Each announces itself in the ring buffer, which has room for about 16,000 such records.
fn flows() -> u32 {
    deadline::amount(40_000, 12_000)
}

#[test]
fn what_a_full_ring_buffer_lost_is_said_and_counters_stay_exact() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    // all of it leaves by there: without the losses it would be a pass
    let args = ["check", "-o", "json", "--for", "1h", "--via", "out", "udp"];
    let tracer = Tracer::start(node, &args)?;
    let before = node.statistic("out", "tx_packets")?;
    let packets = stalled(&lab, &tracer)?;
    let sent = node.statistic("out", "tx_packets")? - before;
    let report = tracer.interrupt(END)?.expect_code(4)?.json()?;
    ensure!(report["verdict"] == "inconclusive", "{}", report["verdict"]);
    let lost = number(&report["loss"], "events")?;
    ensure!(lost > 0, "no event was lost: {}", report["loss"]);
    let reasons = report["reasons"].to_string();
    ensure!(
        reasons.contains("lost"),
        "the reasons do not say so: {reasons}"
    );
    ensure!(
        report["loss"]["evicted"] == 0 && report["loss"]["undecoded"] == 0,
        "{}",
        report["loss"]
    );
    let flows = expect::flows(&report, &json!({"proto": "udp", "dst": "10.2.0.2"}))?;
    let seen = left(&flows)?;
    println!(
        "{packets} packets of {} flows while it stood still: {lost} events lost, {seen} of \
         {sent} packets counted in {} flows",
        self::flows(),
        flows.len()
    );
    // a few of the lab's own (neighbour discovery) leave as well, and are no UDP
    ensure!(
        seen <= sent && sent - seen < 20,
        "tracer counted {seen}, the device {sent}"
    );
    Ok(())
}

#[test]
fn a_recording_that_stood_still_says_what_it_lost() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let dir = Dir::new("stalled")?;
    let file = dir.file("a.pcapng");
    let args = [
        "record",
        "-o",
        "json",
        "-w",
        &file,
        "--buffer-size",
        "1M",
        "udp",
    ];
    let tracer = Tracer::start(lab.node(), &args)?;
    let packets = stalled(&lab, &tracer)?;
    let live = tracer.interrupt(END)?.expect_code(0)?.json()?;
    let ended = Tracer::run(lab.node(), &["read", "-o", "json", &file], END)?;
    let report = ended.expect_code(0)?.json()?;
    ensure!(report["loss"] == live["loss"], "{}", report["loss"]);
    let (written, lost) = (
        number(&report["file"], "packets")?,
        number(&report["file"], "packets_lost")?,
    );
    println!(
        "{packets} packets sent, {written} written, {lost} lost; {}",
        report["loss"]
    );
    ensure!(lost > 0, "{}", report["file"]);
    Ok(())
}

/// Sends while the process stands still, and returns how many.
fn stalled(lab: &Lab, tracer: &Tracer) -> Result<u64> {
    let packets = deadline::amount(400_000, 12_000);
    tracer.signal(Signal::SIGSTOP)?;
    let blast = Blast::to("10.2.0.2:20000").packets(packets).flows(flows());
    let limit = deadline::scaled(Duration::from_mins(1));
    let sent = blast.limit(limit).send(lab.ns("a")?);
    tracer.signal(Signal::SIGCONT)?;
    Ok(sent?.sent)
}

/// Packets that left by `out`.
fn left(flows: &[&Value]) -> Result<u64> {
    let hop = expect::hop("out", "out");
    flows
        .iter()
        .filter_map(|flow| flow["path"].as_array())
        .flatten()
        .filter(|step| expect::contains(step, &hop))
        .try_fold(0, |sum, step| Ok(sum + number(&step["hop"], "packets")?))
}
