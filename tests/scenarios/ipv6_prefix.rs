//! An interface prefix that is too long: the peer is not on-link, and what follows from it.

use anyhow::{Context as _, Result, ensure};
use harness::{Observed, expect};
use serde_json::{Value, json};

const POD: &str = "2001:db8:44:1::10";
const PEER: &str = "2001:db8:44:2::20";
const CROSS_NODE: [&str; 2] = ["udp6", "udp6-connected"];

fn cross<'s>(seen: &'s Observed, name: &str) -> Result<&'s Value> {
    let flow = seen.flow(
        name,
        &json!({"proto": "udp", "src": POD, "dst": PEER, "dport": 7,
            "scope": {"dev": "lxc-p1", "vni": null}}),
    )?;
    Ok(flow)
}

/// Both pods are on n1: in every mode these are delivered, and no mode blames them.
fn same_node(seen: &Observed) -> Result<()> {
    let sent = seen.sent("same-node")?;
    let flow = seen.flow(
        "same-node",
        &json!({"proto": "udp", "src": POD, "dport": 7}),
    )?;
    expect::is(
        flow,
        &json!({"dst": "2001:db8:44:1::11", "outcome": "forwarded", "left_by": "lxc-p1b",
            "drops": [], "packets": sent.sent}),
    )?;
    expect::hops(flow, sent.sent, &["in lxc-p1", "out lxc-p1b"])?;
    let reply = expect::reply(flow)?;
    expect::hops(reply, sent.received, &["in lxc-p1b", "out lxc-p1"])?;
    for finding in seen.report["findings"].as_array().into_iter().flatten() {
        ensure!(
            !finding["evidence"]
                .to_string()
                .contains("-> [2001:db8:44:1::11]"),
            "a delivered flow is blamed: {finding}"
        );
    }
    Ok(())
}

/// Out by eth0 with the route that `wanted` describes.
fn leaves(flow: &Value, packets: u64, wanted: Value) -> Result<()> {
    expect::is(
        flow,
        &json!({"packets": packets, "left_by": "eth0", "drops": []}),
    )?;
    expect::hops(flow, packets, &["in lxc-p1", "out eth0"])?;
    let mut route = wanted;
    for (key, value) in [
        ("family", json!("ipv6")),
        ("table", json!(254)),
        ("type", json!("unicast")),
        ("dev", json!("eth0")),
        ("errno", json!(0)),
        ("how", json!("lookup")),
    ] {
        route[key] = value;
    }
    expect::path(
        flow,
        &[
            expect::hop("lxc-p1", "in"),
            expect::route(&route),
            expect::hop_with("eth0", "out", json!({"encap": null})),
        ],
    )
}

/// The default route to the provider's router: `udp6` gets no answer.
fn follows_the_default_route(seen: &Observed) -> Result<()> {
    for name in CROSS_NODE {
        let flow = cross(seen, name)?;
        let default = json!({"gateway": "fe80::1", "matched": "default"});
        leaves(flow, seen.sent(name)?.sent, default)?;
        expect::is(
            flow,
            &json!({"outcome": "unanswered", "reply": {"packets": 0}}),
        )?;
    }
    let cause = seen.root_cause("onlink-prefix-mismatch")?;
    expect::is(
        cause,
        &json!({"subject": {"dev": "eth0", "address": PEER, "flows": 3}}),
    )?;
    let summary = cause["summary"].as_str().context("no summary")?;
    for fact in ["2001:db8:0:a0::1/64", "2001:db8:44:2::", "fe80::1"] {
        ensure!(summary.contains(fact), "{fact} is not in: {summary}");
    }
    same_node(seen)?;
    seen.code(3)
}

#[test]
fn pod_traffic_follows_the_default_route_and_vanishes() -> Result<()> {
    let seen = Observed::of("ipv6-prefix:default", &[])?;
    follows_the_default_route(&seen)?;
    for name in CROSS_NODE {
        expect::is(cross(&seen, name)?, &json!({"icmp_errors": []}))?;
    }
    let tcp = seen.flow("tcp6", &json!({"proto": "tcp", "dst": PEER, "dport": 8}))?;
    expect::is(tcp, &json!({"outcome": "unanswered", "left_by": "eth0"}))?;
    ensure!(
        tcp["retransmits"].as_u64() >= Some(1),
        "the pod's SYN was not seen to be repeated: {tcp}"
    );
    Ok(())
}

