//! Translated addresses: both sides are one flow.

use super::*;
use crate::event::Nat;

/// The node of these tests: two pods, an uplink with an address.
fn node() -> Lab {
    let mut lab = Lab::new();
    lab.pod("lxc-a");
    lab.pod("lxc-b");
    lab.uplink("eth0", "192.0.2.1");
    lab
}

/// A pod's packet to a service, and the same to the pod behind it.
fn service() -> Nat {
    Nat {
        original: udp("10.244.1.10", 4000, "10.96.0.10", 80),
        translated: udp("10.244.1.10", 4000, "10.244.2.20", 8080),
    }
}

/// The name of the flow, and what it became.
fn name(flow: &Flow) -> String {
    let end = |a: IpAddr, p: u16| format!("{a}:{p}");
    let t = flow.id.tuple;
    let nat = flow.far().map_or(String::new(), |n| {
        format!(" ⇒ {} > {}", end(n.src, n.sport), end(n.dst, n.dport))
    });
    format!("{} > {}{nat}", end(t.src, t.sport), end(t.dst, t.dport))
}

/// Addresses at each hop where they are not the flow's.
fn wires(direction: &Direction) -> Vec<Option<Tuple>> {
    let hops = direction.path.iter().filter_map(|s| match s {
        Step::Hop(h) => Some(h.wire.as_deref().copied()),
        Step::Route(_) => None,
    });
    hops.collect()
}

/// A connection through the node: asked by `entry`, sent on by `exit`, and the answers.
fn converse(lab: &mut Lab, nat: Nat, (entry, exit): (&str, &str), packets: u64) {
    lab.comes(nat.original, entry, packets);
    lab.leaves(nat.translated, entry, exit, packets).nat = Some(nat);
    lab.comes(nat.translated.reversed(), exit, packets);
    lab.leaves(nat.original.reversed(), exit, entry, packets)
        .nat = Some(nat);
}

#[test]
fn a_service_and_the_pod_behind_it_are_one_flow() {
    let mut lab = node();
    converse(&mut lab, service(), ("lxc-a", "eth0"), 5);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        name(flow),
        "10.244.1.10:4000 > 10.96.0.10:80 ⇒ 10.244.1.10:4000 > 10.244.2.20:8080"
    );
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-a 5 | unicast dev eth0 | out eth0 5"
    );
    assert_eq!(
        lab.path(&flow.reply),
        "in eth0 5 | unicast dev lxc-a | out lxc-a 5"
    );
    assert_eq!((flow.forward.packets, flow.reply.packets), (5, 5));
    assert_eq!(lab.outcome(&flow.forward), "forwarded eth0");
    assert_eq!(lab.outcome(&flow.reply), "forwarded lxc-a");
    let far = service().translated;
    assert_eq!(wires(&flow.forward), [None, Some(far)]);
    assert_eq!(wires(&flow.reply), [Some(far.reversed()), None]);
}

#[test]
fn the_order_of_reports_does_not_matter() {
    let mut lab = node();
    converse(&mut lab, service(), ("lxc-a", "eth0"), 5);
    let wanted = lab.later().flows[0].clone();
    for turn in 0..lab.events.len() {
        lab.events.rotate_left(1);
        let snapshot = lab.later();
        assert_eq!(only(&snapshot), &*wanted, "rotated by {turn}");
    }
}

#[test]
fn halves_that_were_shown_are_joined_when_the_connection_is_known() {
    let mut lab = node();
    converse(&mut lab, service(), ("lxc-a", "eth0"), 5);
    let mut model = lab.model();
    let events = lab.events.clone();
    model.apply(&events[0]);
    model.apply(&events[2]);
    assert_eq!(model.snapshot().flows.len(), 2);
    model.apply(&events[1]);
    assert_eq!(name(only(&model.snapshot())), name(&lab.later().flows[0]));
    model.apply(&events[3]);
    assert_eq!(only(&model.snapshot()).reply.packets, 5);
    // the translated side alone changes
    let Body::Hop(sample) = &events[2].body else {
        unreachable!()
    };
    let mut more = sample.clone();
    more.counters.packets = 9;
    model.apply(&Event {
        at: KtimeNs(events[3].at.0 + 1),
        body: Body::Hop(more),
    });
    assert_eq!(only(&model.snapshot()).reply.packets, 9);
}

