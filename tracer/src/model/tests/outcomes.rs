//! What becomes of packets.

use rstest::rstest;

use super::*;

fn node() -> (Lab, NetnsId) {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    let pod = lab.pod("lxc-p1");
    (lab, pod)
}

#[test]
fn no_route_for_forwarded_packets() {
    let (mut lab, _) = node();
    let tuple = udp("2001:db8:44:1::10", 4000, "2001:db8:44:2::20", 7);
    lab.comes(tuple, "lxc-p1", 3);
    let dev = lab.dev("lxc-p1");
    let drop = lab.drops(tuple, "IP_INNOROUTES", "lxc-p1", 3);
    drop.place.in_dev = Some(dev);
    // IPv6 answers a missing route with its null entry, of type unreachable.
    drop.route = Some(RouteDecision {
        errno: 101,
        ..route(RouteKind::Unreachable, None)
    });
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(lab.outcome(&flow.forward), "dropped IP_INNOROUTES");
    assert_eq!(lab.path(&flow.forward), "in lxc-p1 3 | none errno 101");
}

/// The address is nobody's by the configuration; the lookup knows better, until the packets leave.
#[test]
fn a_lookup_says_that_packets_stay() {
    let (mut lab, _) = node();
    let tuple = udp("10.244.1.10", 4000, "10.66.0.7", 7);
    let dev = lab.dev("eth0");
    lab.comes(tuple, "lxc-p1", 3).route = Some(route(RouteKind::Local, Some(dev)));
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(lab.outcome(&flow.forward), "delivered");
    assert_eq!(lab.path(&flow.forward), "in lxc-p1 3 | local dev eth0");
    lab.leaves(tuple, "lxc-p1", "eth0", 3);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_ne!(lab.outcome(&flow.forward), "delivered");
    assert!(!lab.path(&flow.forward).contains("local"));
}

#[test]
fn no_route_for_a_local_sender_is_a_flow_without_packets() {
    let (mut lab, pod) = node();
    let failure = RouteFailure {
        asked: crate::event::Asked::default(),
        by_rule: false,
        tuple: there(),
        netns: pod,
        table: 254,
        errno: 22,
        count: 2,
        first: KtimeNs(10),
        last: KtimeNs(20),
        pid: 7,
        comm: "curl".into(),
    };
    lab.event(Body::RouteFailure(failure.clone()));
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        flow.id.scope,
        Scope {
            netns: pod,
            dev: None,
            vni: None
        }
    );
    assert_eq!(flow.route_failures, [failure]);
    assert_eq!(lab.path(&flow.forward), "blackhole errno 22");
    assert_eq!(lab.outcome(&flow.forward), "dropped EINVAL");
    assert_eq!(flow.forward.packets, 0);
}

#[test]
fn a_few_too_big_packets_among_many_are_forwarded() {
    let (mut lab, _) = node();
    lab.drops(there(), "PKT_TOO_BIG", "lxc-p1", 10);
    lab.comes(there(), "lxc-p1", 5000);
    lab.leaves(there(), "lxc-p1", "eth0", 4990);
    lab.comes(back(), "eth0", 100);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(lab.outcome(&flow.forward), "forwarded eth0");
    assert_eq!(flow.forward.drops[0].count, 10);
}

#[test]
fn a_drop_shows_the_decision_that_no_hop_shows() {
    let (mut lab, _) = node();
    lab.comes(there(), "lxc-p1", 2);
    let decision = route(RouteKind::Unicast, Some(lab.dev("eth0")));
    lab.drops(there(), "PKT_TOO_BIG", "eth0", 2).route = Some(decision);
    let snapshot = lab.later();
    assert_eq!(
        lab.path(&only(&snapshot).forward),
        "in lxc-p1 2 | unicast dev eth0"
    );
}

#[test]
fn unanswered_after_a_second_and_no_longer_when_an_answer_comes() {
    let (mut lab, _) = node();
    lab.comes(there(), "lxc-p1", 1);
    lab.leaves(there(), "lxc-p1", "eth0", 1);
    let mut model = lab.model();
    lab.events.iter().for_each(|e| model.apply(e));
    let outcome = |model: &Model| lab.outcome(&model.snapshot().flows[0].forward);
    assert_eq!(outcome(&model), "forwarded eth0");
    let first = model.snapshot().flows[0].forward.first;
    model.tick(KtimeNs(first.0 + 999 * MS));
    assert_eq!(outcome(&model), "forwarded eth0");
    model.tick(KtimeNs(first.0 + 1000 * MS));
    assert_eq!(outcome(&model), "unanswered eth0");
    let mut answer = Lab {
        clock: lab.clock + 9000 * MS,
        ..Lab::new()
    };
    answer.inventory = lab.inventory.clone();
    answer.comes(back(), "eth0", 1);
    model.apply(&answer.events[0]);
    assert_eq!(outcome(&model), "forwarded eth0");
}

