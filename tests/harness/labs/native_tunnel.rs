//! Native (direct) routing is intended, but pod traffic leaves by the VXLAN device: both the direct
//! route and the tunnel route for the peer's `PodCIDR` exist, and the tunnel's has the better metric.
//!
//! ```text
//! p1 10.244.1.10 -- n1 10.0.0.1 ==br0(fab)== n2 10.0.0.2 -- p2 10.244.2.20
//!                      vxlan7 (VNI 7, UDP 8472)
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Plan, Tcp, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "native-tunnel",
    about: "native routing is intended, but pod traffic is encapsulated",
    modes: MODES,
    topology,
    traffic,
};

const MODES: &[Mode] = &[
    Mode {
        name: "tunnel",
        healthy: false,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2. Native routing by eth0 is intended, \
                   but on n1 a route by vxlan7 has the better metric, so requests are encapsulated \
                   while replies come back natively.",
        lost: &[],
        either: &[],
    },
    Mode {
        name: "md",
        healthy: false,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2. Native routing by eth0 is intended, \
                   but on n1 a route with `encap ip` sends requests through a VXLAN device that takes \
                   its tunnel key from each packet.",
        lost: &[],
        either: &[],
    },
    Mode {
        name: "both",
        healthy: true,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2 through a VXLAN tunnel in both \
                   directions. Nothing is broken unless native routing is what was meant.",
        lost: &[],
        either: &[],
    },
    Mode {
        name: "native",
        healthy: true,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2 by eth0, natively routed. Nothing is \
                   broken.",
        lost: &[],
        either: &[],
    },
];

fn topology(mode: &str) -> Topology {
    let metadata = mode == "md";
    Topology::new("native-tunnel")
        .ns(&["fab", "n1", "n2"])
        .forwarding(&["n1", "n2"])
        .veth(("n1", "eth0", "02:00:00:00:00:01"), ("fab", "pn1"))
        .veth(("n2", "eth0", "02:00:00:00:00:02"), ("fab", "pn2"))
        .bridge("fab", "br0", &["pn1", "pn2"])
        .addr("n1", "eth0", &["10.0.0.1/24", "fd00::1/64"])
        .addr("n2", "eth0", &["10.0.0.2/24", "fd00::2/64"])
        .pod("n1", "p1", "10.244.1.10", Some("fd44:1::10"))
        .pod("n2", "p2", "10.244.2.20", Some("fd44:2::20"))
        .for_each([(1, 2, metadata), (2, 1, metadata)], node)
        .when(mode == "tunnel", |lab| tunnel_route(lab, 1, 2))
        .when(mode == "both", |lab| {
            tunnel_route(tunnel_route(lab, 1, 2), 2, 1)
        })
        .when(metadata, |lab| metadata_route(lab, 1, 2))
        .reach("n1", "10.0.0.2")
        .reach("n1", "fd00::2")
}

/// The tunnel device of node `a`, and its direct routes to node `b`.
fn node(lab: Topology, (a, b, metadata): (u8, u8, bool)) -> Topology {
    let ns = &format!("n{a}");
    let kind = if metadata {
        "external".to_owned()
    } else {
        format!("id 7 nolearning local 10.0.0.{a} dev eth0")
    };
    let peer = &format!("02:77:00:00:00:0{b}");
    lab.link(
        ns,
        &format!("vxlan7 address 02:77:00:00:00:0{a} type vxlan {kind} dstport 8472"),
    )
    .ip(ns, "link set vxlan7 mtu 1450 up")
    .addr(
        ns,
        "vxlan7",
        &[&format!("10.244.{a}.0/32"), &format!("fe80::77:{a}/64")],
    )
    .route(
        ns,
        &format!("10.244.{b}.0/24 via 10.0.0.{b} dev eth0 metric 100"),
    )
    .route(
        ns,
        &format!("fd44:{b}::/64 via fd00::{b} dev eth0 metric 1024"),
    )
    .neigh(ns, "vxlan7", &format!("10.244.{b}.0"), peer)
    .neigh(ns, "vxlan7", &format!("fe80::77:{b}"), peer)
    .when(!metadata, |lab| {
        lab.fdb(
            ns,
            &format!("{peer} dev vxlan7 dst 10.0.0.{b} self permanent"),
        )
    })
}

fn tunnel_route(lab: Topology, a: u8, b: u8) -> Topology {
    let ns = &format!("n{a}");
    lab.route(
        ns,
        &format!("10.244.{b}.0/24 via 10.244.{b}.0 dev vxlan7 onlink metric 10"),
    )
    .route(
        ns,
        &format!("fd44:{b}::/64 via fe80::77:{b} dev vxlan7 onlink metric 10"),
    )
}

fn metadata_route(lab: Topology, a: u8, b: u8) -> Topology {
    let ns = &format!("n{a}");
    let encap = format!("encap ip id 7 dst 10.0.0.{b} ttl 64");
    lab.route(
        ns,
        &format!("10.244.{b}.0/24 {encap} via 10.244.{b}.0 dev vxlan7 onlink metric 10"),
    )
    .route(
        ns,
        &format!("fd44:{b}::/64 {encap} via fe80::77:{b} dev vxlan7 onlink metric 10"),
    )
}

fn traffic(_mode: &str) -> Plan {
    Plan::new()
        .echo("p2", "10.244.2.20")
        .echo("p2", "fd44:2::20")
        .flow("udp4", "p1", Udp::to("10.244.2.20:7"))
        .flow("udp6", "p1", Udp::to("[fd44:2::20]:7"))
        .flow("tcp4", "p1", Tcp::to("10.244.2.20:8").bytes(50_000))
}
