//! Two tenants with the same addresses and ports at the same time: two flows, and only one of them
//! is in trouble.

use anyhow::{Result, ensure};
use harness::{Observed, expect};
use serde_json::{Value, json};

/// A tenant as node 1 sees it.
struct Tenant {
    name: &'static str,
    pod_dev: &'static str,
    tunnel_dev: &'static str,
    vni: u32,
}

const TENANTS: [Tenant; 2] = [
    Tenant {
        name: "a",
        pod_dev: "h-a1",
        tunnel_dev: "vxa",
        vni: 100,
    },
    Tenant {
        name: "b",
        pod_dev: "h-b1",
        tunnel_dev: "vxb",
        vni: 200,
    },
];

/// The same for both tenants but for where it entered.
fn udp(src: &str, dst: &str) -> Value {
    json!({"proto": "udp", "src": src, "sport": 5555, "dst": dst, "dport": 7})
}

const PODS: [(&str, &str, &str); 2] = [
    ("udp4", "10.16.0.2", "10.16.0.3"),
    ("udp6", "fd16::2", "fd16::3"),
];

impl Tenant {
    fn flow<'s>(&self, seen: &'s Observed, mut wanted: Value) -> Result<&'s Value> {
        wanted["scope"] = json!({"dev": self.pod_dev, "vni": null,
            "netns": seen.lab.node().inode()});
        expect::flow(&seen.report, &wanted)
    }

    fn outer(&self, src: &str, dst: &str) -> Value {
        json!({"encap": {"kind": "vxlan", "vni": self.vni, "src": src, "dst": dst, "dport": 4789}})
    }

    /// From the pod through its tenant's bridge and tunnel, and through no other.
    fn leaves(&self, flow: &Value, packets: u64) -> Result<()> {
        let (pod, tunnel) = (self.pod_dev, self.tunnel_dev);
        let hops = [&format!("in {pod}"), &format!("out {tunnel}"), "out eth0"];
        expect::is(
            flow,
            &json!({"packets": packets, "left_by": "eth0", "drops": []}),
        )?;
        expect::hops(flow, packets, &hops)?;
        // one outer header for all of them: the tunnel looks its endpoint up once and keeps it
        let underlay = json!({"family": "ipv4", "dev": "eth0", "gateway": null, "errno": 0});
        expect::path(
            flow,
            &[
                expect::hop_with(pod, "in", json!({"encap": null})),
                // a bridge forwards it, no route does
                expect::route(
                    &json!({"bridged": true, "how": "inferred", "table": null, "gateway": null}),
                ),
                expect::hop_with(tunnel, "out", json!({"encap": null})),
                expect::route(&underlay),
                expect::hop_with("eth0", "out", self.outer("10.0.0.1", "10.0.0.2")),
            ],
        )
    }

    fn answered(&self, flow: &Value, packets: u64) -> Result<()> {
        let (pod, tunnel) = (self.pod_dev, self.tunnel_dev);
        let reply = expect::reply(flow)?;
        expect::is(flow, &json!({"outcome": "forwarded"}))?;
        expect::is(
            reply,
            &json!({"packets": packets, "outcome": "forwarded", "left_by": pod, "drops": []}),
        )?;
        let hops = ["in eth0", &format!("in {tunnel}"), &format!("out {pod}")];
        expect::hops(reply, packets, &hops)?;
        let outer = self.outer("10.0.0.2", "10.0.0.1");
        expect::path(reply, &[expect::hop_with("eth0", "in", outer)])
    }
}

#[test]
fn the_same_addresses_are_two_flows_and_one_of_them_is_lost() -> Result<()> {
    let seen = Observed::of("overlapping-vpc:default", &[])?;
    for tenant in &TENANTS {
        for (family, src, dst) in PODS {
            let sent = seen.sent(&format!("{}-{family}", tenant.name))?;
            let flow = tenant.flow(&seen, udp(src, dst))?;
            tenant.leaves(flow, sent.sent)?;
            if tenant.name == "a" {
                tenant.answered(flow, sent.received)?;
            } else {
                // the drop is on the other node: from here nothing comes back
                expect::is(
                    flow,
                    &json!({"outcome": "unanswered", "reply": {"packets": 0, "drops": []}}),
                )?;
            }
        }
    }
    let tcp = json!({"proto": "tcp", "src": "10.16.0.2", "dst": "10.16.0.3", "dport": 8});
    expect::is(
        TENANTS[0].flow(&seen, tcp.clone())?,
        &json!({"outcome": "forwarded", "reply": {"outcome": "forwarded"}}),
    )?;
    let lost = TENANTS[1].flow(&seen, tcp)?;
    expect::is(lost, &json!({"outcome": "unanswered"}))?;
    ensure!(
        lost["retransmits"].as_u64() >= Some(1),
        "no repetition: {lost}"
    );

    let cause = seen.root_cause("tunnel-unanswered")?;
    expect::is(
        cause,
        &json!({"subject": {"dev": "eth0", "address": "10.0.0.2", "flows": 3}}),
    )?;
    let summary = cause["summary"].to_string();
    ensure!(
        summary.contains("VNI 200") && summary.contains("answer in VNI 100"),
        "the tenants are confused: {summary}"
    );
    let overlap = expect::finding(&seen.report, "overlapping-address")?;
    expect::is(overlap, &json!({"severity": "info"}))?;
    seen.code(3)
}

#[test]
fn a_filter_chooses_the_tenant() -> Result<()> {
    for (filter, device, code) in [
        ("dev h-a1 and udp", "h-a1", 0),
        ("dev h-b1 and udp", "h-b1", 3),
    ] {
        let seen = Observed::of("overlapping-vpc:default", &[filter])?;
        let all = expect::flows(&seen.report, &json!({}))?;
        ensure!(
            all.len() == 2 && all.iter().all(|flow| flow["scope"]["dev"] == device),
            "not the flows of {device} alone: {all:?}"
        );
        seen.code(code)?;
    }
    Ok(())
}

#[test]
fn both_tenants_served_are_healthy() -> Result<()> {
    let seen = Observed::of("overlapping-vpc:ok", &[])?;
    for tenant in &TENANTS {
        for (family, src, dst) in PODS {
            let sent = seen.sent(&format!("{}-{family}", tenant.name))?;
            let flow = tenant.flow(&seen, udp(src, dst))?;
            tenant.leaves(flow, sent.sent)?;
            tenant.answered(flow, sent.received)?;
        }
    }
    seen.healthy()
}
