//! Configurations that are wrong, or look as if they were, without any traffic that shows it: what
//! `tracer audit` is for. The pods of the node talk to each other and to nobody else.
//!
//! ```text
//! p1 10.244.1.10 \\                   10.0.0.1 eth0 ==br0(fab, 10.0.0.254, and n2 .2, n3 .3)
//!                  n1 ---------------
//! p1b 10.244.1.11 /                   10.1.0.1 eth1 ==br1(fab, 10.1.0.254)
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Plan, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "config",
    about: "wrong configurations that no packet shows",
    modes: MODES,
    topology,
    traffic,
};

const fn mode(name: &'static str, healthy: bool, describe: &'static str) -> Mode {
    Mode {
        name,
        healthy,
        describe,
        lost: &[],
        either: &[],
    }
}

const MODES: &[Mode] = &[
    mode(
        "ok",
        true,
        "Two peers, direct routes to the pods of both. Nothing is wrong.",
    ),
    mode(
        "near",
        true,
        "Unusual and right: two default routes of different metric; a /64 whose peers have an explicit \
         on-link route; rp_filter loose with asymmetric routes; a rule for a pod's address; blackholes \
         for the node's own pods and a tunnel with a reduced MTU for other traffic; a neighbour that \
         failed and that no route needs; a service address on two devices.",
    ),
    mode(
        "tunnelled",
        false,
        "Two peers, routes to their pods through a VXLAN device. Wrong if native routing is meant.",
    ),
    mode(
        "prefix",
        false,
        "n1's address is narrower than the network that the nodes share, and there \
         is no route to other nodes' pods.",
    ),
    mode(
        "norule",
        false,
        "eth1 has its default route in table 6, and no rule leads there.",
    ),
    mode(
        "emptytable",
        false,
        "A rule sends pod p1's packets to table 6, which is empty.",
    ),
    mode(
        "onesubnet",
        false,
        "eth1 has an address of eth0's subnet, and no route of its own.",
    ),
    mode(
        "twodefaults",
        false,
        "Two default routes of one metric by eth0 and eth1.",
    ),
    mode(
        "strict",
        false,
        "Pod p1's packets leave by eth1, and rp_filter is strict on eth0, where other \
         networks reach the node.",
    ),
    mode(
        "gap",
        false,
        "Two peers have IPv4 routes to their pods and only one has an IPv6 route.",
    ),
    mode(
        "shadowed",
        false,
        "Blackholes beat the routes to the pods of n3.",
    ),
    mode(
        "deadhop",
        false,
        "The next hop of n2's pods does not answer ARP and ND.",
    ),
    mode(
        "vtep",
        false,
        "A forwarding entry of the VXLAN device names this node as the endpoint, and \
         one has another VNI.",
    ),
    mode(
        "nofdb",
        false,
        "The next hop on a VXLAN device has a MAC address that no forwarding entry has.",
    ),
    mode(
        "mtu",
        false,
        "A VXLAN device and pods have the MTU of the network under it.",
    ),
    mode("twins", false, "Two pods have one address."),
];

fn topology(mode: &str) -> Topology {
    let (v4, v6) = match mode {
        "prefix" => ("10.0.0.1/28", "fd00::1/68"),
        _ => ("10.0.0.1/24", "fd00::1/64"),
    };
    let lab = Topology::new("config")
        .ns(&["fab", "n1"])
        .forwarding(&["fab", "n1"])
        .veth(("n1", "eth0"), ("fab", "pn1"))
        .veth(("n1", "eth1"), ("fab", "pn1b"))
        .bridge("fab", "br0", &["pn1"])
        .bridge("fab", "br1", &["pn1b"])
        .addr(
            "fab",
            "br0",
            &["10.0.0.14/24", "10.0.0.2/24", "10.0.0.3/24"],
        )
        .addr("fab", "br0", &["fd00::fe/64", "fd00::2/64", "fd00::3/64"])
        .addr("fab", "br1", &["10.1.0.254/24", "fd01::fe/64"])
        .addr("n1", "eth0", &[v4, v6])
        .pod("n1", "p1", "10.244.1.10", Some("fd44:1::10"))
        .pod("n1", "p1b", "10.244.1.11", Some("fd44:1::11"))
        .route("n1", "default via 10.0.0.14 metric 100")
        .route("n1", "default via fd00::fe metric 100");
    let lab = match mode {
        "tunnelled" | "prefix" => lab,
        "gap" => peers(lab).ip("n1", "route del fd44:3::/64 via fd00::3"),
        _ => peers(lab),
    };
    // MAC addresses of gateways are known: nothing is asked for while tracer looks
    special(lab, mode)
        .reach("n1", "10.0.0.2")
        .reach("n1", "fd00::2")
        .reach("p1", "10.244.1.11")
        .reach("p1", "fd44:1::11")
}

