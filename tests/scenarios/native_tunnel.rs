//! Native routing is meant, and pod traffic leaves by the VXLAN device.

use anyhow::{Context as _, Result};
use harness::{Observed, deadline, expect};
use serde_json::{Value, json};

const LAB: &str = "native-tunnel";

/// The underlay's header as it is on the wire at eth0.
fn vxlan7() -> Value {
    json!({"kind": "vxlan", "vni": 7, "src": "10.0.0.1", "dst": "10.0.0.2", "dport": 8472})
}

/// What `ip route get` of the lab names, for a decision that a packet really followed. Each packet
/// that is forwarded is looked up anew, so that the lookup of the last one was seen.
fn main_route(family: &str, gateway: Option<&str>, dev: &str, matched: &str) -> Value {
    expect::route(&json!({
        "family": family, "table": 254, "rule": 32766, "type": "unicast", "errno": 0, "how": "lookup",
        "gateway": gateway, "dev": dev, "matched": matched,
    }))
}

struct Family {
    name: &'static str,
    lab_flow: &'static str,
    pod: &'static str,
    peer: &'static str,
    peers: &'static str,
    tunnel_gateway: &'static str,
    node_gateway: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "ipv4",
        lab_flow: "udp4",
        pod: "10.244.1.10",
        peer: "10.244.2.20",
        peers: "10.244.2.0/24",
        tunnel_gateway: "10.244.2.0",
        node_gateway: "10.0.0.2",
    },
    Family {
        name: "ipv6",
        lab_flow: "udp6",
        pod: "fd44:1::10",
        peer: "fd44:2::20",
        peers: "fd44:2::/64",
        tunnel_gateway: "fe80::77:2",
        node_gateway: "fd00::2",
    },
];

impl Family {
    fn flow<'s>(&self, seen: &'s Observed) -> Result<(&'s Value, u64)> {
        let wanted = json!({
            "proto": "udp", "src": self.pod, "dst": self.peer, "dport": 7,
            "scope": {"dev": "lxc-p1", "vni": null},
        });
        let sent = seen.sent(self.lab_flow)?;
        let flow = seen.flow(self.lab_flow, &wanted)?;
        expect::is(
            flow,
            &json!({"packets": sent.sent, "outcome": "forwarded", "drops": [], "left_by": "eth0",
                "reply": {"packets": sent.received, "outcome": "forwarded", "drops": [],
                    "left_by": "lxc-p1"}}),
        )?;
        Ok((flow, sent.sent))
    }

    /// Requests in the tunnel: the pod's route to the tunnel, then the tunnel's to the underlay.
    fn encapsulated(&self, flow: &Value, packets: u64) -> Result<()> {
        expect::hops(flow, packets, &["in lxc-p1", "out vxlan7", "out eth0"])?;
        expect::path(
            flow,
            &[
                expect::hop_with("lxc-p1", "in", json!({"encap": null})),
                main_route(self.name, Some(self.tunnel_gateway), "vxlan7", self.peers),
                expect::hop_with("vxlan7", "out", json!({"encap": null})),
                underlay(),
                expect::hop_with("eth0", "out", json!({"encap": vxlan7()})),
            ],
        )
    }

    /// Requests without a tunnel.
    fn native(&self, flow: &Value, packets: u64) -> Result<()> {
        expect::hops(flow, packets, &["in lxc-p1", "out eth0"])?;
        expect::not_on_path(flow, &json!({"hop": {"encap": vxlan7()}}))?;
        let route = main_route(self.name, Some(self.node_gateway), "eth0", self.peers);
        expect::path(flow, &[expect::hop("lxc-p1", "in"), route])
    }

    /// Answers that came back without a tunnel.
    fn native_reply(&self, flow: &Value, packets: u64) -> Result<()> {
        let reply = expect::reply(flow)?;
        expect::hops(reply, packets, &["in eth0", "out lxc-p1"])?;
        let route = main_route(self.name, None, "lxc-p1", self.pod);
        expect::path(
            reply,
            &[
                expect::hop_with("eth0", "in", json!({"encap": null})),
                route,
                expect::hop("lxc-p1", "out"),
            ],
        )
    }
}

/// The way of the outer packet. The tunnel caches it for the forwarding entry, so that only the
/// first packet ever is looked up; both families share the cache.
fn underlay() -> Value {
    expect::route(&json!({"family": "ipv4", "dev": "eth0", "gateway": null, "errno": 0}))
}

