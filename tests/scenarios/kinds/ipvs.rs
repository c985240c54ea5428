//! A service of IPVS, as kube-proxy sets it up.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::traffic::{Echo, Udp};
use harness::{Tracer, expect};
use serde_json::json;

use crate::{CHECK, COUNT, END, V4, has, nodes};

const SERVICE: &str = "10.96.0.10";

#[test]
fn ipvs() -> Result<()> {
    let network = nodes("ipvs")
        .addr("n1", "lo", &["10.96.0.10/32"])
        .route("n1", "10.244.2.0/24 via 10.0.0.2")
        .route("n2", "10.244.1.0/24 via 10.0.0.1")
        .reach("p1", V4.1)
        .raise()?;
    let (node, pod) = (network.ns("n1")?, network.ns("p1")?);
    let service = format!("{SERVICE}:80");
    let add = ["ipvsadm", "-A", "-u", &service, "-s", "rr"];
    if !has(node, &add)? {
        return Ok(());
    }
    let server = format!("{}:7", V4.1);
    node.exec(&["ipvsadm", "-a", "-u", &service, "-r", &server, "-m"])?;
    node.sysctl("net.ipv4.vs.conntrack", "1")?;
    let _echo = Echo::udp(network.ns("p2")?, server.parse()?)?;
    let tracer = Tracer::start(node, &CHECK)?;
    let sent = Udp::to(&service).sport(4000).count(COUNT);
    let sent = sent.wait(Duration::from_secs(2)).send(pod)?;
    ensure!(sent.delivered(), "the lab itself loses packets: {sent}");
    let report = tracer.interrupt(END)?.json()?;
    expect::no_loss(&report)?;
    expect::no_findings(&report)?;
    let wanted = json!({"proto": "udp", "src": V4.0, "sport": 4000, "dst": SERVICE, "dport": 80});
    let flow = expect::flow(&report, &wanted)?;
    // IPVS marks no connection as translated: both sides are flows, and neither claims too much
    expect::is(
        flow,
        &json!({"packets": COUNT, "outcome": "unknown", "drops": []}),
    )?;
    let why = flow["why"].as_str().unwrap_or_default();
    ensure!(why.contains("IPVS"), "{flow}");
    let reply = expect::reply(flow)?;
    expect::is(
        reply,
        &json!({"packets": COUNT, "outcome": "forwarded", "left_by": "lxc-p1"}),
    )?;
    let wanted = json!({"proto": "udp", "src": V4.0, "sport": 4000, "dst": V4.1, "dport": 7});
    let behind = expect::flow(&report, &wanted)?;
    expect::is(
        behind,
        &json!({"packets": COUNT, "outcome": "forwarded", "left_by": "eth0"}),
    )?;
    expect::is(
        expect::reply(behind)?,
        &json!({"packets": COUNT, "outcome": "unknown", "drops": []}),
    )?;
    expect::path(behind, &[expect::hop("eth0", "out")])
}
