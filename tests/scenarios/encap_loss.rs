//! What goes wrong around the headers of a VXLAN overlay and around the underlay, and what each of
//! it looks like from node 1.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Observed, deadline, expect};
use serde_json::{Value, json};

/// From the first packet to the failure of its neighbour: three probes, a second apart.
const NEIGHBOUR_FAILS: Duration = Duration::from_secs(10);

fn observe(mode: &str) -> Result<Observed> {
    Observed::of(&format!("encap-loss:{mode}"), &[])
}

/// UDP from p1 to p2, by the lab's name of it: `small4`, `large6`.
fn udp<'s>(seen: &'s Observed, name: &str) -> Result<&'s Value> {
    let (src, dst) = if name.ends_with('4') {
        ("10.244.1.10", "10.244.2.20")
    } else {
        ("fd44:1::10", "fd44:2::20")
    };
    let flow = seen.flow(
        name,
        &json!({"proto": "udp", "src": src, "dst": dst, "dport": 7,
            "scope": {"dev": "lxc-p1", "vni": null}}),
    )?;
    expect::is(flow, &json!({"packets": seen.sent(name)?.sent}))?;
    Ok(flow)
}

/// `lookup` in general. A node that answers with an ICMP error looks up other things before the
/// packet is dropped, and what is left then is the packet's dst entry: `cached`.
fn overlay_route(name: &str) -> Value {
    let (gateway, matched) = if name.ends_with('4') {
        ("10.244.2.0", "10.244.2.0/24")
    } else {
        ("fe80::77:2", "fd44:2::/64")
    };
    expect::route(
        &json!({"table": 254, "type": "unicast", "gateway": gateway, "dev": "vxlan1",
        "matched": matched, "errno": 0}),
    )
}

fn vxlan1(src: &str, dst: &str) -> Value {
    json!({"encap": {"kind": "vxlan", "vni": 1, "src": src, "dst": dst, "dport": 8472}})
}

/// All packets of it left encapsulated.
fn leaves_by_the_tunnel(seen: &Observed, name: &str) -> Result<()> {
    let flow = udp(seen, name)?;
    expect::is(flow, &json!({"left_by": "eth0", "drops": []}))?;
    let hops = ["in lxc-p1", "out vxlan1", "out eth0"];
    expect::hops(flow, seen.sent(name)?.sent, &hops)?;
    let underlay = json!({"family": "ipv4", "dev": "eth0", "gateway": null, "errno": 0});
    expect::path(
        flow,
        &[
            expect::hop("lxc-p1", "in"),
            overlay_route(name),
            expect::hop_with("vxlan1", "out", json!({"encap": null})),
            expect::route(&underlay),
            expect::hop_with("eth0", "out", vxlan1("10.0.0.1", "10.0.0.2")),
        ],
    )
}

fn answered_by_the_tunnel(seen: &Observed, name: &str) -> Result<()> {
    leaves_by_the_tunnel(seen, name)?;
    let flow = udp(seen, name)?;
    let reply = expect::reply(flow)?;
    expect::is(flow, &json!({"outcome": "forwarded"}))?;
    expect::is(
        reply,
        &json!({"outcome": "forwarded", "left_by": "lxc-p1", "drops": []}),
    )?;
    let hops = ["in eth0", "in vxlan1", "out lxc-p1"];
    expect::hops(reply, seen.sent(name)?.received, &hops)?;
    let outer = vxlan1("10.0.0.2", "10.0.0.1");
    expect::path(reply, &[expect::hop_with("eth0", "in", outer)])
}

fn unanswered(seen: &Observed, name: &str) -> Result<()> {
    expect::is(
        udp(seen, name)?,
        &json!({"outcome": "unanswered", "reply": {"packets": 0}}),
    )
}

/// All of it was dropped at `symbol`; `reasons` is what kernels call it.
fn dropped(seen: &Observed, name: &str, reasons: &[&str], place: &Value) -> Result<()> {
    let flow = udp(seen, name)?;
    expect::is(flow, &json!({"outcome": "dropped", "left_by": null}))?;
    let drop = &flow["drops"][0];
    expect::is(
        drop,
        &json!({"count": seen.sent(name)?.sent, "netns": seen.lab.node().inode()}),
    )?;
    expect::is(drop, place)?;
    let mut reasons_here = reasons.iter().map(|name| expect::reason(name));
    ensure!(
        reasons_here.any(|name| drop["reason"] == name),
        "not dropped for one of {reasons:?}: {drop}"
    );
    ensure!(flow["drops"][1].is_null(), "dropped elsewhere too: {flow}");
    Ok(())
}