#[test]
fn masquerade_keeps_the_clients_that_share_an_address_apart() {
    let mut lab = node();
    let far = ("203.0.113.9", 53);
    let nat = |pod: &str, port| Nat {
        original: udp(pod, 4000, far.0, far.1),
        translated: udp("192.0.2.1", port, far.0, far.1),
    };
    converse(&mut lab, nat("10.244.1.10", 4000), ("lxc-a", "eth0"), 3);
    converse(&mut lab, nat("10.244.1.11", 1024), ("lxc-b", "eth0"), 7);
    let snapshot = lab.later();
    let mut shown: Vec<_> = snapshot
        .flows
        .iter()
        .map(|f| (name(f), f.forward.packets, f.reply.packets))
        .collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            (
                "10.244.1.10:4000 > 203.0.113.9:53 ⇒ 192.0.2.1:4000 > 203.0.113.9:53".into(),
                3,
                3
            ),
            (
                "10.244.1.11:4000 > 203.0.113.9:53 ⇒ 192.0.2.1:1024 > 203.0.113.9:53".into(),
                7,
                7
            ),
        ]
    );
}

#[test]
fn equal_addresses_of_two_tenants_stay_two_flows() {
    // two zones of connection tracking: the same client, service and server in both
    for (ports, exits) in [
        ((4000, 4000), ["vx1", "vx2"]),
        ((4000, 1024), ["eth0", "eth0"]),
    ] {
        let mut lab = node();
        lab.vxlan("vx1", Some(1));
        lab.vxlan("vx2", Some(2));
        let original = udp("10.0.0.10", 4000, "10.96.0.10", 80);
        let nat = |port| Nat {
            original,
            translated: udp("192.0.2.1", port, "10.0.1.20", 8080),
        };
        converse(&mut lab, nat(ports.0), ("lxc-a", exits[0]), 3);
        converse(&mut lab, nat(ports.1), ("lxc-b", exits[1]), 7);
        let snapshot = lab.later();
        let mut shown: Vec<_> = snapshot
            .flows
            .iter()
            .map(|f| {
                let dev = lab.inventory.dev_name(HOME, f.id.scope.dev.unwrap());
                (
                    dev,
                    f.forward.packets,
                    f.reply.packets,
                    f.far().unwrap().sport,
                )
            })
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                ("lxc-a".into(), 3, 3, ports.0),
                ("lxc-b".into(), 7, 7, ports.1)
            ]
        );
        for flow in &snapshot.flows {
            assert_eq!(flow.hops().count(), 4, "{flow:#?}");
        }
    }
}

#[test]
fn a_pod_that_reaches_itself_through_its_service() {
    let mut lab = node();
    let nat = Nat {
        original: udp("10.244.1.10", 4000, "10.96.0.10", 80),
        translated: udp("192.0.2.1", 4000, "10.244.1.10", 8080),
    };
    converse(&mut lab, nat, ("lxc-a", "lxc-a"), 4);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-a 4 | unicast dev lxc-a | out lxc-a 4"
    );
    assert_eq!(
        lab.path(&flow.reply),
        "in lxc-a 4 | unicast dev lxc-a | out lxc-a 4"
    );
}

#[test]
fn a_server_on_another_node_behind_a_tunnel() {
    let mut lab = node();
    lab.vxlan("vx0", Some(7));
    let nat = service();
    lab.comes(nat.original, "lxc-a", 3);
    lab.leaves(nat.translated, "lxc-a", "vx0", 3).nat = Some(nat);
    // below the tunnel device the packet has another connection, that of the outer header
    lab.leaves(nat.translated, "", "eth0", 3).vxlan(7);
    lab.comes(nat.translated.reversed(), "eth0", 3).vxlan(7);
    lab.comes(nat.translated.reversed(), "vx0", 3);
    lab.leaves(nat.original.reversed(), "vx0", "lxc-a", 3).nat = Some(nat);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-a 3 | unicast dev vx0 | out vx0 3 | unicast dev eth0 | out eth0 vxlan/7 3"
    );
    assert_eq!(
        lab.path(&flow.reply),
        "in eth0 vxlan/7 3 | in vx0 3 | unicast dev lxc-a | out lxc-a 3"
    );
}