#[test]
fn packets_to_many_are_never_unanswered() {
    let (mut lab, _) = node();
    for dst in ["224.0.0.251", "255.255.255.255", "10.0.0.255", "10.0.0.254"] {
        lab.leaves(udp("10.0.0.1", 5353, dst, 5353), "", "eth0", 1);
    }
    lab.leaves(udp("fe80::1", 5353, "ff02::fb", 5353), "", "eth0", 1);
    let snapshot = lab.later();
    let unanswered: Vec<_> = snapshot
        .flows
        .iter()
        .filter(|f| matches!(f.forward.outcome, Some(Outcome::Unanswered(_))))
        .map(|f| f.id.tuple.dst)
        .collect();
    assert_eq!(unanswered, [ip("10.0.0.254")]);
}

#[test]
fn no_socket_in_the_pod_ends_what_was_forwarded_to_it() {
    let (mut lab, pod) = node();
    lab.comes(there(), "eth0", 3);
    lab.leaves(there(), "eth0", "lxc-p1", 3);
    lab.drops(there(), "NO_SOCKET", "", 3).place.netns = Some(pod);
    let snapshot = lab.later();
    assert_eq!(lab.outcome(&only(&snapshot).forward), "dropped NO_SOCKET");
}

#[test]
fn a_drop_without_a_hop_is_a_flow_and_one_without_addresses_is_a_stray() {
    let (mut lab, _) = node();
    lab.drops(there(), "NETFILTER_DROP", "eth0", 2);
    lab.drops(there(), "OTHERHOST", "eth0", 9).tuple = None;
    lab.drops(there(), "TCP_OLD_DATA", "eth0", 4).loss = false;
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(flow.id.scope.dev, Some(lab.dev("eth0")));
    assert_eq!((flow.forward.packets, flow.forward.drops.len()), (2, 1));
    assert_eq!(lab.outcome(&flow.forward), "dropped NETFILTER_DROP");
    assert_eq!(snapshot.stray_drops[0].count, 9);
    assert_eq!(
        snapshot.no_loss,
        [("TCP_OLD_DATA".into(), "somewhere".into(), 4)]
    );
}

/// A connection to the pod whose client was seen with `flags`, and the end of one of its segments.
fn tcp_end(flags: u8, reason: &str, symbol: &str) -> (Lab, Snapshot) {
    let (mut lab, pod) = node();
    let tcp = tuple(Proto::TCP, "10.9.0.9", 4000, "10.244.1.10", 80);
    for dev in ["eth0", "lxc-p1"] {
        let hop = if dev == "eth0" {
            lab.comes(tcp, dev, 7)
        } else {
            lab.leaves(tcp, "eth0", dev, 7)
        };
        hop.tcp_flags = flags;
    }
    let drop = lab.drops(tcp, reason, "", 1);
    drop.place.netns = Some(pod);
    drop.place.symbol = symbol.into();
    let snapshot = lab.later();
    (lab, snapshot)
}

#[rstest]
#[case("TCP_FLAGS", "tcp_v4_do_rcv")]
#[case("TCP_FLAGS", "tcp_v6_do_rcv")]
#[case("NO_SOCKET", "tcp_v4_rcv")]
#[case("NO_SOCKET", "tcp_v6_rcv")]
fn a_segment_after_the_connection_was_closed_is_no_loss(
    #[case] reason: &str,
    #[case] symbol: &str,
) {
    // SYN, FIN, PSH, ACK
    let (lab, snapshot) = tcp_end(0x1b, reason, symbol);
    let flow = only(&snapshot);
    assert!(flow.forward.drops.is_empty());
    assert_ne!(lab.outcome(&flow.forward), format!("dropped {reason}"));
    assert_eq!(snapshot.no_loss, [(reason.into(), symbol.into(), 1)]);
}

