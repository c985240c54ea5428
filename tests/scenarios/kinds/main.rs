//! Device kinds and datapaths that not every kernel has. What cannot be run is said, with the reason.
//!
//! ```text
//! p1 10.244.1.10 -- n1 10.0.0.1 == 10.0.0.2 n2 -- p2 10.244.2.20
//! ```

mod datapath;
mod ipvs;
mod tunnel;
mod wireguard;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use harness::traffic::{Echo, Udp};
use harness::{Netns, Network, Topology, Tracer, expect};
use serde_json::{Value, json};

/// From SIGINT to the end.
const END: Duration = Duration::from_secs(20);
/// Datagrams of each flow.
const COUNT: u32 = 3;
/// What is traced.
const CHECK: [&str; 5] = ["check", "-o", "json", "--for", "1h"];

/// Source and destination of the pods' flow, IPv4 and IPv6.
const V4: (&str, &str) = ("10.244.1.10", "10.244.2.20");
const V6: (&str, &str) = ("fd44:1::10", "fd44:2::20");

/// Two nodes with a pod each.
fn nodes(name: &str) -> Topology {
    Topology::new(name)
        .ns(&["n1", "n2"])
        .forwarding(&["n1", "n2"])
        .veth(("n1", "eth0"), ("n2", "eth0"))
        .addr("n1", "eth0", &["10.0.0.1/24", "fd00::1/64"])
        .addr("n2", "eth0", &["10.0.0.2/24", "fd00::2/64"])
        .pod("n1", "p1", V4.0, Some(V6.0))
        .pod("n2", "p2", V4.1, Some(V6.1))
}

/// What is said of what is not there.
const ABSENT: [&str; 6] = [
    "Unknown device type",
    "Operation not supported",
    "Protocol not supported",
    "No such file or directory",
    "not found in directory",
    "Protocol not available",
];

/// Runs `argv`, which makes something that this kernel or machine may not have. False, and a line
/// that says why, when it has not.
fn has(ns: &Netns, argv: &[&str]) -> Result<bool> {
    let output = ns.output(argv);
    let why = match &output {
        Ok(output) if output.status.success() => return Ok(true),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(e) => format!("{e:#}"),
    };
    let line = argv.join(" ");
    if !ABSENT.iter().any(|text| why.contains(text)) {
        bail!("`{line}` failed: {why}");
    }
    // past the capture of test output, so that it is seen when the test passes
    writeln!(
        std::io::stderr(),
        "NOT CHECKED, not available here: `{line}`: {why}"
    )?;
    Ok(false)
}

/// What tracer on node 1 says of datagrams that `from` sends to the echo servers of `to`, all of
/// which are answered.
fn traced(network: &Network, (from, to): (&str, &str), flows: &[(&str, &str)]) -> Result<Value> {
    let mut echoes = Vec::new();
    for (_, dst) in flows {
        echoes.push(Echo::both(network.ns(to)?, dst.parse()?)?);
    }
    let tracer = Tracer::start(network.ns("n1")?, &CHECK)?;
    for (_, dst) in flows {
        answered(network.ns(from)?, dst)?;
    }
    let report = tracer.interrupt(END)?.json()?;
    expect::no_loss(&report)?;
    expect::no_findings(&report)?;
    Ok(report)
}

fn answered(from: &Netns, dst: &str) -> Result<()> {
    let address = if dst.contains(':') {
        format!("[{dst}]:7")
    } else {
        format!("{dst}:7")
    };
    let sent = Udp::to(&address).count(COUNT).wait(Duration::from_secs(2));
    let sent = sent.send(from)?;
    ensure!(sent.delivered(), "the lab itself loses packets: {sent}");
    Ok(())
}

/// The flow between two addresses: exactly these hops on the way and back.
fn passes<'r>(
    report: &'r Value,
    (src, dst): (&str, &str),
    to: &[&str],
    back: &[&str],
) -> Result<&'r Value> {
    let wanted = json!({"proto": "udp", "src": src, "dst": dst, "dport": 7});
    let flow = expect::flow(report, &wanted)?;
    expect::hops(flow, u64::from(COUNT), to)?;
    expect::hops(expect::reply(flow)?, u64::from(COUNT), back)?;
    Ok(flow)
}
