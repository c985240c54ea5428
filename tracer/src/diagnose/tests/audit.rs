//! What the configuration alone shows: each case, and a legitimate one that looks like it.

use super::build::{HOME, Lab, ip, prefix};
use crate::{
    diagnose::{AUDITED, Finding, Mode, Node, Severity, audit, rules},
    event::NetnsId,
    inventory::{Neighbour, Netns},
};

type Case = (&'static str, Lab, &'static [&'static str]);

/// A node with two pods, two peers and everything in order.
fn node() -> Lab {
    Lab::new()
        .rule(0, None, 255)
        .rule(32766, None, 254)
        .uplink("eth0", &["10.0.0.1/24", "fd00::1/64"])
        .pod("lxc-p1", &["10.244.1.10", "fd44:0:0:1::10"])
        .pod("lxc-p2", &["10.244.1.11", "fd44:0:0:1::11"])
        .route("default via 10.0.0.254 dev eth0 metric 100")
        .route("default via fd00::fe dev eth0 metric 100")
        .sysctl("ipv4/ip_forward", "1")
        .sysctl("ipv6/conf/all/forwarding", "1")
}

fn with_peers(lab: Lab) -> Lab {
    lab.route("10.244.2.0/24 via 10.0.0.2 dev eth0")
        .route("10.244.3.0/24 via 10.0.0.3 dev eth0")
        .route("fd44:0:0:2::/64 via fd00::2 dev eth0")
        .route("fd44:0:0:3::/64 via fd00::3 dev eth0")
}

fn second(lab: Lab) -> Lab {
    lab.uplink("eth1", &["10.1.0.1/24", "fd01::1/64"])
        .route("default via 10.1.0.254 dev eth1 table 6")
        .route("default via fd01::fe dev eth1 table 6")
}

fn pod_rules(lab: Lab) -> Lab {
    lab.rule(1536, Some("10.244.1.10"), 6)
        .rule(1536, Some("fd44:0:0:1::10"), 6)
}

fn meant(mut lab: Lab, mode: Mode) -> Lab {
    lab.intent.mode = mode;
    lab.intent.pod_cidrs = vec![prefix("10.244.0.0/16", false), prefix("fd44::/48", true)];
    lab
}

fn nodes_in(mut lab: Lab, v4: &str, v6: &str) -> Lab {
    lab.intent.node_cidrs = vec![prefix(v4, false), prefix(v6, true)];
    lab
}

fn listed(mut lab: Lab) -> Lab {
    for (name, n) in [("n1", 1), ("n2", 2), ("n3", 3)] {
        lab.intent.nodes.push(Node {
            name: name.into(),
            addresses: vec![ip(&format!("10.0.0.{n}")), ip(&format!("fd00::{n}"))],
            pod_cidrs: vec![
                prefix(&format!("10.244.{n}.0/24"), false),
                prefix(&format!("fd44:0:0:{n}::/64"), true),
            ],
        });
    }
    lab
}

fn neighbour(mut lab: Lab, address: &str, dev: &str, mac: Option<&str>, state: &str) -> Lab {
    let dev = lab.index(dev);
    lab.home().neighbours.push(Neighbour {
        address: ip(address),
        dev,
        mac: mac.map(Into::into),
        state: state.into(),
    });
    lab
}

fn fdb(lab: Lab, mac: &str, dst: &str, vni: Option<u32>) -> Lab {
    let mut lab = lab.fdb(mac, dst);
    if let Some(entry) = lab.home().fdb.last_mut() {
        entry.vni = vni;
    }
    lab
}

const MAC: &str = "02:77:00:00:00:02";

fn overlay(lab: Lab) -> Lab {
    let lab = lab
        .vxlan("vxlan7", 7)
        .route("10.244.2.0/24 via 10.244.2.0 dev vxlan7");
    neighbour(lab, "10.244.2.0", "vxlan7", Some(MAC), "PERMANENT")
}

/// A second namespace behind a pod's device, with an address on its end.
fn inside(mut lab: Lab, dev: &str, id: u32, address: &str) -> Lab {
    let netns = NetnsId(id);
    let far = Lab::new().dev(
        "eth0",
        crate::inventory::Role::Other,
        crate::inventory::LinkKind::Veth,
        &[address],
    );
    let mut pod: Netns = far.inventory.netns.get(&HOME).cloned().unwrap();
    (pod.id, pod.edge) = (netns, true);
    let far = far.index("eth0");
    lab.inventory.netns.insert(netns, pod);
    let link = lab.link(dev);
    (link.peer, link.peer_netns) = (Some(far), Some(netns));
    lab
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn wrong() -> Vec<Case> {
    let mut all = vec![
        (
            "forwarding off",
            with_peers(node())
                .sysctl("ipv4/ip_forward", "0")
                .sysctl("ipv6/conf/all/forwarding", "0"),
            &["forwarding-disabled", "forwarding-disabled"][..],
        ),
        (
            "no rule for the second device's table",
            second(with_peers(node())),
            &["wrong-egress", "wrong-egress"],
        ),
        (
            "two devices in one subnet",
            with_peers(node()).uplink("eth1", &["10.0.0.21/24"]),
            &["wrong-egress"],
        ),
        (
            "an empty table",
            pod_rules(with_peers(node())),
            &["wrong-egress", "wrong-egress"],
        ),
        (
            "two defaults of one metric, strict",
            with_peers(node())
                .uplink("eth1", &["10.1.0.1/24"])
                .route("default via 10.1.0.254 dev eth1 metric 100")
                .sysctl("ipv4/conf/eth1/rp_filter", "1"),
            &["duplicate-default", "rp-filter"],
        ),
        (
            "strict, and pods answer by another device",
            pod_rules(second(with_peers(node()))).sysctl("ipv4/conf/all/rp_filter", "1"),
            &["rp-filter"],
        ),
        (
            "a tunnel for pods, native meant",
            fdb(overlay(meant(node(), Mode::Native)), MAC, "10.0.0.2", None),
            &["tunnel-in-native-mode"],
        ),
        (
            "direct routes, tunnel meant",
            meant(with_peers(node()), Mode::Tunnel),
            &["native-in-tunnel-mode"],
        ),
        (
            "nodes share more than the address shows",
            nodes_in(node(), "10.0.0.0/20", "fd00::/59"),
            &["onlink-prefix-mismatch", "onlink-prefix-mismatch"],
        ),
        (
            "a listed peer without route",
            listed(with_peers(node()).without_route("10.244.3.0/24")),
            &["no-route"],
        ),
        (
            "a peer without IPv6 route",
            with_peers(node()).without_route("fd44:0:0:3::/64"),
            &["no-route"],
        ),
        (
            "a blackhole that beats a route",
            with_peers(node())
                .route("blackhole 10.244.5.0/24 metric 20")
                .route("10.244.5.0/24 via 10.0.0.3 dev eth0 metric 50"),
            &["blackhole-route"],
        ),
        (
            "a blackhole for another node's pods",
            with_peers(node()).route("blackhole 10.244.9.0/24"),
            &["blackhole-route"],
        ),
        (
            "a blackhole for the peers",
            with_peers(node()).route("blackhole 10.0.0.2"),
            &["blackhole-route"],
        ),
    ];
    all.extend(wrong_neighbours());
    all
}

fn wrong_neighbours() -> Vec<Case> {
    vec![
        (
            "a next hop that failed",
            neighbour(with_peers(node()), "10.0.0.3", "eth0", None, "FAILED"),
            &["neigh-unresolved"],
        ),
        (
            "pods that are called on-link",
            neighbour(
                node().route("10.244.2.0/24 dev eth0"),
                "10.244.2.20",
                "eth0",
                None,
                "FAILED",
            ),
            &["neigh-unresolved"],
        ),
        (
            "no endpoint for the next hop",
            overlay(node()),
            &["fdb-missing"],
        ),
        (
            "the endpoint is this node",
            fdb(overlay(node()), MAC, "10.0.0.1", None),
            &["fdb-inconsistent"],
        ),
        (
            "another VNI",
            fdb(overlay(node()), MAC, "10.0.0.2", Some(8)),
            &["fdb-inconsistent"],
        ),
        (
            "one address in two pods",
            inside(
                inside(with_peers(node()), "lxc-p1", 1, "10.244.1.10/32"),
                "lxc-p2",
                2,
                "10.244.1.10/32",
            ),
            &["overlapping-address"],
        ),
        (
            "a pod with the node's address",
            inside(with_peers(node()), "lxc-p1", 1, "10.0.0.1/32"),
            &["overlapping-address"],
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn right() -> Vec<(&'static str, Lab)> {
    vec![
        ("peers", with_peers(node())),
        (
            "peers, native meant",
            meant(with_peers(node()), Mode::Native),
        ),
        ("listed peers", listed(with_peers(node()))),
        ("routers that know the pods", listed(node())),
        (
            "pods of both families over an underlay of one",
            Lab::new()
                .rule(0, None, 255)
                .rule(32766, None, 254)
                .uplink("eth0", &["10.0.0.1/24"])
                .pod("lxc-p1", &["10.244.1.10", "fd44:0:0:1::10"])
                .route("10.244.2.0/24 via 10.0.0.2 dev eth0"),
        ),
        (
            "a host without pods does not forward",
            Lab::new()
                .rule(0, None, 255)
                .rule(32766, None, 254)
                .uplink("eth0", &["10.0.0.1/24"])
                .sysctl("ipv4/ip_forward", "0"),
        ),
        (
            "a standby default",
            with_peers(node())
                .uplink("eth1", &["10.1.0.1/24"])
                .route("default via 10.1.0.254 dev eth1 metric 200"),
        ),
        ("a rule for a pod", pod_rules(second(with_peers(node())))),
        (
            "asymmetric and loose",
            pod_rules(second(with_peers(node()))).sysctl("ipv4/conf/all/rp_filter", "2"),
        ),
        (
            "strict with a standby",
            with_peers(node())
                .uplink("eth1", &["10.1.0.1/24"])
                .route("default via 10.1.0.254 dev eth1 metric 200")
                .sysctl("ipv4/conf/all/rp_filter", "1"),
        ),
        (
            "a storage network",
            with_peers(node())
                .uplink("eth1", &["10.1.0.1/24"])
                .sysctl("ipv4/conf/all/rp_filter", "1"),
        ),
        (
            "an explicit on-link route",
            nodes_in(node(), "10.0.0.0/20", "fd00::/59")
                .route("10.0.0.0/20 dev eth0")
                .route("fd00::/59 dev eth0"),
        ),
        (
            "pods with addresses of the provider's network",
            nodes_in(node(), "10.0.0.0/8", "fd00::/8"),
        ),
        (
            "a host address behind a router",
            nodes_in(
                Lab::new()
                    .rule(0, None, 255)
                    .rule(32766, None, 254)
                    .uplink("eth0", &["10.0.0.1/32"])
                    .pod("lxc-p1", &["10.244.1.10"])
                    .route("default via 10.0.0.254 dev eth0"),
                "10.0.0.0/20",
                "fd00::/48",
            ),
        ),
        (
            "a routed fabric",
            nodes_in(with_peers(node()), "10.0.0.0/8", "fd00::/48"),
        ),
        (
            "a tunnel for other traffic, native meant",
            fdb(
                overlay(meant(with_peers(node()), Mode::Native))
                    .without_route("10.244.2.0/24 dev vxlan7"),
                MAC,
                "10.0.0.2",
                None,
            )
            .route("192.168.0.0/16 via 10.244.2.0 dev vxlan7"),
        ),
        (
            "a tunnel",
            fdb(overlay(meant(node(), Mode::Tunnel)), MAC, "10.0.0.2", None),
        ),
        (
            "a tunnel that floods",
            fdb(overlay(node()), "00:00:00:00:00:00", "10.0.0.2", None),
        ),
        (
            "a blackhole for the own pods",
            with_peers(node()).route("blackhole 10.244.1.0/24"),
        ),
        (
            "a block of Calico without pods",
            with_peers(node()).route("blackhole 10.244.77.64/26 proto 80"),
        ),
        (
            "an aggregate of the cluster",
            with_peers(node()).route("blackhole 10.244.0.0/16"),
        ),
        (
            "a neighbour that nobody needs",
            neighbour(with_peers(node()), "10.0.0.77", "eth0", None, "FAILED"),
        ),
        (
            "tenants behind Open vSwitch",
            on_ovs(inside(
                inside(with_peers(node()), "lxc-p1", 1, "10.244.1.10/32"),
                "lxc-p2",
                2,
                "10.244.1.10/32",
            )),
        ),
        (
            "tenants on bridges of their own",
            on_bridges(inside(
                inside(with_peers(node()), "lxc-p1", 1, "10.244.1.10/32"),
                "lxc-p2",
                2,
                "10.244.1.10/32",
            )),
        ),
    ]
}

fn on_ovs(mut lab: Lab) -> Lab {
    let kind = crate::inventory::LinkKind::Other("openvswitch".into());
    lab = lab.dev("ovs-system", crate::inventory::Role::Other, kind, &[]);
    let master = lab.index("ovs-system");
    for port in ["lxc-p1", "lxc-p2"] {
        lab.link(port).master = Some(master);
    }
    lab
}

fn on_bridges(mut lab: Lab) -> Lab {
    for (bridge, port) in [("br-a", "lxc-p1"), ("br-b", "lxc-p2")] {
        lab = lab.dev(
            bridge,
            crate::inventory::Role::Bridge,
            crate::inventory::LinkKind::Bridge,
            &[],
        );
        let master = lab.index(bridge);
        lab.link(port).master = Some(master);
    }
    lab
}

fn found(lab: &Lab) -> Vec<Finding> {
    audit(&lab.inventory, &lab.intent)
}

fn ids(lab: &Lab) -> Vec<&'static str> {
    found(lab).iter().map(|f| f.id).collect()
}

#[test]
fn each_wrong_configuration_gives_exactly_its_findings() {
    for (name, lab, expected) in wrong() {
        assert_eq!(ids(&lab), expected, "{name}: {:#?}", found(&lab));
    }
}

#[test]
fn legitimate_configurations_give_none() {
    for (name, lab) in right() {
        assert_eq!(ids(&lab), [""; 0], "{name}: {:#?}", found(&lab));
    }
}

#[test]
fn audited_ids_are_rules() {
    for id in AUDITED {
        assert!(rules().any(|r| r.id == *id), "{id}");
    }
    for (name, lab, _) in wrong() {
        for id in ids(&lab) {
            assert!(AUDITED.contains(&id), "{name}: {id}");
        }
    }
}

#[test]
fn findings_of_an_audit_are_complete() {
    for (name, lab, _) in wrong() {
        for f in found(&lab) {
            assert!(f.summary.ends_with('.'), "{name}: {}", f.summary);
            let double = f.summary.contains("  ") || f.next.contains("  ");
            assert!(!double, "{name}: {f:#?}");
            assert!(!f.evidence.is_empty() && !f.next.is_empty(), "{name}");
            assert!(f.subject.flows.is_empty(), "{name}");
            let named = f.subject.dev.is_some() || f.subject.address.is_some();
            assert!(named, "{name}: {f:#?}");
        }
    }
}

#[test]
fn commands_are_literal() {
    for (lab, part) in [
        (
            second(with_peers(node())),
            "ip rule add from 10.1.0.1 lookup 6",
        ),
        (
            with_peers(node()).uplink("eth1", &["10.0.0.21/24"]),
            "ip route add default via 10.0.0.254 dev eth1 table 100; ip rule add from 10.0.0.21 lookup 100",
        ),
        (
            nodes_in(node(), "10.0.0.0/20", "fd00::/64"),
            "ip route add 10.0.0.0/20 dev eth0",
        ),
        (
            listed(with_peers(node()).without_route("10.244.3.0/24")),
            "ip route add 10.244.3.0/24 via 10.0.0.3 dev eth0",
        ),
        (
            overlay(node()),
            "bridge fdb append 02:77:00:00:00:02 dev vxlan7 dst",
        ),
    ] {
        let all = found(&lab);
        assert!(all[0].next.contains(part), "{part:?} in {all:#?}");
    }
}

#[test]
fn what_only_packets_can_confirm_is_a_warning() {
    let of = |lab: Lab| found(&lab)[0].severity;
    assert_eq!(of(second(with_peers(node()))), Severity::Warning);
    let off = with_peers(node()).sysctl("ipv4/ip_forward", "0");
    assert_eq!(of(off), Severity::Error);
}