/// Direct routes to the pods of n2 and n3.
fn peers(lab: Topology) -> Topology {
    [2, 3].into_iter().fold(lab, |lab, peer| {
        lab.route("n1", &format!("10.244.{peer}.0/24 via 10.0.0.{peer}"))
            .route("n1", &format!("fd44:{peer}::/64 via fd00::{peer}"))
    })
}

fn second_uplink(lab: Topology) -> Topology {
    lab.addr("n1", "eth1", &["10.1.0.1/24", "fd01::1/64"])
}

/// Pod p1's packets leave by eth1, those to other pods of the node excepted, as the AWS CNI does it.
fn by_second_uplink(lab: Topology) -> Topology {
    own_table(lab)
        .rule("n1", "to 10.244.1.0/24 lookup main pref 512")
        .rule("n1", "to fd44:1::/64 lookup main pref 512")
        .rule("n1", "from 10.244.1.10 lookup 6 pref 1536")
        .rule("n1", "from fd44:1::10 lookup 6 pref 1536")
}

/// eth1's default routes in a table of their own.
fn own_table(lab: Topology) -> Topology {
    second_uplink(lab)
        .route("n1", "default via 10.1.0.254 dev eth1 table 6")
        .route("n1", "default via fd01::fe dev eth1 table 6")
}

const PEER_MAC: &str = "02:77:00:00:00:02";

fn overlay(lab: Topology, device: &str) -> Topology {
    lab.link(
        "n1",
        &format!(
            "vxlan9 address 02:77:00:00:00:01 type vxlan id 9 local 10.0.0.1 {device} dstport 8472 \
             nolearning"
        ),
    )
    .ip("n1", "link set vxlan9 up")
    .addr("n1", "vxlan9", &["fe80::77:1/64"])
}

/// A neighbour on the overlay and where its tunnel endpoint is.
fn peer_endpoint(lab: Topology, fdb: &str) -> Topology {
    lab.neigh("n1", "vxlan9", "10.244.2.0", PEER_MAC)
        .neigh("n1", "vxlan9", "fe80::77:2", PEER_MAC)
        .fdb(
            "n1",
            &format!("{PEER_MAC} dev vxlan9 dst {fdb} self permanent"),
        )
}

fn through_overlay(lab: Topology) -> Topology {
    lab.route("n1", "10.244.2.0/24 via 10.244.2.0 dev vxlan9 onlink")
        .route("n1", "fd44:2::/64 via fe80::77:2 dev vxlan9 onlink")
}