#[test]
fn the_node_itself_asks_a_service() {
    let mut lab = node();
    let nat = Nat {
        original: udp("192.0.2.1", 4000, "10.96.0.10", 80),
        translated: udp("192.0.2.1", 4000, "10.244.2.20", 8080),
    };
    lab.leaves(nat.translated, "", "eth0", 2).nat = Some(nat);
    lab.comes(nat.translated.reversed(), "eth0", 2);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        name(flow),
        "192.0.2.1:4000 > 10.96.0.10:80 ⇒ 192.0.2.1:4000 > 10.244.2.20:8080"
    );
    assert_eq!(lab.path(&flow.forward), "unicast dev eth0 | out eth0 2");
    assert_eq!(lab.outcome(&flow.reply), "delivered");
}

#[test]
fn a_service_that_the_node_itself_answers() {
    let mut lab = node();
    let nat = Nat {
        original: udp("10.244.1.10", 4000, "10.96.0.10", 80),
        translated: udp("10.244.1.10", 4000, "192.0.2.1", 8080),
    };
    lab.comes(nat.original, "lxc-a", 2);
    lab.leaves(nat.original.reversed(), "", "lxc-a", 2).nat = Some(nat);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(lab.outcome(&flow.forward), "delivered");
    assert_eq!(lab.path(&flow.forward), "in lxc-a 2 | local dev eth0");
}

#[test]
fn a_silent_server_leaves_one_unanswered_flow() {
    let mut lab = node();
    let nat = service();
    lab.comes(nat.original, "lxc-a", 3);
    lab.leaves(nat.translated, "lxc-a", "eth0", 3).nat = Some(nat);
    let snapshot = lab.later();
    assert_eq!(lab.outcome(&only(&snapshot).forward), "unanswered eth0");
}

#[test]
fn drops_errors_and_notices_of_either_side_belong_to_the_flow() {
    let mut lab = node();
    let server = lab.pod("lxc-c");
    let nat = Nat {
        translated: udp("10.244.1.10", 4000, "10.244.1.30", 8080),
        ..service()
    };
    converse(&mut lab, nat, ("lxc-a", "lxc-c"), 5);
    // half translated, and in the pod where nothing is translated
    let half = udp("10.244.1.10", 4000, "10.244.1.30", 8080);
    lab.drops(half, "NETFILTER_DROP", "lxc-a", 2).original = Some(nat.original);
    lab.drops(nat.translated, "NO_SOCKET", "", 1).place.netns = Some(server);
    lab.drops(nat.translated.reversed(), "NETFILTER_DROP", "lxc-c", 4);
    let icmp = IcmpSample {
        about: nat.translated,
        from: ip("10.244.1.30"),
        netns: HOME,
        dev: lab.dev("lxc-c"),
        dir: Dir::In,
        icmp_type: 3,
        code: 3,
        mtu: None,
        local: false,
        count: 1,
        first: KtimeNs(lab.clock),
        last: KtimeNs(lab.clock),
    };
    lab.event(Body::Icmp(icmp));
    let snapshot = lab.later();
    let flow = only(&snapshot);
    let reasons = |d: &Direction| -> Vec<(String, u64)> {
        d.drops
            .iter()
            .map(|x| (x.place.reason.to_string(), x.count))
            .collect()
    };
    assert_eq!(
        reasons(&flow.forward),
        [("NETFILTER_DROP".into(), 2), ("NO_SOCKET".into(), 1)]
    );
    assert_eq!(reasons(&flow.reply), [("NETFILTER_DROP".into(), 4)]);
    assert_eq!(flow.forward.icmp.len(), 1);
}