/// The node's own "too big" about a flow, out to the pod.
fn told_too_big(seen: &Observed, name: &str) -> Result<()> {
    let (icmp_type, code) = if name.ends_with('4') { (3, 4) } else { (2, 0) };
    let wanted = json!({"type": icmp_type, "code": code, "mtu": 1450, "local": true,
        "dev": "lxc-p1", "dir": "out", "count": seen.sent(name)?.sent});
    let errors = &udp(seen, name)?["icmp_errors"];
    let found = errors.as_array().into_iter().flatten();
    ensure!(
        found
            .into_iter()
            .any(|error| expect::contains(error, &wanted)),
        "no {wanted} in {errors}"
    );
    Ok(())
}

fn too_big_for_the_tunnel(seen: &Observed) -> Result<()> {
    for name in ["small4", "small6"] {
        answered_by_the_tunnel(seen, name)?;
    }
    // ip_forward still has the input device, ip6_forward the output device already
    for (name, symbol, dev) in [
        ("large4", "ip_forward", "lxc-p1"),
        ("large6", "ip6_forward", "vxlan1"),
    ] {
        let place = json!({"symbol": symbol, "dev": dev});
        dropped(seen, name, &["PKT_TOO_BIG"], &place)?;
        expect::hops(udp(seen, name)?, seen.sent(name)?.sent, &["in lxc-p1"])?;
        expect::path(
            udp(seen, name)?,
            &[expect::hop("lxc-p1", "in"), overlay_route(name)],
        )?;
        told_too_big(seen, name)?;
    }
    let finding = expect::finding(&seen.report, "encap-mtu")?;
    expect::is(
        finding,
        &json!({"severity": "error", "subject": {"dev": "vxlan1"}}),
    )?;
    seen.code(3)
}

#[test]
fn too_big_and_told() -> Result<()> {
    let seen = observe("toobig")?;
    too_big_for_the_tunnel(&seen)?;
    seen.root_cause("encap-mtu")?;
    for name in ["tcp4", "tcp6"] {
        let tcp = seen.flow(name, &json!({"proto": "tcp", "dport": 8}))?;
        expect::is(
            tcp,
            &json!({"outcome": "forwarded", "reply": {"outcome": "forwarded"}}),
        )?;
    }
    Ok(())
}

#[test]
fn too_big_and_a_firewall_in_the_pod_hides_it() -> Result<()> {
    let seen = observe("blackhole")?;
    too_big_for_the_tunnel(&seen)?;
    for name in ["tcp4", "tcp6"] {
        let tcp = seen.flow(name, &json!({"proto": "tcp", "dport": 8}))?;
        expect::is(tcp, &json!({"outcome": "dropped"}))?;
        expect::dropped(tcp, "PKT_TOO_BIG")?;
        ensure!(tcp["retransmits"].as_u64() >= Some(1), "{tcp}");
    }
    // the errors themselves are flows that end in the pod's namespace
    let cause = seen.root_cause("policy-drop")?;
    expect::is(cause, &json!({"subject": {"dev": "eth0", "flows": 2}}))?;
    let pod = seen.lab.ns("p1")?.inode();
    for (proto, icmp_type) in [("icmp", 3), ("icmp6", 2)] {
        let error = expect::flow(
            &seen.report,
            &json!({"proto": proto, "icmp_type": icmp_type, "outcome": "dropped"}),
        )?;
        let drop = expect::dropped(error, "NETFILTER_DROP")?;
        expect::is(drop, &json!({"dev": "eth0", "netns": pod}))?;
        ensure!(
            drop["count"] == error["packets"],
            "some were let in: {error}"
        );
    }
    Ok(())
}

#[test]
fn too_big_with_the_outer_header() -> Result<()> {
    let seen = observe("underlay")?;
    for name in ["small4", "small6"] {
        answered_by_the_tunnel(&seen, name)?;
    }
    // dropped under the tunnel: the inner flow is named all the same. The kernel gives no reason up
    // to 7.3.
    let place = json!({"symbol": "ip_fragment", "dev": "eth0"});
    dropped(&seen, "large4", &["NOT_SPECIFIED", "PKT_TOO_BIG"], &place)?;
    let sent = seen.sent("large4")?.sent;
    expect::hops(udp(&seen, "large4")?, sent, &["in lxc-p1", "out vxlan1"])?;
    let cause = seen.root_cause("encap-mtu")?;
    expect::is(cause, &json!({"subject": {"dev": "eth0"}}))?;
    ensure!(
        cause["evidence"].to_string().contains("50 bytes"),
        "the overhead is not named: {cause}"
    );
    seen.code(3)
}

#[test]
fn too_big_for_a_link_in_the_fabric() -> Result<()> {
    let seen = observe("fabricmtu")?;
    for name in ["small4", "small6"] {
        answered_by_the_tunnel(&seen, name)?;
    }
    for name in ["large4", "large6"] {
        leaves_by_the_tunnel(&seen, name)?;
        unanswered(&seen, name)?;
    }
    let cause = seen.root_cause("encap-mtu")?;
    expect::is(
        cause,
        &json!({"subject": {"dev": "eth0", "address": "10.0.0.2"}}),
    )?;
    seen.code(3)
}

