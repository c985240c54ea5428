//! The ways that packets take through a node without tunnels.

use super::*;

/// A pod behind `lxc-p1` and the uplink `eth0`.
fn node() -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab.pod("lxc-p1");
    lab
}

#[test]
fn native_forwarding_shows_both_directions() {
    let mut lab = node();
    lab.comes(there(), "lxc-p1", 3);
    lab.leaves(there(), "lxc-p1", "eth0", 3);
    lab.comes(back(), "eth0", 3);
    lab.leaves(back(), "eth0", "lxc-p1", 3);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(flow.id.tuple, there());
    assert_eq!(
        flow.id.scope,
        Scope {
            netns: HOME,
            dev: Some(lab.dev("lxc-p1")),
            vni: None
        }
    );
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-p1 3 | unicast dev eth0 | out eth0 3"
    );
    assert_eq!(
        lab.path(&flow.reply),
        "in eth0 3 | unicast dev lxc-p1 | out lxc-p1 3"
    );
    assert_eq!(lab.outcome(&flow.forward), "forwarded eth0");
    assert_eq!(lab.outcome(&flow.reply), "forwarded lxc-p1");
    assert_eq!((flow.forward.packets, flow.forward.bytes), (3, 300));
    let turned = flow.reversed();
    assert_eq!(turned.id.tuple, back());
    assert_eq!(turned.id.scope.dev, Some(lab.dev("eth0")));
    assert_eq!(turned.reversed(), *flow);
}

#[test]
fn local_output_begins_with_the_decision() {
    let mut lab = node();
    let sent = udp("10.0.0.1", 5000, "10.0.0.2", 53);
    lab.leaves(sent, "", "eth0", 1);
    lab.comes(sent.reversed(), "eth0", 1);
    let snapshot = lab.snapshot();
    let flow = only(&snapshot);
    assert_eq!(flow.id.scope.dev, None);
    assert_eq!(lab.path(&flow.forward), "unicast dev eth0 | out eth0 1");
    assert_eq!(lab.path(&flow.reply), "in eth0 1 | local dev eth0");
    assert_eq!(lab.outcome(&flow.reply), "delivered");
    assert!(matches!(
        flow.reply.path.last(),
        Some(Step::Route(d)) if d.decision.how == How::Inferred
    ));
}

#[test]
fn ecmp_is_one_flow_with_two_ways() {
    let mut lab = node();
    lab.uplink("eth1", "10.0.1.1");
    lab.comes(there(), "lxc-p1", 10);
    lab.leaves(there(), "lxc-p1", "eth1", 7);
    lab.leaves(there(), "lxc-p1", "eth0", 3);
    let snapshot = lab.snapshot();
    let flow = only(&snapshot);
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-p1 10 | unicast dev eth1 | out eth1 7 | unicast dev eth0 | out eth0 3"
    );
    assert_eq!(lab.outcome(&flow.forward), "forwarded eth1");
    assert_eq!(flow.forward.packets, 10);
}

#[test]
fn asymmetric_answers_still_pair() {
    let mut lab = Lab::new();
    lab.uplink("ens5", "10.0.0.5");
    lab.uplink("ens6", "10.0.0.6");
    lab.pod("lxc-p1");
    lab.comes(there(), "ens6", 3);
    lab.leaves(there(), "ens6", "lxc-p1", 3);
    lab.comes(back(), "lxc-p1", 3);
    lab.leaves(back(), "lxc-p1", "ens5", 3);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(flow.id.scope.dev, Some(lab.dev("ens6")));
    assert_eq!(lab.outcome(&flow.reply), "forwarded ens5");
}

#[test]
fn one_tuple_by_two_uplinks_is_two_flows_and_neither_is_unanswered() {
    let mut lab = Lab::new();
    lab.uplink("ens5", "10.0.0.5");
    lab.uplink("ens6", "10.0.0.6");
    lab.pod("lxc-p1");
    for dev in ["ens5", "ens6"] {
        lab.comes(there(), dev, 2);
        lab.leaves(there(), dev, "lxc-p1", 2);
    }
    lab.comes(back(), "lxc-p1", 4);
    lab.leaves(back(), "lxc-p1", "ens6", 4);
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 2);
    let by_dev = |dev| {
        snapshot
            .flows
            .iter()
            .find(|f| f.id.scope.dev == Some(lab.dev(dev)))
            .unwrap()
    };
    assert_eq!(
        (by_dev("ens5").reply.packets, by_dev("ens6").reply.packets),
        (0, 4)
    );
    assert_eq!(lab.outcome(&by_dev("ens5").forward), "forwarded lxc-p1");
}

