//! Nodes in trouble and their healthy neighbours, with the findings that each must give.

use super::build::{Ended, Lab, ended, prefix, seen};
use crate::{
    diagnose::{Mode, Source},
    inventory::Role,
};

/// A name, a node, and the ids it must give in this order: the root cause first.
pub(super) type Fixture = (&'static str, Lab, &'static [&'static str]);

/// Two nodes' pods in dual stack with direct routes.
pub(super) fn native() -> Lab {
    Lab::new()
        .uplink("eth0", &["10.0.0.1/24", "fd00::1/64"])
        .pod("lxc-p1", &["10.244.1.10", "fd44:0:0:1::10"])
        .route("10.244.2.0/24 via 10.0.0.2 dev eth0 metric 100")
        .route("fd44:0:0:2::/64 via fd00::2 dev eth0 metric 1024")
}

/// The same through a tunnel.
pub(super) fn overlay() -> Lab {
    Lab::new()
        .uplink("eth0", &["10.0.0.1/24"])
        .pod("lxc-p1", &["10.244.1.10"])
        .vxlan("vxlan7", 7)
        .route("10.244.2.0/24 via 10.244.2.0 dev vxlan7")
}

const INTO: &str = "lxc-p1 > 10.244.2.0/24 via 10.244.2.0 dev vxlan7 > vxlan7 > \
                    10.0.0.0/24 dev eth0 > eth0[vxlan 7 10.0.0.1 10.0.0.2]";
const OUT_OF: &str = "eth0[vxlan 7 10.0.0.2 10.0.0.1] > vxlan7 > 10.244.1.10 dev lxc-p1 > lxc-p1";
const UDP: &str = "udp 10.244.1.10:40000 10.244.2.20:7";
const TCP: &str = "tcp 10.244.1.10:40000 10.244.2.20:8";
const PLAIN: &str = "lxc-p1 > 10.244.2.0/24 via 10.0.0.2 dev eth0 > eth0";
const BACK: &str = "eth0 > 10.244.1.10 dev lxc-p1 > lxc-p1";

pub(super) fn with_mode(mut lab: Lab, mode: Mode) -> Lab {
    (lab.intent.mode, lab.intent.source) = (mode, Source::Flag);
    lab.intent.pod_cidrs = vec![prefix("10.244.0.0/16", false)];
    lab
}

/// Both routes for the peer's pods, the tunnel's with the better metric.
pub(super) fn contested() -> Lab {
    native()
        .vxlan("vxlan7", 7)
        .route("10.244.2.0/24 via 10.244.2.0 dev vxlan7 metric 10")
}

/// Two ENIs in one subnet; the pod's address belongs to the second.
pub(super) fn two_enis() -> Lab {
    Lab::new()
        .uplink("ens5", &["10.0.0.5/24", "fd00::5/64"])
        .uplink("ens6", &["10.0.0.6/24", "fd00::6/64"])
        .pod("lxc-p1", &["10.0.0.66", "fd00::66"])
        .route("default via fd00::1 dev ens5 metric 100")
}

pub(super) fn rivals() -> Lab {
    two_enis()
        .route("default via 10.0.0.1 dev ens5 metric 100")
        .route("default via 10.0.0.1 dev ens6 metric 100")
}

const IN6: &str = "ens6 > 10.0.0.66 dev lxc-p1 > lxc-p1";
const OUT5: &str = "lxc-p1 > default via 10.0.0.1 dev ens5 > ens5";

/// An IPv6 node whose uplink has a prefix of this length.
pub(super) fn ipv6_node(address: &str, default: bool) -> Lab {
    let lab = Lab::new()
        .uplink("eth0", &[address])
        .pod("lxc-p1", &["2001:db8:44:1::10"])
        .route("fe80::/64 dev eth0 proto 2");
    if default {
        lab.route("default via fe80::1 dev eth0 metric 1024")
    } else {
        lab
    }
}

const UDP6: &str = "udp [2001:db8:44:1::10]:40000 [2001:db8:44:2::20]:7";
const BY_DEFAULT6: &str = "lxc-p1 > default via fe80::1 dev eth0 > eth0";

pub(super) fn all() -> Vec<Fixture> {
    let mut all = incidents();
    all.extend(single_drops());
    all.extend(healthy());
    all
}

fn stuck(path: &'static str) -> super::build::Seen {
    seen("tcp 10.9.0.9:5000 10.0.0.66:8")
        .sent(4, IN6)
        .answered(4, path)
        .flags(0x02, 0x12)
}

/// The sender learns the tunnel's MTU from this node, at the second `last` for the last time, and
/// goes on with packets that fit.
fn refused_then_repeated(last: u64) -> super::build::Seen {
    seen(TCP)
        .sent(22, INTO)
        .answered(5, OUT_OF)
        .retransmits(10)
        .size(1450)
        .icmp("10.0.0.1", (3, 4), Some(1450), true)
        .drop(Ended {
            route_dev: "vxlan7",
            mtu: 1450,
            max_len: 1500,
            last,
            ..ended("PKT_TOO_BIG@ip_forward", "lxc-p1", 10)
        })
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn incidents() -> Vec<Fixture> {
    let no_route6 = Ended {
        errno: 101,
        ..ended("IP_INNOROUTES@ip6_pkt_discard", "lxc-p1", 3)
    };
    vec![
        (
            "tunnel and direct route, intent unknown",
            contested().with(seen(UDP).sent(3, INTO).answered(3, BACK)),
            &["tunnel-in-native-mode"],
        ),
        (
            "tunnel and direct route, native meant",
            with_mode(contested(), Mode::Native).with(seen(UDP).sent(3, INTO).answered(3, BACK)),
            &["tunnel-in-native-mode"],
        ),
        (
            "native though tunnel meant",
            with_mode(native(), Mode::Tunnel).with(seen(UDP).sent(3, PLAIN).answered(3, BACK)),
            &["native-in-tunnel-mode"],
        ),
        ("duplicate default, quiet", rivals(), &["duplicate-default"]),
        (
            "duplicate default, source check beyond",
            rivals().with(stuck(OUT5)),
            &["duplicate-default", "wrong-egress"],
        ),
        (
            "one IPv6 default, the other device's address",
            two_enis().with(
                seen("udp [fd09::9]:5000 [fd00::66]:7")
                    .sent(3, "ens6 > fd00::66 dev lxc-p1 > lxc-p1")
                    .answered(3, "lxc-p1 > default via fd00::1 dev ens5 > ens5"),
            ),
            &["wrong-egress"],
        ),
        (
            "duplicate default, rp_filter",
            rivals().sysctl("ipv4/conf/ens6/rp_filter", "1").with(
                seen("udp 10.9.0.9:5000 10.0.0.66:7")
                    .sent(3, "ens6")
                    .drop(ended("IP_RPFILTER@ip_rcv_finish_core", "ens6", 3)),
            ),
            &["duplicate-default", "rp-filter"],
        ),
        (
            "multipath default, part of the flows lost",
            two_enis()
                .route("default nexthop via 10.0.0.1 dev ens5 nexthop via 10.0.0.1 dev ens6")
                .with(stuck(OUT5)),
            &["wrong-egress"],
        ),
        (
            "IPv6 prefix too long, default route",
            ipv6_node("2001:db8:0:a0::1/64", true).with(seen(UDP6).sent(3, BY_DEFAULT6)),
            &["onlink-prefix-mismatch"],
        ),
        (
            "IPv6 prefix too long, the router complains",
            ipv6_node("2001:db8:0:a0::1/64", true).with(seen(UDP6).sent(1, BY_DEFAULT6).icmp(
                "2001:db8:0:bf::1",
                (1, 0),
                None,
                false,
            )),
            &["onlink-prefix-mismatch"],
        ),
        (
            "IPv6 prefix too long, no default route",
            ipv6_node("2001:db8:0:a0::1/64", false)
                .with(seen(UDP6).sent(3, "lxc-p1").drop(no_route6)),
            &["onlink-prefix-mismatch", "no-route"],
        ),
        (
            "IPv6 prefix too long, pods and nodes in one /48",
            Lab::new()
                .uplink("eth0", &["2001:db8:0:a0::1/64"])
                .pod("lxc-p1", &["2001:db8:0:101::10"])
                .route("default via fe80::1 dev eth0 metric 1024")
                .with(
                    seen("tcp [2001:db8:0:101::10]:4000 [2001:db8:0:102::20]:8")
                        .sent(3, BY_DEFAULT6),
                ),
            &["onlink-prefix-mismatch"],
        ),
        (
            "the peer node itself cannot be reached",
            ipv6_node("2001:db8:0:a0::1/64", false)
                .with(seen("tcp :: [2001:db8:0:a1::1]:22").failed(101, 2)),
            &["onlink-prefix-mismatch", "no-route"],
        ),
        (
            "two tenants, one address",
            Lab::new()
                .uplink("eth0", &["10.0.0.1/24"])
                .dev("h-a1", Role::Pod, crate::inventory::LinkKind::Veth, &[])
                .dev("h-b1", Role::Pod, crate::inventory::LinkKind::Veth, &[])
                .with(
                    seen("udp 10.16.0.2:5555 10.16.0.3:7")
                        .sent(3, "h-a1 > dev eth0 > eth0[vxlan 100 10.0.0.1 10.0.0.2]")
                        .answered(3, "eth0[vxlan 100 10.0.0.2 10.0.0.1] > dev h-a1 > h-a1"),
                )
                .with(
                    seen("udp 10.16.0.2:5555 10.16.0.3:7")
                        .sent(3, "h-b1 > dev eth0 > eth0[vxlan 200 10.0.0.1 10.0.0.2]")
                        .drop(ended("NETFILTER_DROP@nft_do_chain", "h-b1", 1))
                        .answered(3, "eth0[vxlan 200 10.0.0.2 10.0.0.1] > dev h-b1 > h-b1"),
                ),
            &["policy-drop", "overlapping-address"],
        ),
        (
            "pods too large for the tunnel, the error does not reach them",
            overlay().with(
                seen(TCP)
                    .sent(9, INTO)
                    .answered(2, OUT_OF)
                    .retransmits(5)
                    .icmp("10.0.0.1", (3, 4), Some(1450), true)
                    .drop(Ended {
                        route_dev: "vxlan7",
                        mtu: 1450,
                        max_len: 1500,
                        last: 4,
                        ..ended("PKT_TOO_BIG@ip_forward", "lxc-p1", 6)
                    }),
            ),
            &["encap-mtu"],
        ),
        (
            "outer packet too large",
            overlay()
                .mtu("vxlan7", 1500)
                .with(seen(UDP).sent(2, INTO).size(1468).drop(Ended {
                    route_dev: "eth0",
                    mtu: 1500,
                    max_len: 1518,
                    encap: "vxlan 7 10.0.0.1 10.0.0.2",
                    ..ended("NOT_SPECIFIED@ip_fragment", "eth0", 2)
                })),
            &["encap-mtu"],
        ),
        (
            "large packets vanish beyond the node",
            overlay().with(
                seen(TCP)
                    .sent(12, INTO)
                    .answered(3, OUT_OF)
                    .retransmits(5)
                    .size(1450),
            ),
            &["encap-mtu"],
        ),
        (
            "large packets vanish beyond the node after larger ones were refused here",
            overlay().with(refused_then_repeated(1).answers_end(2)),
            &["encap-mtu"],
        ),
        (
            "large packets vanish beyond the node, no answer since larger ones were refused here",
            overlay().with(refused_then_repeated(2).answers_end(1)),
            &["encap-mtu"],
        ),
        (
            "large packets vanish beyond the node, few repeats of many segments each",
            overlay().with(
                seen(TCP)
                    .sent(19, INTO)
                    .answered(3, OUT_OF)
                    .retransmits(4)
                    .size(1450)
                    .answers_end(1),
            ),
            &["encap-mtu"],
        ),
        (
            "tunnel blocked, TCP",
            overlay()
                .with(seen(TCP).sent(4, INTO))
                .with(seen(UDP).sent(3, INTO)),
            &["tunnel-unanswered"],
        ),
        (
            "tunnel blocked, and a packet that was too large for it",
            overlay().with(seen(TCP).sent(4, INTO)).with(
                seen(UDP).sent(1, "lxc-p1").size(1468).drop(Ended {
                    route_dev: "vxlan7",
                    mtu: 1450,
                    max_len: 1468,
                    ..ended("PKT_TOO_BIG@ip_forward", "lxc-p1", 1)
                }),
            ),
            &["tunnel-unanswered", "encap-mtu"],
        ),
        (
            "a tunnel endpoint that is this node",
            overlay()
                .fdb("02:77:00:00:00:02", "10.0.0.1")
                .fdb("02:77:00:00:00:03", "10.0.0.3"),
            &["fdb-inconsistent"],
        ),
        (
            "VNI without a device",
            overlay().with(
                seen("udp 10.244.2.20:5000 10.244.1.10:7")
                    .sent(3, "eth0[vxlan 9 10.0.0.2 10.0.0.1]"),
            ),
            &["tunnel-unanswered"],
        ),
        (
            "underlay firewall on this node",
            overlay().with(
                seen("udp 10.244.2.20:5000 10.244.1.10:7")
                    .sent(3, "eth0[vxlan 7 10.0.0.2 10.0.0.1]")
                    .drop(Ended {
                        encap: "vxlan 7 10.0.0.2 10.0.0.1",
                        ..ended("NETFILTER_DROP@nft_do_chain", "eth0", 3)
                    }),
            ),
            &["policy-drop"],
        ),
        (
            "SYNs leave and nothing comes back",
            native().with(seen(TCP).sent(4, PLAIN).retransmits(3)),
            &["left-unanswered"],
        ),
        (
            "datagrams leave and nothing comes back",
            native().with(seen(UDP).sent(3, PLAIN)),
            &["left-unanswered"],
        ),
    ]
}

fn one(path: &'static str, drop: Ended) -> Lab {
    native().with(seen(UDP).sent(3, path).drop(drop))
}

/// An IPv6 flow of the dual-stack node.
fn one6(drop: Ended) -> Lab {
    native().with(
        seen("udp [fd44:0:0:1::10]:4000 [fd44:0:0:2::20]:7")
            .sent(3, "lxc-p1")
            .drop(drop),
    )
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn single_drops() -> Vec<Fixture> {
    let in_pod = "eth0 > 10.244.1.10 dev lxc-p1 > lxc-p1";
    let to_pod = seen("udp 10.9.0.9:5000 10.244.1.10:7").sent(3, in_pod);
    let errno = |place, errno| Ended {
        errno,
        ..ended(place, "lxc-p1", 3)
    };
    let neigh = |place| Ended {
        route_dev: "eth0",
        ..ended(place, "eth0", 3)
    };
    vec![
        (
            "v4 no route",
            one("lxc-p1", errno("IP_INNOROUTES@ip_error", 101)),
            &["no-route"],
        ),
        (
            "v4 no route, 5.10",
            one("lxc-p1", errno("NOT_SPECIFIED@ip_error", 101)),
            &["no-route"],
        ),
        (
            "v6 no route, 5.10",
            one6(errno("NOT_SPECIFIED@ip6_pkt_drop", 101)),
            &["no-route"],
        ),
        (
            "v4 blackhole",
            one("lxc-p1", errno("NOT_SPECIFIED@ip_error", 22)),
            &["blackhole-route"],
        ),
        (
            "v6 blackhole",
            one6(errno("NOT_SPECIFIED@dst_discard_out", 22)),
            &["blackhole-route"],
        ),
        (
            "v6 prohibit",
            one6(errno("IP_INNOROUTES@ip6_pkt_prohibit", 13)),
            &["blackhole-route"],
        ),
        (
            "v6 unreachable",
            one6(errno("IP_INNOROUTES@ip6_pkt_discard", 113)),
            &["blackhole-route"],
        ),
        (
            "forwarding off",
            one("lxc-p1", errno("IP_INADDRERRORS@ip_error", 113)).sysctl("ipv4/ip_forward", "0"),
            &["forwarding-disabled"],
        ),
        (
            "forwarding off, 5.10",
            one("lxc-p1", errno("NOT_SPECIFIED@ip_error", 113)).sysctl("ipv4/ip_forward", "0"),
            &["forwarding-disabled"],
        ),
        (
            "forwarding off, v6",
            one6(ended("IP_INADDRERRORS@ip6_forward", "lxc-p1", 3))
                .sysctl("ipv6/conf/all/forwarding", "0"),
            &["forwarding-disabled"],
        ),
        (
            "TTL",
            one("lxc-p1", ended("IP_INHDR@ip_forward", "lxc-p1", 3)),
            &["hop-limit"],
        ),
        (
            "hop limit",
            one6(ended("IP_INHDR@ip6_forward", "lxc-p1", 3)),
            &["hop-limit"],
        ),
        (
            "ARP",
            one(PLAIN, neigh("NEIGH_FAILED@neigh_invalidate")).neigh_failure("10.0.0.2", "eth0", 0),
            &["neigh-unresolved"],
        ),
        (
            "ND",
            one6(neigh("NOT_SPECIFIED@neigh_invalidate")),
            &["neigh-unresolved"],
        ),
        (
            "pods on-link",
            Lab::new()
                .uplink("eth0", &["10.0.0.1/24"])
                .pod("lxc-p1", &["10.244.1.10"])
                .route("10.244.2.0/24 dev eth0")
                .neigh_failure("10.244.2.20", "eth0", 2),
            &["neigh-unresolved"],
        ),
        (
            "no forwarding entry",
            overlay().with(
                seen(UDP)
                    .sent(
                        3,
                        "lxc-p1 > 10.244.2.0/24 via 10.244.2.0 dev vxlan7 > vxlan7",
                    )
                    .drop(ended("NO_TX_TARGET@vxlan_xmit", "vxlan7", 3)),
            ),
            &["fdb-missing"],
        ),
        (
            "tc",
            one(
                "lxc-p1",
                ended("TC_INGRESS@__netif_receive_skb_core", "lxc-p1", 3),
            ),
            &["policy-drop"],
        ),
        (
            "XDP",
            one(
                "lxc-p1",
                ended("NOT_SPECIFIED@veth_xdp_rcv_skb", "lxc-p1", 3),
            ),
            &["policy-drop"],
        ),
        (
            "nobody listens",
            native().with(
                to_pod
                    .clone()
                    .drop(ended("NO_SOCKET@udp_unicast_rcv_skb", "lxc-p1", 3)),
            ),
            &["no-listener"],
        ),
        (
            "nobody listens, 5.10",
            native().with(
                to_pod
                    .clone()
                    .icmp("10.244.1.10", (3, 3), None, false)
                    .drop(ended("NOT_SPECIFIED@__udp4_lib_rcv", "lxc-p1", 3)),
            ),
            &["no-listener"],
        ),
        (
            "buffer full, 5.10",
            native().with(to_pod.clone().drop(ended(
                "NOT_SPECIFIED@udp_queue_rcv_one_skb",
                "lxc-p1",
                2,
            ))),
            &["rcvbuf-full"],
        ),
        (
            "buffer full",
            native().with(to_pod.clone().drop(ended(
                "SOCKET_RCVBUFF@udp_queue_rcv_one_skb",
                "lxc-p1",
                2,
            ))),
            &["rcvbuf-full"],
        ),
        (
            "checksum",
            native().with(to_pod.drop(ended("UDP_CSUM@udp_queue_rcv_one_skb", "lxc-p1", 2))),
            &["csum"],
        ),
        (
            "refused with a reset, 5.10",
            native().with(
                seen("tcp 10.9.0.9:5000 10.244.1.10:8")
                    .sent(1, in_pod)
                    .answered(1, "lxc-p1 > default dev eth0 > eth0")
                    .flags(0x02, 0x14),
            ),
            &["no-listener"],
        ),
        (
            "own address from outside",
            native().with(
                seen("udp 10.0.0.1:5000 10.244.1.10:7")
                    .sent(3, "eth0")
                    .drop(ended("IP_LOCAL_SOURCE@ip_rcv_finish_core", "eth0", 3)),
            ),
            &["martian-source"],
        ),
        (
            "own address from outside, 5.10",
            native().with(
                seen("udp 10.0.0.1:5000 10.244.1.10:7")
                    .sent(3, "eth0")
                    .drop(ended("NOT_SPECIFIED@ip_rcv_finish_core", "eth0", 3)),
            ),
            &["martian-source"],
        ),
        (
            "rp_filter, 5.10",
            native().sysctl("ipv4/conf/all/rp_filter", "1").with(
                seen("udp 10.244.2.20:5000 10.244.1.10:7")
                    .sent(3, "lxc-p1")
                    .drop(ended("NOT_SPECIFIED@ip_rcv_finish_core", "lxc-p1", 3)),
            ),
            &["rp-filter"],
        ),
    ]
}

/// Legitimate neighbours of the fixtures above: nothing may fire.
fn healthy() -> Vec<Fixture> {
    let mut all: Vec<(&'static str, Lab)> = healthy_routes();
    all.extend(healthy_traffic());
    all.extend(healthy_ends());
    all.into_iter()
        .map(|(name, lab)| (name, lab, &[][..]))
        .collect()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn healthy_routes() -> Vec<(&'static str, Lab)> {
    let two_tor = Lab::new()
        .uplink("eth0", &["192.0.2.1/31"])
        .uplink("eth1", &["192.0.2.3/31"])
        .pod("lxc-p1", &["10.244.1.10"])
        .route("default nexthop via 192.0.2.0 dev eth0 nexthop via 192.0.2.2 dev eth1");
    let request = seen("udp 10.9.0.9:5000 10.0.0.66:7").sent(3, IN6);
    vec![
        (
            "native",
            native().with(seen(UDP).sent(3, PLAIN).answered(3, BACK)),
        ),
        (
            "overlay",
            overlay().with(seen(UDP).sent(3, INTO).answered(3, OUT_OF)),
        ),
        (
            "contested, tunnel meant",
            with_mode(contested(), Mode::Tunnel).with(seen(UDP).sent(3, INTO).answered(3, OUT_OF)),
        ),
        (
            "tunnel as a spare with the worse metric",
            native()
                .vxlan("vxlan7", 7)
                .route("10.244.2.0/24 via 10.244.2.0 dev vxlan7 metric 900"),
        ),
        (
            "native meant, WireGuard encrypts",
            with_mode(
                native().dev(
                    "cilium_wg0",
                    Role::Tunnel,
                    crate::inventory::LinkKind::Tunnel {
                        kind: "wireguard".into(),
                        local: None,
                        remote: None,
                    },
                    &[],
                ),
                Mode::Native,
            )
            .with(
                seen(UDP)
                    .sent(3, "lxc-p1 > dev cilium_wg0 > cilium_wg0")
                    .answered(3, BACK),
            ),
        ),
        ("tunnel meant, local pods", {
            with_mode(native().pod("lxc-p2", &["10.244.1.11"]), Mode::Tunnel).with(
                seen("udp 10.244.1.10:4000 10.244.1.11:7")
                    .sent(3, "lxc-p1 > 10.244.1.11 dev lxc-p2 > lxc-p2")
                    .answered(3, "lxc-p2 > 10.244.1.10 dev lxc-p1 > lxc-p1"),
            )
        }),
        (
            "two defaults, different metrics",
            two_enis()
                .route("default via 10.0.0.1 dev ens5 metric 100")
                .route("default via 10.0.0.1 dev ens6 metric 200"),
        ),
        (
            "two defaults in two tables",
            two_enis()
                .route("default via 10.0.0.1 dev ens5 metric 100")
                .route("default via 10.0.0.1 dev ens6 metric 100 table 6")
                .rule(1536, Some("10.0.0.66"), 6)
                .with(request.answered(3, "lxc-p1 > default via 10.0.0.1 dev ens6 > ens6")),
        ),
        (
            "larger packets refused, repeated and answered",
            overlay().with(refused_then_repeated(1)),
        ),
        (
            "two tenants with one address, both served",
            Lab::new()
                .uplink("eth0", &["10.0.0.1/24"])
                .dev("h-a1", Role::Pod, crate::inventory::LinkKind::Veth, &[])
                .dev("h-b1", Role::Pod, crate::inventory::LinkKind::Veth, &[])
                .with(
                    seen("udp 10.16.0.2:5555 10.16.0.3:7")
                        .sent(3, "h-a1 > dev eth0 > eth0[vxlan 100 10.0.0.1 10.0.0.2]")
                        .answered(3, "eth0[vxlan 100 10.0.0.2 10.0.0.1] > dev h-a1 > h-a1"),
                )
                .with(
                    seen("udp 10.16.0.2:5555 10.16.0.3:7")
                        .sent(3, "h-b1 > dev eth0 > eth0[vxlan 200 10.0.0.1 10.0.0.2]")
                        .answered(3, "eth0[vxlan 200 10.0.0.2 10.0.0.1] > dev h-b1 > h-b1"),
                ),
        ),
        (
            "two equal defaults, and rules that choose by source",
            rivals()
                .route("default via 10.0.0.1 dev ens6 table 6")
                .rule(1536, Some("10.0.0.66"), 6)
                .with(
                    seen("udp 10.9.0.9:5000 10.0.0.66:7")
                        .sent(3, IN6)
                        .answered(3, "lxc-p1 > default via 10.0.0.1 dev ens6 > ens6"),
                ),
        ),
        (
            "multipath default to two switches, asymmetric and working",
            two_tor.clone().with(
                seen("tcp 10.9.0.9:5000 10.244.1.10:8")
                    .sent(9, "eth0 > 10.244.1.10 dev lxc-p1 > lxc-p1")
                    .answered(8, "lxc-p1 > default via 192.0.2.2 dev eth1 > eth1"),
            ),
        ),
        (
            "multipath default to two switches, asymmetric UDP",
            two_tor.with(
                seen("udp 10.9.0.9:5000 10.244.1.10:7")
                    .sent(9, "eth0 > 10.244.1.10 dev lxc-p1 > lxc-p1")
                    .answered(9, "lxc-p1 > default via 192.0.2.2 dev eth1 > eth1"),
            ),
        ),
        (
            "IPv6 with the shared prefix",
            ipv6_node("2001:db8:0:a0::1/59", true)
                .route("2001:db8:44:2::/64 via 2001:db8:0:a1::1 dev eth0")
                .with(
                    seen(UDP6)
                        .sent(
                            3,
                            "lxc-p1 > 2001:db8:44:2::/64 via 2001:db8:0:a1::1 dev eth0 > eth0",
                        )
                        .answered(3, "eth0 > dev lxc-p1 > lxc-p1"),
                ),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn healthy_traffic() -> Vec<(&'static str, Lab)> {
    vec![
        (
            "IPv6 /64, the router knows the pods (BGP); one of them is dead",
            ipv6_node("2001:db8:0:a0::1/64", true)
                .with(seen(UDP6).sent(2, BY_DEFAULT6))
                .with(
                    seen("udp [2001:db8:44:1::10]:4001 [2001:db8:44:2::21]:7")
                        .sent(3, BY_DEFAULT6)
                        .answered(3, "eth0 > dev lxc-p1 > lxc-p1"),
                ),
        ),
        (
            "IPv6 /64, the Internet by the default route",
            ipv6_node("2001:db8:0:a0::1/64", true)
                .with(seen("udp [2001:db8:44:1::10]:4001 [2a00::53]:53").sent(2, BY_DEFAULT6)),
        ),
        (
            "IPv6 /64, a silent server of the same site",
            ipv6_node("2001:db8:44:a0::1/64", true).with(
                seen("udp [2001:db8:44:1::10]:4001 [2001:db8:44:a1::53]:53").sent(2, BY_DEFAULT6),
            ),
        ),
        (
            "a refusal by another machine",
            native().with(seen(TCP).sent(1, PLAIN).answered(1, BACK).flags(0x02, 0x14)),
        ),
        (
            "IPv6 pods out of the provider's own prefix",
            Lab::new()
                .uplink("eth0", &["2001:db8:0:a0::1/64"])
                .pod("lxc-p1", &["2001:db8:0:a0:1::10"])
                .route("default via fe80::1 dev eth0 metric 1024")
                .with(
                    seen("udp [2001:db8:0:a0:1::10]:4001 [2001:db8:0:a1:1::10]:7")
                        .sent(2, BY_DEFAULT6),
                ),
        ),
        (
            "syslog",
            native().with(seen("udp 10.244.1.10:4000 10.244.2.20:514").sent(50, PLAIN)),
        ),
        (
            "mDNS",
            native().with(seen("udp 10.0.0.1:5353 224.0.0.251:5353").sent(9, "dev eth0 > eth0")),
        ),
        (
            "syslog through the tunnel",
            overlay().with(seen("udp 10.244.1.10:4000 10.244.2.20:514").sent(50, INTO)),
        ),
        ("asked just now", {
            native()
                .with(seen(TCP).sent(3, PLAIN).during(10, 10))
                .with(seen(UDP).sent(3, PLAIN).during(10, 10))
        }),
        ("one lost datagram", native().with(seen(UDP).sent(1, PLAIN))),
        (
            "path MTU discovery worked",
            overlay().with(
                seen(TCP)
                    .sent(60, INTO)
                    .answered(40, OUT_OF)
                    .during(1, 9)
                    .icmp("10.0.0.1", (3, 4), Some(1450), true)
                    .drop(Ended {
                        route_dev: "vxlan7",
                        mtu: 1450,
                        max_len: 1500,
                        ..ended("PKT_TOO_BIG@ip_forward", "lxc-p1", 2)
                    }),
            ),
        ),
        (
            "bulk TCP with a few repeats",
            overlay().with(
                seen(TCP)
                    .sent(5000, INTO)
                    .answered(2500, OUT_OF)
                    .retransmits(20)
                    .size(1450),
            ),
        ),
        (
            "the peer dies in the middle of a transfer",
            overlay().with(
                seen(TCP)
                    .sent(500, INTO)
                    .answered(300, OUT_OF)
                    .retransmits(5)
                    .size(1450)
                    .answers_end(1),
            ),
        ),
        (
            "answers come without the tunnel",
            overlay().with(seen(UDP).sent(5, INTO).answered(5, BACK)),
        ),
        (
            "the address of an ended pod is used again",
            native()
                .pod("lxc-p2", &[])
                .with(seen(UDP).sent(3, PLAIN).answered(3, BACK).during(1, 3))
                .with(
                    seen(UDP)
                        .sent(3, "lxc-p2 > 10.244.2.0/24 via 10.0.0.2 dev eth0 > eth0")
                        .answered(3, "eth0 > dev lxc-p2 > lxc-p2")
                        .during(5, 7),
                ),
        ),
        (
            "traffic through a firewall pod",
            native()
                .pod("lxc-fw", &["10.244.1.99"])
                .with(
                    seen(UDP)
                        .sent(3, "lxc-p1 > via 10.244.1.99 dev lxc-fw > lxc-fw")
                        .answered(3, "lxc-fw > dev lxc-p1 > lxc-p1"),
                )
                .with(
                    seen(UDP)
                        .sent(3, "lxc-fw > 10.244.2.0/24 via 10.0.0.2 dev eth0 > eth0")
                        .answered(3, "eth0 > dev lxc-fw > lxc-fw"),
                ),
        ),
    ]
}

fn healthy_ends() -> Vec<(&'static str, Lab)> {
    let traceroute = seen("udp 10.244.1.10:40000 10.244.2.20:33435").sent(3, PLAIN);
    let late = seen(TCP).sent(9, PLAIN).answered(9, BACK);
    vec![
        (
            "traceroute",
            native().with(
                traceroute
                    .drop(ended("IP_INHDR@ip_forward", "lxc-p1", 3))
                    .answered(1, BACK),
            ),
        ),
        (
            "mtr",
            native().with(
                seen("ping 10.244.1.10 10.244.2.20")
                    .sent(60, PLAIN)
                    .answered(30, BACK)
                    .drop(ended("IP_INHDR@ip_forward", "lxc-p1", 10)),
            ),
        ),
        (
            "a closed connection's last segment",
            native().with(late.drop(ended("NO_SOCKET@tcp_v4_rcv", "lxc-p1", 1))),
        ),
        (
            "an answer for a resolver that left",
            native().with(seen(UDP).sent(1, PLAIN).answered(1, BACK).drop_reply(ended(
                "NO_SOCKET@udp_unicast_rcv_skb",
                "lxc-p1",
                1,
            ))),
        ),
        (
            "a departed neighbour",
            native().neigh_failure("10.0.0.77", "eth0", 0),
        ),
        (
            "a resolver sorts addresses without IPv6",
            Lab::new()
                .uplink("eth0", &["10.0.0.1/24"])
                .with(seen("udp :: [2a00::53]:53").failed(101, 40)),
        ),
        (
            "a resolver sorts addresses with internal IPv6 only",
            native().with(seen("udp :: [2a00::53]:53").failed(101, 40)),
        ),
        (
            "a firewall against broadcasts",
            native().with(
                seen("udp 10.0.0.9:137 10.0.0.255:137")
                    .sent(9, "eth0")
                    .drop(ended("NETFILTER_DROP@nft_do_chain", "eth0", 9)),
            ),
        ),
        (
            "an end that says nothing",
            native().with(seen(UDP).sent(3, PLAIN).answered(3, BACK).drop(ended(
                "TCP_OLD_DATA@tcp_data_queue",
                "lxc-p1",
                1,
            ))),
        ),
    ]
}