#[test]
fn a_firewall_stops_the_tunnel() -> Result<()> {
    // in the fabric or on the other node: from here it is the same
    for mode in ["fw", "fwnode"] {
        let seen = observe(mode)?;
        for name in ["small4", "small6"] {
            leaves_by_the_tunnel(&seen, name)?;
            unanswered(&seen, name)?;
        }
        let cause = seen.root_cause("tunnel-unanswered")?;
        expect::is(
            cause,
            &json!({"subject": {"dev": "eth0", "address": "10.0.0.2"}}),
        )?;
        let summary = cause["summary"].as_str().context("no summary")?;
        ensure!(
            summary.contains("VNI 1") && summary.contains("8472"),
            "{summary}"
        );
        seen.code(3)?;
    }
    Ok(())
}

fn neighbours_failed(lab: &Lab) -> Result<()> {
    deadline::wait_for("the failure of both neighbours", NEIGHBOUR_FAILS, || {
        let failed = lab.node().exec(&["ip", "neigh", "show", "nud", "failed"])?;
        let both = ["10.244.2.20 ", "fd44:2::20 "]
            .iter()
            .all(|ip| failed.contains(ip));
        Ok(both.then_some(()))
    })
}

#[test]
fn a_next_hop_that_is_not_on_the_link() -> Result<()> {
    let seen = Observed::until("encap-loss:neigh", &[], neighbours_failed)?;
    for (name, address, prefix) in [
        ("small4", "10.244.2.20", "10.244.2.0/24"),
        ("small6", "fd44:2::20", "fd44:2::/64"),
    ] {
        // IPv6 has no reason of its own up to 6.12
        let place = json!({"symbol": "neigh_invalidate"});
        dropped(&seen, name, &["NEIGH_FAILED", "NOT_SPECIFIED"], &place)?;
        let route = json!({"table": 254, "type": "unicast", "gateway": null, "dev": "eth0",
            "matched": prefix, "errno": 0});
        expect::path(
            udp(&seen, name)?,
            &[expect::hop("lxc-p1", "in"), expect::route(&route)],
        )?;
        let failures = seen.report["neigh_failures"]
            .as_array()
            .context("no list")?;
        let wanted = json!({"address": address, "dev": "eth0"});
        ensure!(
            failures
                .iter()
                .any(|failure| expect::contains(failure, &wanted)),
            "no {wanted} in {failures:?}"
        );
    }
    let cause = seen.root_cause("neigh-unresolved")?;
    expect::is(cause, &json!({"subject": {"dev": "eth0"}}))?;
    seen.code(3)
}

#[test]
fn a_router_that_knows_no_pods() -> Result<()> {
    let seen = observe("unknown")?;
    for (name, gateway) in [("small4", "10.0.0.254"), ("small6", "fd00::fe")] {
        let flow = udp(&seen, name)?;
        expect::hops(flow, seen.sent(name)?.sent, &["in lxc-p1", "out eth0"])?;
        let route = json!({"table": 254, "type": "unicast", "gateway": gateway, "dev": "eth0",
            "matched": "default", "how": "lookup", "errno": 0});
        expect::path(
            flow,
            &[
                expect::route(&route),
                expect::hop_with("eth0", "out", json!({"encap": null})),
            ],
        )?;
        unanswered(&seen, name)?;
    }
    seen.root_cause("left-unanswered")?;
    seen.code(3)
}

#[test]
fn no_forwarding_entry_for_the_tunnel() -> Result<()> {
    let seen = observe("fdb")?;
    for name in ["small4", "small6"] {
        let place = json!({"symbol": "vxlan_xmit", "dev": "vxlan1"});
        // named since 6.11
        dropped(&seen, name, &["NO_TX_TARGET", "NOT_SPECIFIED"], &place)?;
        let flow = udp(&seen, name)?;
        expect::hops(flow, seen.sent(name)?.sent, &["in lxc-p1", "out vxlan1"])?;
        expect::path(flow, &[overlay_route(name), expect::hop("vxlan1", "out")])?;
    }
    let cause = seen.root_cause("fdb-missing")?;
    expect::is(cause, &json!({"subject": {"dev": "vxlan1"}}))?;
    seen.code(3)
}

#[test]
fn an_overlay_with_the_right_mtu_is_healthy() -> Result<()> {
    let seen = observe("ok")?;
    for name in ["small4", "small6", "large4", "large6"] {
        answered_by_the_tunnel(&seen, name)?;
    }
    seen.healthy()
}