#[test]
fn the_routers_error_is_shown_with_its_sender() -> Result<()> {
    let seen = Observed::of("ipv6-prefix:icmp", &[])?;
    follows_the_default_route(&seen)?;
    for name in CROSS_NODE {
        let flow = cross(&seen, name)?;
        let errors = flow["icmp_errors"].as_array().context("no errors")?;
        // in by eth0, passed on to the pod; the router limits how many it sends
        for (dev, dir) in [("eth0", "in"), ("lxc-p1", "out")] {
            let wanted = json!({"from": "2001:db8:0:bf::1", "type": 1, "code": 0,
                "local": false, "dev": dev, "dir": dir});
            ensure!(
                errors.iter().any(|error| expect::contains(error, &wanted)),
                "no {wanted} in {}",
                flow["icmp_errors"]
            );
        }
    }
    Ok(())
}

#[test]
fn without_a_default_route_the_node_itself_drops() -> Result<()> {
    let seen = Observed::of("ipv6-prefix:nodefault", &[])?;
    for name in CROSS_NODE {
        let flow = cross(&seen, name)?;
        let sent = seen.sent(name)?.sent;
        expect::is(
            flow,
            &json!({"packets": sent, "outcome": "dropped", "left_by": null, "reply": {"packets": 0}}),
        )?;
        expect::hops(flow, sent, &["in lxc-p1"])?;
        let refusal = json!({"family": "ipv6", "type": "none", "errno": enetunreach(),
            "gateway": null, "dev": null, "how": "lookup"});
        expect::path(
            flow,
            &[expect::hop("lxc-p1", "in"), expect::route(&refusal)],
        )?;
        // ip6_pkt_drop, inlined or not, under the name of its caller
        let dropped = expect::dropped(flow, "IP_INNOROUTES")?;
        expect::is(
            dropped,
            &json!({"count": sent, "dev": "lxc-p1", "netns": seen.lab.node().inode()}),
        )?;
        let symbol = dropped["symbol"].as_str().unwrap_or_default();
        ensure!(
            ["ip6_pkt_discard", "ip6_pkt_drop"].contains(&symbol),
            "dropped at {symbol}"
        );
    }
    seen.root_cause("onlink-prefix-mismatch")?;
    let no_route = expect::finding(&seen.report, "no-route")?;
    expect::is(
        no_route,
        &json!({"severity": "error", "subject": {"address": PEER, "flows": 3}}),
    )?;
    // ping on the node never made a packet: the failed lookup is all there is
    let node = expect::flows(
        &seen.report,
        &json!({"dst": "2001:db8:0:a1::1", "packets": 0}),
    )?;
    let failed = node
        .iter()
        .filter_map(|flow| flow["route_failures"].as_array());
    let wanted = json!({"errno": enetunreach(), "comm": "ping"});
    ensure!(
        failed
            .flatten()
            .any(|failure| expect::contains(failure, &wanted)),
        "the failed lookup of ping is missing: {node:?}"
    );
    same_node(&seen)?;
    seen.code(3)
}

fn enetunreach() -> i32 {
    nix::errno::Errno::ENETUNREACH as i32
}

#[test]
fn the_providers_prefix_is_healthy() -> Result<()> {
    let seen = Observed::of("ipv6-prefix:ok", &[])?;
    for name in CROSS_NODE {
        let flow = cross(&seen, name)?;
        let sent = seen.sent(name)?;
        leaves(
            flow,
            sent.sent,
            json!({"gateway": "2001:db8:0:a1::1", "matched": "2001:db8:44:2::/64"}),
        )?;
        let reply = expect::reply(flow)?;
        expect::is(flow, &json!({"outcome": "forwarded"}))?;
        expect::hops(reply, sent.received, &["in eth0", "out lxc-p1"])?;
    }
    // the node's own ping: made here, answered here
    let ping = expect::flow(&seen.report, &json!({"proto": "icmp6", "icmp_type": 128}))?;
    expect::is(
        ping,
        &json!({"dst": "2001:db8:0:a1::1", "outcome": "forwarded",
            "reply": {"packets": 1, "outcome": "delivered"}}),
    )?;
    same_node(&seen)?;
    seen.healthy()
}

#[test]
fn a_finding_can_be_the_condition() -> Result<()> {
    let args = [
        "dst host 2001:db8:44:2::20",
        "--fail-on",
        "onlink-prefix-mismatch",
    ];
    let seen = Observed::of("ipv6-prefix:default", &args)?;
    seen.code(3)
}
