//! Two ENIs: what arrives on ens6 must leave by ens6.

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Observed, expect};
use serde_json::{Value, json};

/// The client's request for pod p1, as it crosses n1.
fn request<'s>(seen: &'s Observed, name: &str, wanted: &Value) -> Result<&'s Value> {
    let flow = seen.flow(name, wanted)?;
    expect::is(
        flow,
        &json!({"scope": {"dev": "ens6", "vni": null}, "packets": seen.sent(name)?.sent}),
    )?;
    Ok(flow)
}

fn udp4<'s>(seen: &'s Observed, name: &str) -> Result<&'s Value> {
    request(
        seen,
        name,
        &json!({"proto": "udp", "src": "10.9.0.9", "dst": "10.0.0.66", "dport": 7}),
    )
}

fn udp6(seen: &Observed) -> Result<&Value> {
    request(
        seen,
        "udp6",
        &json!({"proto": "udp", "src": "fd09::9", "dst": "fd00::66", "dport": 7}),
    )
}

/// In by ens6, to the pod by the main table.
fn arrives(flow: &Value, pod: &str) -> Result<()> {
    let packets = flow["packets"].as_u64().context("no packets")?;
    expect::is(
        flow,
        &json!({"outcome": "forwarded", "left_by": "lxc-p1", "drops": []}),
    )?;
    expect::hops(flow, packets, &["in ens6", "out lxc-p1"])?;
    let route = json!({"table": 254, "type": "unicast", "gateway": null, "dev": "lxc-p1",
        "matched": pod, "how": "lookup", "errno": 0});
    expect::path(flow, &[expect::hop("ens6", "in"), expect::route(&route)])
}

/// The pod's answers leave by `dev`, as the decision says.
fn answers_leave_by(flow: &Value, dev: &str, decision: &Value) -> Result<()> {
    let reply = expect::reply(flow)?;
    let packets = flow["packets"].as_u64().context("no packets")?;
    expect::is(
        reply,
        &json!({"packets": packets, "outcome": "forwarded", "left_by": dev, "drops": []}),
    )?;
    expect::hops(reply, packets, &["in lxc-p1", &format!("out {dev}")])?;
    expect::path(
        reply,
        &[
            expect::hop("lxc-p1", "in"),
            expect::route(decision),
            expect::hop(dev, "out"),
        ],
    )
}

fn default_by(dev: &str, gateway: &str) -> Value {
    json!({"table": 254, "type": "unicast", "gateway": gateway, "dev": dev, "errno": 0,
        "matched": "default"})
}

/// Packets that the fabric dropped because they came from ens5 with the pod's address: the IPv4 and
/// the IPv6 counter.
fn dropped_by_the_fabric(lab: &Lab) -> Result<[u64; 2]> {
    let table = lab
        .ns("fab")?
        .exec(&["nft", "-j", "list", "chain", "bridge", "vpc", "srccheck"])?;
    let table: Value = serde_json::from_str(&table)?;
    let counters: Vec<u64> = table["nftables"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.pointer("/rule/expr")?.as_array())
        .flatten()
        .filter_map(|part| part.pointer("/counter/packets")?.as_u64())
        .collect();
    match counters.as_slice() {
        &[ens5_ipv4, 0, ens5_ipv6] => Ok([ens5_ipv4, ens5_ipv6]),
        other => anyhow::bail!("unexpected counters {other:?}"),
    }
}

#[test]
fn answers_by_the_wrong_eni() -> Result<()> {
    let seen = Observed::of("aws-eni:srccheck", &["udp"])?;
    let (v4, v6) = (udp4(&seen, "udp4-6001")?, udp6(&seen)?);
    arrives(v4, "10.0.0.66")?;
    arrives(v6, "fd00::66")?;
    answers_leave_by(v4, "ens5", &default_by("ens5", "10.0.0.1"))?;
    answers_leave_by(v6, "ens5", &default_by("ens5", "fd00::1"))?;
    // the loss itself is not on this node
    ensure!(dropped_by_the_fabric(&seen.lab)?[1] == seen.sent("udp6")?.sent);

    let cause = seen.root_cause("duplicate-default")?;
    expect::is(cause, &json!({"subject": {"dev": "ens6", "flows": 1}}))?;
    let wrong = expect::finding(&seen.report, "wrong-egress")?;
    expect::is(
        wrong,
        &json!({"severity": "error", "subject": {"dev": "ens5"}}),
    )?;
    seen.code(3)
}

#[test]
fn via_names_the_device_of_the_answers() -> Result<()> {
    // turned by the filter: the answers are the flow
    let seen = Observed::of(
        "aws-eni:srccheck",
        &["src host 10.0.0.66 and udp", "--via", "ens6"],
    )?;
    let wanted = json!({"src": "10.0.0.66", "sport": 7, "dst": "10.9.0.9", "left_by": "ens5"});
    expect::flow(&seen.report, &wanted)?;
    let reasons = seen.report["reasons"].to_string();
    ensure!(
        reasons.contains("left by ens5, not by ens6"),
        "the reasons are {reasons}"
    );
    seen.code(3)
}