#[test]
fn bridge_that_routes_and_vlan_below() {
    let mut lab = node();
    lab.link("br-a", LinkKind::Bridge, Role::Bridge);
    lab.pod("h-a1");
    lab.set_master("h-a1", "br-a");
    let eth0 = lab.dev("eth0");
    lab.link("eth0.100", LinkKind::Vlan { id: 100 }, Role::Uplink)
        .lower = Some(eth0);
    lab.comes(there(), "h-a1", 2);
    lab.comes(there(), "br-a", 2);
    lab.leaves(there(), "br-a", "eth0.100", 2);
    let upper = lab.dev("eth0.100");
    lab.leaves(there(), "br-a", "eth0", 2).route = Some(route(RouteKind::Unicast, Some(upper)));
    // The VLAN device is not seen receiving, its lower device is.
    lab.comes(back(), "eth0", 2);
    lab.leaves(back(), "eth0.100", "br-a", 2);
    let br = lab.dev("br-a");
    lab.leaves(back(), "eth0.100", "h-a1", 2).route = Some(route(RouteKind::Unicast, Some(br)));
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        lab.path(&flow.forward),
        "in h-a1 2 | in br-a 2 | unicast dev eth0.100 | out eth0.100 2 | out eth0 2"
    );
    assert_eq!(
        lab.path(&flow.reply),
        "in eth0 2 | unicast dev br-a | out br-a 2 | out h-a1 2"
    );
    assert_eq!(lab.outcome(&flow.reply), "forwarded h-a1");
}

#[test]
fn a_chain_without_its_beginning_is_made_of_what_is_there() {
    let mut lab = node();
    lab.leaves(there(), "lxc-p1", "eth0", 3);
    lab.comes(back(), "eth0", 3);
    let snapshot = lab.snapshot();
    let flow = only(&snapshot);
    assert_eq!(flow.id.scope.dev, Some(lab.dev("lxc-p1")));
    assert_eq!(lab.path(&flow.forward), "unicast dev eth0 | out eth0 3");
    assert!(
        lab.outcome(&flow.reply)
            .starts_with("unknown no packet of it was seen leaving")
    );
}

#[test]
fn echo_request_opens_and_tcp_syn_opens() {
    let mut lab = node();
    let request = tuple(Proto::ICMP, "10.244.1.10", 9, "10.244.2.20", 8 << 8);
    lab.comes(request.reversed(), "eth0", 1);
    lab.comes(request, "lxc-p1", 1);
    let syn = tuple(Proto::TCP, "10.244.1.10", 4000, "10.244.2.20", 80);
    // Started between SYN and SYN|ACK.
    lab.comes(syn.reversed(), "eth0", 5).tcp_flags = 0x12;
    lab.comes(syn, "lxc-p1", 5).tcp_flags = 0x10;
    let snapshot = lab.snapshot();
    let mut opened: Vec<_> = snapshot.flows.iter().map(|f| f.id.tuple).collect();
    opened.sort();
    assert_eq!(opened, [request, syn]);
}

#[test]
fn later_fragments_join_the_only_flow_between_their_addresses() {
    let mut lab = node();
    let fragment = Tuple {
        sport: 0,
        dport: 0,
        later_fragment: true,
        ..there()
    };
    lab.comes(there(), "lxc-p1", 3);
    lab.leaves(there(), "lxc-p1", "eth0", 3);
    lab.comes(fragment, "lxc-p1", 2);
    lab.leaves(fragment, "lxc-p1", "eth0", 2);
    let flow = only(&lab.snapshot()).clone();
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-p1 5 | unicast dev eth0 | out eth0 5"
    );
    // A second flow between the addresses: nobody can say whose they are.
    lab.comes(udp("10.244.1.10", 4001, "10.244.2.20", 7), "lxc-p1", 1);
    assert_eq!(lab.snapshot().flows.len(), 3);
}

#[test]
fn link_housekeeping_is_no_flow() {
    let mut lab = node();
    lab.comes(
        tuple(Proto::ICMPV6, "fe80::1", 0, "fe80::2", 135 << 8),
        "eth0",
        9,
    );
    lab.drops(
        tuple(Proto::ICMPV6, "fe80::1", 0, "ff02::16", 143 << 8),
        "NOT_SPECIFIED",
        "eth0",
        4,
    );
    let snapshot = lab.snapshot();
    assert!(snapshot.flows.is_empty() && snapshot.stray_drops.is_empty());
    assert_eq!(
        snapshot.no_loss,
        [("NOT_SPECIFIED".into(), "somewhere".into(), 4)]
    );
}
