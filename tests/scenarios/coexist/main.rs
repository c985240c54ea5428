//! tracer on a node where others are at work: their programs, their qdiscs, their devices, other
//! tracers. What happens to packets is the same with and without it, and it says what it saw.

mod chain;
mod churn;
mod qdisc;
mod routes;
mod several;
mod timing;
mod xdp;

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::bpf::{self, Hook};
use harness::traffic::Udp;
use harness::{Lab, Netns, expect};
use serde_json::{Value, json};

/// From SIGINT to the end, on a loaded machine.
const END: Duration = Duration::from_secs(30);
const CHECK: [&str; 6] = ["check", "-o", "json", "--for", "1h", "udp port 7"];
/// Datagrams of a round, and their payload; no other packet in a lab is that long.
const ROUND: u32 = 50;
const PAYLOAD: u16 = 291;
/// With Ethernet, IPv4 and UDP headers.
const LENGTH: i32 = 14 + 20 + 8 + PAYLOAD as i32;

/// Sends a round from a to b, and returns how much came back.
fn round(lab: &Lab) -> Result<u64> {
    let udp = Udp::to("10.2.0.2:7").count(ROUND).size(PAYLOAD.into());
    let udp = udp.interval(Duration::from_millis(1));
    Ok(udp
        .wait(Duration::from_secs(1))
        .send(lab.ns("a")?)?
        .received)
}

/// Packets of the flows to b at a device, over all of them.
fn seen_at(report: &Value, dev: &str, dir: &str) -> Result<u64> {
    let hop = expect::hop(dev, dir);
    let flows = expect::flows(
        report,
        &json!({"proto": "udp", "dst": "10.2.0.2", "dport": 7}),
    )?;
    let steps = flows.iter().filter_map(|flow| flow["path"].as_array());
    steps
        .flatten()
        .filter(|step| expect::contains(step, &hop))
        .try_fold(0, |sum, step| {
            let packets = step["hop"]["packets"].as_u64();
            Ok(sum + packets.context("no packets")?)
        })
}

/// Whether a program of tracer is at the egress of a device.
fn traced(node: &Netns, dev: &str) -> Result<bool> {
    match bpf::attached(node, dev, Hook::Egress) {
        Ok(programs) => Ok(programs.iter().any(|p| p.name.starts_with("tracer_"))),
        // a kernel without tcx, where it is a filter
        Err(_) => Ok(node
            .exec(&["tc", "filter", "show", "dev", dev, "egress"])?
            .contains("tracer_")),
    }
}

/// `ip` with the words of a line.
fn ip(ns: &Netns, line: &str) -> Result<()> {
    let argv: Vec<&str> = ["ip"].into_iter().chain(line.split(' ')).collect();
    ns.exec(&argv).map(drop)
}
