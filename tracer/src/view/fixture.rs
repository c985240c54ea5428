//! The flow of the example in `docs/json.md`, and what to vary of it in tests.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use thin_vec::ThinVec;

use super::{ViewContext, WallClock};
use crate::{
    diagnose::{Finding, Severity, Subject},
    event::{
        Counters, Dir, DropPlace, Encap, EncapKey, EncapKind, How, Ifindex, KtimeNs, NetnsId,
        Proto, RouteDecision, RouteKind, Tuple,
    },
    inventory::{Address, Inventory, Link, LinkKind, Netns, Owner, Role},
    model::{Decision, Direction, Drop, Flow, FlowId, Hop, Outcome, Scope, Snapshot, Step},
};

pub(crate) const HOME: NetnsId = NetnsId(4_026_532_201);
pub(crate) const POD: NetnsId = NetnsId(4_026_532_300);
pub(crate) const ETH0: Ifindex = Ifindex(2);
pub(crate) const ETH1: Ifindex = Ifindex(3);
pub(crate) const LXC: Ifindex = Ifindex(5);
pub(crate) const VX0: Ifindex = Ifindex(7);
/// 2026-11-22T05:00:00Z is when tracer started, 1000 s after boot.
pub(crate) const START: KtimeNs = KtimeNs(1_000_000_000_000);

pub(crate) fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

pub(crate) fn clock() -> WallClock {
    let wall: jiff::Timestamp = "2026-11-22T05:00:00Z".parse().unwrap();
    let wall = i64::try_from(wall.as_nanosecond()).unwrap();
    WallClock {
        offset_ns: wall - START.0.cast_signed(),
        zone: None,
    }
}

/// Milliseconds after the start.
pub(crate) fn at(ms: u64) -> KtimeNs {
    KtimeNs(START.0 + ms * 1_000_000)
}

fn meaning(reason: &str, _symbol: &str, errno: u32) -> String {
    match (reason, errno) {
        ("IP_OUTNOROUTES", _) => "no route to destination".into(),
        (_, 0) => "the kernel gives no reason".into(),
        (_, n) => format!("error {n}"),
    }
}

pub(crate) fn cx<'a>(inventory: &'a Inventory, clock: &'a WallClock) -> ViewContext<'a> {
    ViewContext {
        inventory,
        clock,
        meaning,
        numeric: false,
    }
}

pub(crate) fn link(ifindex: Ifindex, name: &str, kind: LinkKind, role: Role) -> Link {
    Link {
        ifindex,
        name: name.into(),
        kind,
        role,
        mtu: 1500,
        up: true,
        carrier: true,
        mac: String::new(),
        master: None,
        lower: None,
        peer: None,
        peer_netns: None,
        addresses: vec![],
    }
}

pub(crate) fn inventory() -> Inventory {
    let vxlan = LinkKind::Vxlan {
        vni: Some(42),
        port: 8472,
        local: None,
        remote: None,
    };
    let links = [
        link(ETH0, "eth0", LinkKind::Physical, Role::Uplink),
        link(ETH1, "ens6", LinkKind::Physical, Role::Uplink),
        link(LXC, "lxc-p1", LinkKind::Veth, Role::Pod),
        link(VX0, "vx0", vxlan, Role::Tunnel),
    ];
    let links = links.into_iter().map(|l| (l.ifindex, l)).collect();
    let home = Netns {
        id: HOME,
        links,
        ..Netns::default()
    };
    let pod_eth0 = link(ETH0, "eth0", LinkKind::Veth, Role::Other);
    let pod = Netns {
        id: POD,
        name: Some("p1".into()),
        edge: true,
        links: BTreeMap::from([(ETH0, pod_eth0)]),
        ..Netns::default()
    };
    Inventory {
        node: "n1".into(),
        kernel: "6.18.44".into(),
        home: HOME,
        netns: BTreeMap::from([(HOME, home), (POD, pod)]),
        ..Inventory::default()
    }
}

/// The same with pods that have names: `shop/web-0` behind `lxc-p1`, `shop/db-0` on another node.
pub(crate) fn named_inventory() -> Inventory {
    let mut inventory = inventory();
    let home = inventory.netns.get_mut(&HOME).unwrap();
    home.links.get_mut(&LXC).unwrap().peer_netns = Some(POD);
    let pod = inventory.netns.get_mut(&POD).unwrap();
    pod.owner = Some(Owner::pod("shop", "web-0", None));
    pod.links.get_mut(&ETH0).unwrap().addresses = vec![Address {
        address: ip("10.244.1.10"),
        prefix_len: 32,
        scope: 0,
    }];
    let db = Owner::pod("shop", "db-0", None);
    inventory.peers.insert(ip("10.244.2.20"), db);
    inventory
}

pub(crate) fn tuple(proto: Proto, src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    Tuple {
        proto,
        src: ip(src),
        dst: ip(dst),
        sport,
        dport,
        later_fragment: false,
    }
}

