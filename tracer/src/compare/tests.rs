use std::net::IpAddr;

use super::*;
use crate::{
    event::{Ifindex, NetnsId},
    inventory::{Address, Inventory, Link, LinkKind, Netns, Role},
};

const HOME: NetnsId = NetnsId(1);
const ETH0: Ifindex = Ifindex(2);
const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";

fn side(node: &str, address: &str) -> Side {
    let link = Link {
        ifindex: ETH0,
        name: "eth0".into(),
        kind: LinkKind::Physical,
        role: Role::Uplink,
        mtu: 1500,
        up: true,
        carrier: true,
        mac: String::new(),
        master: None,
        lower: None,
        peer: None,
        peer_netns: None,
        addresses: vec![Address {
            address: address.parse().unwrap(),
            prefix_len: 24,
            scope: 0,
        }],
    };
    let netns = Netns {
        id: HOME,
        links: [(ETH0, link)].into(),
        ..Netns::default()
    };
    let inventory = Inventory {
        node: node.into(),
        home: HOME,
        netns: [(HOME, netns)].into(),
        ..Inventory::default()
    };
    let mut side = Side::new(inventory, 0);
    side.until_ns = u64::MAX / 2;
    side
}

/// UDP over IPv4 in an Ethernet frame.
fn udp(src: &str, dst: &str, ip_id: u16, payload: u8) -> Vec<u8> {
    let v4 = |s: &str| match s.parse().unwrap() {
        IpAddr::V4(a) => a.octets(),
        IpAddr::V6(_) => panic!("{s}"),
    };
    let mut f = vec![0; 12];
    f.extend([8, 0, 0x45, 0, 0, 32]);
    f.extend(ip_id.to_be_bytes());
    f.extend([0x40, 0, 64, 17, 0, 0]);
    f.extend(v4(src));
    f.extend(v4(dst));
    f.extend([0x9c, 0x40, 0, 7, 0, 12, 0, 0]);
    f.extend([payload; 4]);
    f
}

fn saw(side: &mut Side, id: u64, wall_ns: u64, place: Place<'_>, bytes: &[u8]) {
    side.take(&Observation {
        id,
        wall_ns,
        netns: HOME,
        dev: ETH0,
        place,
        gso: 0,
        bytes,
    });
}

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MS;

/// Ten packets each way, 1 ms apart, 100 µs on the way; B's clock is an hour ahead. `arrives` says
/// which of A's do.
fn sides(ip_id: fn(u64) -> u16, arrives: impl Fn(u64) -> bool) -> (Side, Side) {
    let (mut a, mut b) = (side("a", A), side("b", B));
    for i in 0..10 {
        let at = (i + 1) * MS;
        let there = udp(A, B, ip_id(i), 0);
        saw(&mut a, i + 1, at, Place::Out, &there);
        if arrives(i) {
            saw(&mut b, i + 1, HOUR + at + MS / 10, Place::In, &there);
        }
        let back = udp(B, A, 100 + i as u16, 1);
        saw(&mut b, i + 101, HOUR + at + MS / 2, Place::Out, &back);
        saw(&mut a, i + 101, at + MS / 2 + MS / 10, Place::In, &back);
    }
    (a, b)
}

#[test]
fn what_did_not_arrive_is_lost_whatever_the_clocks_say() {
    let (a, b) = sides(|i| i as u16 + 1, |i| i != 3 && i != 9);
    let c = compare(&a, &b);
    assert_eq!(c.clocks.unwrap().offset_ns, HOUR.cast_signed());
    assert!(c.clocks.unwrap().both_ways && c.open.is_empty());
    let t = c.totals;
    assert_eq!((t.sent, t.received, t.lost), (20, 18, 2));
    assert_eq!((t.duplicated, t.reordered, t.outside), (0, 0, 0));
    let worst = &c.flows[0];
    assert_eq!((worst.from, worst.totals.lost), (Node::A, 2));
    assert_eq!(worst.delays.unwrap().p50, MS.cast_signed() / 10);
}

#[test]
fn a_shifted_clock_moves_the_offset_by_as_much() {
    let hour = HOUR.cast_signed();
    for ab in -5..5 {
        let offset = |shift: i64| {
            let clocks = Clocks::estimate(Some(ab + shift), Some(-shift));
            clocks.unwrap().offset_ns
        };
        assert_eq!(offset(hour) - offset(0), hour, "{ab} ns one way");
        assert_eq!(offset(-hour) - offset(0), -hour, "{ab} ns one way");
    }
}

#[test]
fn equal_packets_are_told_apart_by_time() {
    // no identification: all of A's are equal
    let (a, b) = sides(|_| 0, |i| i != 3);
    let c = compare(&a, &b);
    assert_eq!((c.totals.lost, c.totals.outside), (1, 0));
    let from_a = c.flows.iter().find(|f| f.from == Node::A).unwrap();
    // had the wrong ones been paired, some would have taken 1 ms
    assert_eq!(from_a.delays.unwrap().max, MS.cast_signed() / 10);
}

