//! Two tenants (VPCs) with the same pod addresses, MAC addresses and ports on the same two nodes, as
//! with Kube-OVN. The same 5-tuple crosses n1 twice at the same time, told apart by the VNI.
//!
//! ```text
//! a1 10.16.0.2 -br-a-vxa(100)- n1 10.0.0.1 == n2 10.0.0.2 -vxa-br-a- a2 10.16.0.3
//! b1 10.16.0.2 -br-b-vxb(200)- n1          == n2          -vxb-br-b- b2 10.16.0.3
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Plan, Tcp, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "overlapping-vpc",
    about: "two tenants with the same addresses, of which one loses everything",
    modes: MODES,
    topology,
    traffic,
};

const MODES: &[Mode] = &[
    Mode {
        name: "default",
        healthy: false,
        describe: "Tenants a (VNI 100) and b (VNI 200) use the same addresses on nodes n1 and n2, \
                   and send the same 5-tuples at the same time. A security group on n2 drops those \
                   of tenant b only.",
        lost: &["b-udp4", "b-udp6", "b-tcp4"],
        either: &[],
    },
    Mode {
        name: "ok",
        healthy: true,
        describe: "Tenants a (VNI 100) and b (VNI 200) use the same addresses on nodes n1 and n2, \
                   and send the same 5-tuples at the same time. All of them are delivered.",
        lost: &[],
        either: &[],
    },
];

const SECURITY_GROUP: &str = r#"
table bridge sg {
  chain sgfwd {
    type filter hook forward priority 0; policy accept;
    oifname "h-b2" udp dport 7 counter drop
    oifname "h-b2" tcp dport 8 counter drop
  }
}"#;

const SPORT: u16 = 5555;

fn topology(mode: &str) -> Topology {
    Topology::new("overlapping-vpc")
        .ns(&["fab", "n1", "n2", "a1", "a2", "b1", "b2"])
        .forwarding(&["n1", "n2"])
        .veth(("n1", "eth0", "02:00:00:00:00:01"), ("fab", "pn1"))
        .veth(("n2", "eth0", "02:00:00:00:00:02"), ("fab", "pn2"))
        .bridge("fab", "br0", &["pn1", "pn2"])
        .addr("n1", "eth0", &["10.0.0.1/24"])
        .addr("n2", "eth0", &["10.0.0.2/24"])
        .for_each(
            [
                ("a", 100, 1, 2),
                ("b", 200, 1, 2),
                ("a", 100, 2, 1),
                ("b", 200, 2, 1),
            ],
            tenant,
        )
        .when(mode != "ok", |lab| lab.nft("n2", SECURITY_GROUP))
        .reach("n1", "10.0.0.2")
}

/// One tenant on node `here`: a pod, a bridge and the tunnel to the other node.
fn tenant(lab: Topology, (name, vni, here, there): (&str, u32, u8, u8)) -> Topology {
    let (node, pod) = (&format!("n{here}"), &format!("{name}{here}"));
    let (bridge, tunnel, host) = (
        &format!("br-{name}"),
        &format!("vx{name}"),
        &format!("h-{name}{here}"),
    );
    let (mac, last) = (format!("02:16:00:00:00:0{here}"), here + 1);
    lab.veth(
        (node.as_str(), host.as_str()),
        (pod.as_str(), "eth0", mac.as_str()),
    )
    .link(
        node,
        &format!(
            "{tunnel} type vxlan id {vni} local 10.0.0.{here} remote 10.0.0.{there} \
                 dstport 4789 dev eth0"
        ),
    )
    .ip(node, &format!("link set {tunnel} mtu 1450"))
    .bridge(node, bridge, &[tunnel, host])
    .ip(pod, "link set eth0 mtu 1450")
    .addr(
        pod,
        "eth0",
        &[&format!("10.16.0.{last}/24"), &format!("fd16::{last}/64")],
    )
}

fn traffic(_mode: &str) -> Plan {
    ["a", "b"].into_iter().fold(Plan::new(), |plan, tenant| {
        let (client, server) = (&format!("{tenant}1"), &format!("{tenant}2"));
        plan.echo(server, "10.16.0.3")
            .echo(server, "fd16::3")
            .flow(
                &format!("{tenant}-udp4"),
                client,
                Udp::to("10.16.0.3:7").sport(SPORT),
            )
            .flow(
                &format!("{tenant}-udp6"),
                client,
                Udp::to("[fd16::3]:7").sport(SPORT),
            )
            .flow(
                &format!("{tenant}-tcp4"),
                client,
                Tcp::to("10.16.0.3:8").bytes(100).sport(SPORT),
            )
    })
}