#[rstest]
// the connection was not closed
#[case(0x1a, "TCP_FLAGS", "tcp_v4_do_rcv")]
#[case(0x02, "NO_SOCKET", "tcp_v4_rcv")]
// closed, but refused for something else
#[case(0x1b, "TCP_CSUM", "tcp_v4_rcv")]
fn a_segment_of_an_open_connection_is_lost(
    #[case] flags: u8,
    #[case] reason: &str,
    #[case] symbol: &str,
) {
    let (_, snapshot) = tcp_end(flags, reason, symbol);
    assert_eq!(only(&snapshot).forward.drops.len(), 1);
    assert!(snapshot.no_loss.is_empty());
}

#[test]
fn rp_filter_drops_on_the_second_interface() {
    let mut lab = Lab::new();
    lab.uplink("ens5", "10.0.0.5");
    lab.uplink("ens6", "10.0.0.6");
    lab.pod("lxc-p1");
    lab.comes(there(), "ens6", 3);
    let ens6 = lab.dev("ens6");
    lab.drops(there(), "IP_RPFILTER", "ens6", 3).place.in_dev = Some(ens6);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(lab.outcome(&flow.forward), "dropped IP_RPFILTER");
    assert_eq!(lab.path(&flow.forward), "in ens6 3");
}

#[test]
fn icmp_errors_and_retransmits_are_at_the_direction_they_are_about() {
    let (mut lab, pod) = node();
    let tcp = tuple(Proto::TCP, "10.244.1.10", 4000, "10.244.2.20", 80);
    lab.comes(tcp, "lxc-p1", 3);
    lab.leaves(tcp, "lxc-p1", "eth0", 3);
    let notice = TcpNotice {
        tuple: tcp,
        netns: pod,
        what: TcpWhat::Retransmit,
    };
    lab.event(Body::Tcp(notice));
    lab.event(Body::Tcp(notice));
    let error = IcmpSample {
        about: tcp,
        from: ip("10.0.0.254"),
        netns: HOME,
        dev: lab.dev("eth0"),
        dir: Dir::In,
        icmp_type: 3,
        code: 1,
        mtu: None,
        local: false,
        count: 1,
        first: KtimeNs(5),
        last: KtimeNs(5),
    };
    lab.event(Body::Icmp(error));
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        (flow.forward.retransmits, flow.forward.icmp.as_slice()),
        (2, &[error][..])
    );
    assert_eq!(lab.outcome(&flow.forward), "unanswered eth0");
    assert!(flow.reply.icmp.is_empty());
}

#[test]
fn trouble_comes_first_then_time() {
    let (mut lab, _) = node();
    let flow = |n| udp("10.244.1.10", n, "10.244.2.20", 7);
    lab.comes(flow(1).reversed(), "eth0", 1);
    lab.comes(flow(1), "lxc-p1", 1);
    lab.leaves(flow(2), "lxc-p1", "eth0", 1);
    lab.comes(flow(3), "lxc-p1", 1);
    lab.drops(flow(3), "NETFILTER_DROP", "lxc-p1", 1);
    let snapshot = lab.later();
    let ports: Vec<_> = snapshot
        .flows
        .iter()
        .map(|f| f.id.tuple.sport.max(f.id.tuple.dport))
        .collect();
    assert_eq!(snapshot.flows[0].id.tuple.sport, 3);
    assert_eq!(snapshot.flows[1].id.tuple.sport, 2);
    assert_eq!(ports.len(), 3);
    let turned = snapshot.oriented_by(|f| {
        if f.id.tuple.sport == 3 {
            Orientation::Reverse
        } else {
            Orientation::Keep
        }
    });
    assert_eq!(turned.flows[0].id.tuple, flow(3).reversed());
    assert_eq!(turned.flows[0].reply.packets, 1);
}

/// IPVS takes packets where they would be delivered, and sends them on with other addresses.
#[test]
fn what_is_answered_from_elsewhere_was_not_delivered_here() {
    let (mut lab, _) = node();
    let asked = udp("10.244.1.10", 4000, "10.0.0.1", 80);
    lab.comes(asked, "lxc-p1", 3);
    lab.leaves(asked.reversed(), "eth0", "lxc-p1", 3);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    let outcome = lab.outcome(&flow.forward);
    assert!(
        outcome.starts_with("unknown") && outcome.contains("IPVS"),
        "{outcome}"
    );
    assert_eq!(lab.outcome(&flow.reply), "forwarded lxc-p1");
    // its twin is answered by the node itself
    let (mut lab, _) = node();
    lab.comes(asked, "lxc-p1", 3);
    lab.leaves(asked.reversed(), "", "lxc-p1", 3);
    assert_eq!(lab.outcome(&only(&lab.later()).forward), "delivered");
}