#[test]
fn a_policy_that_drops_the_first_packet_after_translation() {
    let mut lab = node();
    let nat = service();
    lab.comes(nat.original, "lxc-a", 3);
    lab.drops(nat.translated, "NETFILTER_DROP", "lxc-a", 3)
        .original = Some(nat.original);
    let snapshot = lab.later();
    assert_eq!(
        lab.outcome(&only(&snapshot).forward),
        "dropped NETFILTER_DROP"
    );
}

#[test]
fn two_servers_one_after_the_other_are_ways_of_one_flow() {
    let mut lab = node();
    let (one, two) = (
        service(),
        Nat {
            translated: udp("10.244.1.10", 4000, "10.244.3.30", 8080),
            ..service()
        },
    );
    lab.comes(one.original, "lxc-a", 10);
    for nat in [one, two] {
        lab.leaves(nat.translated, "lxc-a", "eth0", 5).nat = Some(nat);
        lab.comes(nat.translated.reversed(), "eth0", 5);
        lab.leaves(nat.original.reversed(), "eth0", "lxc-a", 5).nat = Some(nat);
    }
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!((flow.forward.packets, flow.reply.packets), (10, 10));
    assert_eq!(flow.far(), Some(two.translated));
}

#[test]
fn a_port_used_again_by_another_client_is_not_counted_twice() {
    let mut lab = node();
    let nat = |pod: &str| Nat {
        original: udp(pod, 4000, "203.0.113.9", 53),
        translated: udp("192.0.2.1", 4000, "203.0.113.9", 53),
    };
    let (a, b) = (nat("10.244.1.10"), nat("10.244.1.11"));
    for (nat, entry, n) in [(a, "lxc-a", 3), (b, "lxc-b", 7)] {
        lab.comes(nat.original, entry, n);
        lab.leaves(nat.translated, entry, "eth0", n).nat = Some(nat);
        lab.leaves(nat.original.reversed(), "eth0", entry, n).nat = Some(nat);
    }
    // the answers of both came in by the same device, with the same addresses
    lab.comes(a.translated.reversed(), "eth0", 10);
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 2, "{snapshot:#?}");
    for (flow, n) in snapshot.flows.iter().zip([3, 7]) {
        assert_eq!((flow.forward.packets, flow.reply.packets), (n, n));
        assert!(lab.outcome(&flow.forward).starts_with("forwarded"));
    }
}

#[test]
fn a_flow_to_the_server_itself_is_another_one() {
    let mut lab = node();
    converse(&mut lab, service(), ("lxc-a", "eth0"), 5);
    // the same client port later, without the service, by another device
    let direct = service().translated;
    lab.comes(direct, "lxc-b", 2);
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 2);
    let direct = snapshot.flows.iter().find(|f| f.nat.is_none()).unwrap();
    assert_eq!(direct.forward.packets, 2);
}

#[test]
fn the_direction_that_opened_comes_first_whatever_was_seen_first() {
    let mut lab = node();
    let nat = service();
    // tracer was started between the question and the answer
    lab.comes(nat.translated.reversed(), "eth0", 1);
    lab.leaves(nat.original.reversed(), "eth0", "lxc-a", 1).nat = Some(nat);
    lab.comes(nat.original, "lxc-a", 3);
    lab.leaves(nat.translated, "lxc-a", "eth0", 3).nat = Some(nat);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(flow.id.tuple, nat.original);
    let turned = flow.reversed();
    assert_eq!(turned.far(), Some(nat.translated.reversed()));
    assert_eq!(turned.routed(), flow.routed().reversed());
}

#[test]
fn an_evicted_flow_gives_back_what_it_had_taken() {
    let mut lab = node();
    let nat = service();
    converse(&mut lab, nat, ("lxc-a", "eth0"), 5);
    for n in 0..8 {
        let other = udp("10.244.1.10", 5000 + n, "10.244.9.9", 9);
        lab.comes(other, "lxc-a", 1);
    }
    let mut model = Model::new(ModelConfig {
        max_flows: 4,
        ..ModelConfig::default()
    });
    model.set_inventory(Arc::new(lab.inventory.clone()));
    for event in &lab.events {
        model.apply(event);
        let snapshot = model.snapshot();
        assert!(snapshot.flows.len() <= 4);
    }
    assert!(model.snapshot().loss.evicted > 0);
}