#[test]
fn the_tunnel_wins_by_metric_and_answers_are_native() -> Result<()> {
    let seen = Observed::of(&format!("{LAB}:tunnel"), &["udp", "--no-tunnel"])?;
    for family in &FAMILIES {
        let (flow, packets) = family.flow(&seen)?;
        family.encapsulated(flow, packets)?;
        family.native_reply(flow, packets)?;
    }
    // it works, so that only an expectation makes it a failure
    seen.code(3)?;
    let reason = seen.report["reasons"][0].as_str().context("no reason")?;
    anyhow::ensure!(reason.contains("vxlan7"), "the reason is {reason}");
    let finding = expect::finding(&seen.report, "tunnel-in-native-mode")?;
    expect::is(
        finding,
        &json!({"severity": "warning", "subject": {"dev": "vxlan7", "flows": 2}}),
    )?;
    let evidence = finding["evidence"].to_string();
    for line in [
        "wins: 10.244.2.0/24 via 10.244.2.0 dev vxlan7 metric 10",
        "loses: 10.244.2.0/24 via 10.0.0.2 dev eth0 metric 100",
        "wins: fd44:2::/64 via fe80::77:2 dev vxlan7 metric 10",
        "loses: fd44:2::/64 via fd00::2 dev eth0 metric 1024",
    ] {
        anyhow::ensure!(evidence.contains(line), "{line:?} is not in {evidence}");
    }
    Ok(())
}

#[test]
fn a_tunnel_key_from_the_route_is_seen() -> Result<()> {
    let seen = Observed::of(&format!("{LAB}:md"), &["udp", "--no-tunnel"])?;
    for family in &FAMILIES {
        let (flow, packets) = family.flow(&seen)?;
        family.encapsulated(flow, packets)?;
        family.native_reply(flow, packets)?;
    }
    seen.code(3)?;
    expect::finding(&seen.report, "tunnel-in-native-mode")?;
    Ok(())
}

#[test]
fn a_tunnel_in_both_directions_is_one_flow() -> Result<()> {
    let seen = Observed::of(&format!("{LAB}:both"), &["udp", "--tunnel=vxlan7"])?;
    for family in &FAMILIES {
        let (flow, packets) = family.flow(&seen)?;
        family.encapsulated(flow, packets)?;
        let reply = expect::reply(flow)?;
        expect::hops(reply, packets, &["in eth0", "in vxlan7", "out lxc-p1"])?;
        let outer = json!({"encap": {
            "kind": "vxlan", "vni": 7, "src": "10.0.0.2", "dst": "10.0.0.1", "dport": 8472,
        }});
        expect::path(
            reply,
            &[
                expect::hop_with("eth0", "in", outer),
                expect::hop_with("vxlan7", "in", json!({"encap": null})),
                main_route(family.name, None, "lxc-p1", family.pod),
                expect::hop("lxc-p1", "out"),
            ],
        )?;
    }
    seen.code(0)
}

#[test]
fn native_routing_is_healthy() -> Result<()> {
    let seen = Observed::of(&format!("{LAB}:native"), &[])?;
    for family in &FAMILIES {
        let (flow, packets) = family.flow(&seen)?;
        family.native(flow, packets)?;
        family.native_reply(flow, packets)?;
    }
    let tcp = seen.flow(
        "tcp4",
        &json!({"proto": "tcp", "dst": "10.244.2.20", "dport": 8}),
    )?;
    // an emulated CPU is slower than TCP's timers
    let retransmits = deadline::amount(json!(0), tcp["retransmits"].clone());
    expect::is(
        tcp,
        &json!({"outcome": "forwarded", "drops": [], "retransmits": retransmits, "resets": 0,
            "reply": {"outcome": "forwarded", "drops": []}}),
    )?;
    seen.healthy()
}

#[test]
fn expectations_turn_the_same_traffic_into_each_verdict() -> Result<()> {
    // four runs would show no more than one does: what passes and fails is the judge's, which has
    // its own table; here the devices and the filter come from a real node
    let seen = Observed::of(&format!("{LAB}:native"), &["udp", "--via", "vxlan7"])?;
    seen.code(3)?;
    let seen = Observed::of(&format!("{LAB}:native"), &["net", "192.0.2.0/24"])?;
    expect::is(
        &seen.report,
        &json!({"flows": [], "filter": "net 192.0.2.0/24"}),
    )?;
    seen.code(4)
}