fn special(lab: Topology, mode: &str) -> Topology {
    match mode {
        "near" => near(lab),
        "tunnelled" => through_overlay(peer_endpoint(overlay(lab, "dev eth0"), "10.0.0.2")),
        "norule" => own_table(lab),
        "emptytable" => lab
            .rule("n1", "from 10.244.1.10 lookup 6 pref 1536")
            .rule("n1", "from fd44:1::10 lookup 6 pref 1536"),
        "onesubnet" => lab.addr("n1", "eth1", &["10.0.0.21/24", "fd00::21/64"]),
        "twodefaults" => second_uplink(lab)
            .ip(
                "n1",
                "route append default via 10.1.0.254 dev eth1 metric 100",
            )
            // a nexthop object, as otherwise IPv6 makes one multipath route of both
            .ip("n1", "nexthop add id 7 via fd01::fe dev eth1")
            .ip6("n1", "route append default nhid 7 metric 100")
            .sysctl("n1", "net.ipv4.conf.eth1.rp_filter=1"),
        "strict" => by_second_uplink(lab).sysctl("n1", "net.ipv4.conf.eth0.rp_filter=1"),
        "shadowed" => lab
            .ip("n1", "route del 10.244.3.0/24 via 10.0.0.3")
            .ip("n1", "route del fd44:3::/64 via fd00::3")
            .route("n1", "10.244.3.0/24 via 10.0.0.3 metric 50")
            .route("n1", "fd44:3::/64 via fd00::3 metric 50")
            .route("n1", "blackhole 10.244.3.0/24 metric 20")
            .route("n1", "blackhole fd44:3::/64 metric 20"),
        "deadhop" => lab
            .ip("n1", "neigh replace 10.0.0.3 dev eth0 nud failed")
            .ip("n1", "neigh replace fd00::3 dev eth0 nud failed"),
        "vtep" => peer_endpoint(overlay(lab, "dev eth0"), "10.0.0.1").fdb(
            "n1",
            "02:77:00:00:00:03 dev vxlan9 dst 10.0.0.3 vni 10 self permanent",
        ),
        "nofdb" => lab
            .ip("n1", "route del 10.244.2.0/24 via 10.0.0.2")
            .ip("n1", "route del fd44:2::/64 via fd00::2")
            .when(true, |lab| through_overlay(overlay(lab, "dev eth0")))
            .neigh("n1", "vxlan9", "10.244.2.0", PEER_MAC)
            .neigh("n1", "vxlan9", "fe80::77:2", PEER_MAC),
        "mtu" => lab
            .ip("n1", "route del 10.244.2.0/24 via 10.0.0.2")
            .ip("n1", "route del fd44:2::/64 via fd00::2")
            .when(true, |lab| {
                through_overlay(peer_endpoint(overlay(lab, "df set"), "10.0.0.2"))
            })
            .ip("n1", "link set vxlan9 mtu 1500"),
        "twins" => lab
            .pod("n1", "p1c", "10.244.1.12", Some("fd44:1::12"))
            .addr("p1c", "eth0", &["10.244.1.10/32", "fd44:1::10/128"]),
        _ => lab,
    }
}

fn near(lab: Topology) -> Topology {
    by_second_uplink(lab)
        .route("n1", "default via 10.1.0.254 dev eth1 metric 200")
        .route("n1", "default via fd01::fe dev eth1 metric 200")
        .route("n1", "fd00::/59 dev eth0")
        .route("n1", "fd44:4::/64 via fd00:0:0:1::4 dev eth0")
        .route("n1", "10.244.4.0/24 via 10.0.0.2")
        .sysctl("n1", "net.ipv4.conf.eth0.rp_filter=2")
        .sysctl("n1", "net.ipv4.conf.eth1.rp_filter=2")
        .route("n1", "blackhole 10.244.1.0/24 proto 80")
        .route("n1", "blackhole fd44:1::/64 proto 80")
        .when(true, |lab| {
            peer_endpoint(overlay(lab, "dev eth0"), "10.0.0.2")
        })
        .ip("n1", "link set vxlan9 mtu 1450")
        .route("n1", "192.168.0.0/16 via 10.244.2.0 dev vxlan9 onlink")
        .route("n1", "fd77::/48 via fe80::77:2 dev vxlan9 onlink")
        .ip("n1", "neigh replace 10.0.0.77 dev eth0 nud failed")
        .ip("n1", "neigh replace fd00::77 dev eth0 nud failed")
        .addr("p1", "lo", &["10.96.0.10/32"])
        .addr("p1b", "lo", &["10.96.0.10/32"])
}

fn traffic(_mode: &str) -> Plan {
    Plan::new()
        .echo("p1b", "10.244.1.11")
        .echo("p1b", "fd44:1::11")
        .flow("udp4", "p1", Udp::to("10.244.1.11:7"))
        .flow("udp6", "p1", Udp::to("[fd44:1::11]:7"))
}