#[test]
fn rp_filter_drops_what_the_route_back_does_not_expect() -> Result<()> {
    let seen = Observed::of("aws-eni:rpfilter", &["udp"])?;
    let flow = udp4(&seen, "udp4-6001")?;
    let sent = seen.sent("udp4-6001")?.sent;
    expect::is(
        flow,
        &json!({"outcome": "dropped", "why": "IP_RPFILTER", "reply": {"packets": 0}}),
    )?;
    expect::hops(flow, sent, &["in ens6"])?;
    let dropped = expect::dropped(flow, "IP_RPFILTER")?;
    expect::is(
        dropped,
        &json!({"count": sent, "dev": "ens6", "netns": seen.lab.node().inode()}),
    )?;
    // the compiler may append .isra.0 or .constprop.0, which is cut off
    expect::is(dropped, &json!({"symbol": "ip_rcv_finish_core"}))?;
    let back = json!({"source_check": true, "dev": "ens5", "matched": "default", "table": 254});
    expect::path(flow, &[expect::hop("ens6", "in"), expect::route(&back)])?;

    // IPv6 has no rp_filter
    answers_leave_by(udp6(&seen)?, "ens5", &default_by("ens5", "fd00::1"))?;

    seen.root_cause("duplicate-default")?;
    let finding = expect::finding(&seen.report, "rp-filter")?;
    expect::is(
        finding,
        &json!({"severity": "error", "subject": {"dev": "ens6", "address": "10.9.0.9"}}),
    )?;
    seen.code(3)
}

/// The FIB event names the first next hop always; the packet's own dst entry does not.
#[test]
fn each_flow_of_a_multipath_route_shows_its_own_next_hop() -> Result<()> {
    let seen = Observed::of("aws-eni:ecmp", &[])?;
    let mut by_ens5 = 0;
    for sent in &seen.traffic {
        if !sent.name.starts_with("udp4-") {
            continue;
        }
        let flow = udp4(&seen, &sent.name)?;
        arrives(flow, "10.0.0.66")?;
        // what came back to the client left by ens6, what did not by ens5
        let (dev, how) = if sent.sent.delivered() {
            ("ens6", "dst")
        } else {
            ("ens5", "lookup")
        };
        by_ens5 += sent.sent.sent - sent.sent.received;
        let mut decision = default_by(dev, "10.0.0.1");
        decision["how"] = json!(how);
        answers_leave_by(flow, dev, &decision).with_context(|| sent.name.clone())?;
    }
    // a TCP socket that got no answer changes the hash of its packets, and with it the next hop
    let tcp = seen.flow("tcp4", &json!({"proto": "tcp", "dst": "10.0.0.66"}))?;
    by_ens5 += expect::packets(expect::reply(tcp)?, "out ens5");
    let dropped = dropped_by_the_fabric(&seen.lab)?[0];
    // one that is not done yet repeats itself while the counter is read
    let later = !seen.sent("tcp4")?.delivered() && dropped > by_ens5;
    ensure!(
        dropped == by_ens5 || later,
        "{dropped} dropped, {by_ens5} by ens5"
    );
    // multipath is meant; what it does to an address of one ENI is not
    expect::no_finding(&seen.report, "duplicate-default")?;
    let cause = seen.root_cause("wrong-egress")?;
    expect::is(cause, &json!({"subject": {"dev": "ens5"}}))?;
    seen.code(3)
}

#[test]
fn rules_by_source_are_healthy() -> Result<()> {
    let seen = Observed::of("aws-eni:ok", &[])?;
    for (flow, pod, gateway) in [
        (udp4(&seen, "udp4-6001")?, "10.0.0.66", "10.0.0.1"),
        (udp6(&seen)?, "fd00::66", "fd00::1"),
    ] {
        arrives(flow, pod)?;
        let decision = json!({"rule": 1536, "table": 6, "type": "unicast", "gateway": gateway,
            "dev": "ens6", "errno": 0, "matched": "default", "how": "lookup"});
        answers_leave_by(flow, "ens6", &decision)?;
    }
    ensure!(dropped_by_the_fabric(&seen.lab)? == [0, 0]);
    seen.healthy()
}

#[test]
fn the_table_of_the_answers_can_be_required() -> Result<()> {
    let seen = Observed::of(
        "aws-eni:ok",
        &[
            "src host 10.0.0.66 and udp",
            "--table",
            "6",
            "--via",
            "ens6",
        ],
    )?;
    seen.code(0)
}