#[test]
fn what_was_sent_while_the_other_did_not_record_is_not_judged() {
    let (a, mut b) = sides(|i| i as u16 + 1, |i| i < 8);
    b.until_ns = HOUR + 9 * MS + MS / 20;
    let c = compare(&a, &b);
    assert_eq!((c.totals.lost, c.totals.outside), (0, 2));
}

#[test]
fn copies_and_late_ones_are_counted() {
    let (a, mut b) = sides(|i| i as u16 + 1, |i| i != 4);
    let late = udp(A, B, 5, 0);
    saw(&mut b, 900, HOUR + 20 * MS, Place::In, &late);
    let again = udp(A, B, 1, 0);
    saw(&mut b, 901, HOUR + 21 * MS, Place::In, &again);
    let t = compare(&a, &b).totals;
    assert_eq!((t.lost, t.duplicated), (0, 1));
    assert_eq!(t.reordered, 1);
}

#[test]
fn a_packet_that_ended_on_the_other_node_arrived() {
    let (a, mut b) = sides(|i| i as u16 + 1, |_| true);
    let first = udp(A, B, 1, 0);
    saw(
        &mut b,
        1,
        HOUR + 2 * MS,
        Place::Drop("NO_SOCKET", "udp_rcv"),
        &first,
    );
    let c = compare(&a, &b);
    assert_eq!(c.totals.lost, 0);
    let from_a = c.flows.iter().find(|f| f.from == Node::A).unwrap();
    assert_eq!(
        from_a.dropped,
        [("NO_SOCKET".to_owned(), "udp_rcv".to_owned(), 1)]
    );
}

/// What A sends to B arrives from another address, as behind a gateway that translates.
fn behind_a_gateway(ip_id: fn(u64) -> u16, packets: u64) -> (Side, Side) {
    const GATEWAY: &str = "192.0.2.9";
    let (mut a, mut b) = (side("a", A), side("b", B));
    for i in 0..packets {
        let at = (i + 1) * MS;
        let there = udp(A, "198.51.100.1", ip_id(i), i as u8);
        saw(&mut a, i + 1, at, Place::Out, &there);
        let came = udp(GATEWAY, B, ip_id(i), i as u8);
        if i != 3 {
            saw(&mut b, i + 1, at + MS / 10, Place::In, &came);
        }
    }
    (a, b)
}

#[test]
fn what_is_translated_between_the_nodes_is_joined_by_its_content() {
    let (a, b) = behind_a_gateway(|i| i as u16 + 7, 10);
    let c = compare(&a, &b);
    assert_eq!(
        (c.totals.sent, c.totals.received, c.totals.lost),
        (10, 9, 1)
    );
    let flow = &c.flows[0];
    assert_eq!(flow.tuple.dst.to_string(), "198.51.100.1");
    assert_eq!(flow.arrives_as.unwrap().src.to_string(), "192.0.2.9");
    assert_eq!(flow.arrives_as.unwrap().dst.to_string(), B);
}

#[test]
fn one_datagram_that_is_equal_by_chance_joins_nothing() {
    let (a, b) = behind_a_gateway(|i| i as u16 + 7, 1);
    let c = compare(&a, &b);
    assert!(c.flows.iter().all(|f| f.arrives_as.is_none()));
    assert_eq!(c.totals.received, 0);
}

#[test]
fn two_flows_with_the_same_content_are_not_told_apart() {
    let (a, mut b) = behind_a_gateway(|i| i as u16 + 7, 10);
    for i in 0..10 {
        let same = udp("192.0.2.10", B, i as u16 + 7, i as u8);
        saw(&mut b, i + 500, (i + 2) * MS, Place::In, &same);
    }
    let c = compare(&a, &b);
    // at most the one packet that only one of them has, which is no proof
    assert!(c.flows.iter().all(|f| f.arrives_as.is_none()));
}

#[test]
fn a_flow_is_found_by_what_a_node_calls_it_inside() {
    let (mut a, b) = sides(|i| i as u16 + 1, |_| true);
    let wire = compare(&a, &b)
        .flows
        .iter()
        .find(|f| f.from == Node::A)
        .unwrap()
        .tuple;
    let pod = crate::event::Tuple {
        src: "10.244.1.10".parse().unwrap(),
        ..wire
    };
    a.translates(crate::event::Nat {
        original: pod,
        translated: wire,
    });
    let mut c = compare(&a, &b);
    c.keep(|t| t.src == pod.src || t.dst == pod.src);
    // the harness's answers have the same ports, and so are of another flow
    assert_eq!(c.flows.len(), 1);
    assert_eq!(c.flows[0].before, Some(pod));
    assert_eq!(c.flows[0].after, None);
}

#[test]
fn captures_with_nothing_in_common_are_no_answer() {
    let c = compare(&side("a", A), &side("b", B));
    assert_eq!(c.totals.sent, 0);
    assert!(!c.open.is_empty());
    let (a, mut b) = sides(|i| i as u16 + 1, |_| true);
    b.packets_lost = 3;
    assert!(!compare(&a, &b).open.is_empty());
}