pub(crate) fn hop(dev: Ifindex, dir: Dir, packets: u64, bytes: u64) -> Hop {
    let counters = Counters {
        packets,
        bytes,
        skbs: packets,
        first: at(1),
        last: at(2_001),
    };
    Hop {
        wire: None,
        netns: HOME,
        dev,
        dir,
        counters,
        encap: None,
        tunnel_key: None,
        vlan: 0,
        max_len: 86,
        mark: 0,
    }
}

pub(crate) fn encap(src: &str, dst: &str) -> Encap {
    let key = EncapKey {
        kind: EncapKind::Vxlan,
        vni: Some(42),
    };
    Encap {
        key,
        src: ip(src),
        dst: ip(dst),
        sport: 5555,
        dport: 8472,
        df: false,
    }
}

pub(crate) fn decision(table: Option<u32>, dev: Option<Ifindex>) -> Decision {
    Decision {
        why: None,
        decision: RouteDecision {
            changed: None,
            asked: None,
            why: None,
            kind: RouteKind::Unicast,
            table,
            gateway: None,
            dev,
            prefix_len: None,
            metric: None,
            pmtu: None,
            errno: 0,
            lwtunnel: None,
            bridged: false,
            source_check: false,
            bypass: false,
            how: How::Lookup,
        },
        ipv6: false,
        rule: None,
        prefsrc: None,
        matched: None,
        changes: 0,
        redirected_by: None,
    }
}

pub(crate) fn drop_at(reason: &str, symbol: &str, dev: Ifindex, count: u64) -> Drop {
    Drop {
        place: DropPlace {
            reason: reason.into(),
            symbol: symbol.into(),
            netns: Some(HOME),
            dev: Some(dev),
            in_dev: None,
        },
        count,
        first: at(1),
        last: at(2_001),
        route: None,
        mtu: None,
        max_len: 86,
        encap: None,
    }
}

pub(crate) fn direction(path: Vec<Step>, outcome: Outcome, packets: u64, bytes: u64) -> Direction {
    let (first, last) = (at(1), at(2_001));
    Direction {
        path,
        packets,
        bytes,
        first,
        last,
        outcome: Some(outcome),
        ..Direction::default()
    }
}

pub(crate) fn flow(tuple: Tuple, forward: Direction) -> Flow {
    let scope = Scope {
        netns: HOME,
        dev: Some(LXC),
        vni: None,
    };
    let id = FlowId { tuple, scope };
    Flow {
        nat: None,
        id,
        forward,
        reply: Direction::default(),
        route_failures: ThinVec::new(),
    }
}

pub(crate) fn udp() -> Tuple {
    tuple(Proto::UDP, "10.244.1.10", 40000, "10.244.2.20", 7)
}

/// `lxc-p1 → [main: dev vx0] → vx0 ⟦vxlan 42⟧ → eth0`, three packets.
pub(crate) fn tunnelled(outcome: Outcome) -> Flow {
    let outer = Hop {
        encap: Some(Box::new(encap("192.0.2.1", "192.0.2.2"))),
        ..hop(ETH0, Dir::Out, 3, 450)
    };
    let path = vec![
        Step::Hop(hop(LXC, Dir::In, 3, 300)),
        Step::Route(decision(Some(254), Some(VX0)).into()),
        Step::Hop(hop(VX0, Dir::Out, 3, 300)),
        Step::Hop(outer),
    ];
    flow(udp(), direction(path, outcome, 3, 300))
}

/// `lxc-p1 → [rule 1536 table 6: via 10.0.0.1] → ens6`, three packets.
pub(crate) fn routed(outcome: Outcome) -> Flow {
    let mut d = decision(Some(6), Some(ETH1));
    d.rule = Some(1536);
    d.decision.gateway = Some(ip("10.0.0.1"));
    let path = vec![
        Step::Hop(hop(LXC, Dir::In, 3, 300)),
        Step::Route(d.into()),
        Step::Hop(hop(ETH1, Dir::Out, 3, 300)),
    ];
    flow(udp(), direction(path, outcome, 3, 300))
}

/// `lxc-p1`, and three packets dropped for want of a route.
pub(crate) fn dropped() -> Flow {
    let path = vec![Step::Hop(hop(LXC, Dir::In, 3, 300))];
    let mut f = flow(
        udp(),
        direction(path, Outcome::Dropped("IP_OUTNOROUTES".into()), 3, 300),
    );
    f.forward.drops = vec![drop_at("IP_OUTNOROUTES", "ip6_forward", LXC, 3)].into();
    f
}

pub(crate) fn snapshot(flows: Vec<Flow>) -> Snapshot {
    let flows = flows.into_iter().map(Arc::new).collect();
    Snapshot {
        at: at(10_000),
        started: START,
        flows,
        ..Snapshot::default()
    }
}

pub(crate) fn finding(flow: &Flow) -> Finding {
    Finding {
        id: "no-route",
        severity: Severity::Error,
        summary: "10.244.2.20 has no route on n1.".into(),
        subject: Subject {
            flows: vec![flow.id],
            dev: Some((HOME, LXC)),
            address: Some(ip("10.244.2.20")),
        },
        evidence: vec![
            "3 packets ended at ip6_forward".into(),
            "table main has no match".into(),
        ],
        next: "ip route get 10.244.2.20".into(),
    }
}
