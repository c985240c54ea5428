//! Messages of the kernel, whole and damaged.

use proptest::prelude::*;
use rstest::rstest;

use super::{neighbour, nexthop::NexthopObjects, route, rule};
use crate::{
    event::{Ifindex, RouteKind},
    inventory::{Route, Rule, RuleAction},
    net::wire::{Defects, push_attr},
};

type Attrs<'a> = &'a [(u16, &'a [u8])];

fn message(header: &[u8], attrs: Attrs<'_>) -> Vec<u8> {
    let mut body = header.to_vec();
    for (kind, data) in attrs {
        push_attr(&mut body, *kind, data);
    }
    body
}

fn route_message(kind: u8, attrs: Attrs<'_>) -> Vec<u8> {
    let header = [2, 16, 0, 0, 254, 4, 253, kind, 0, 0, 0, 0];
    let mut all = vec![(1, &[10, 9, 0, 0][..])];
    all.extend_from_slice(attrs);
    message(&header, &all)
}

fn parse_route(body: &[u8]) -> Route {
    let defects = Defects::default();
    let route = route::parse(body, &NexthopObjects::default(), &defects).unwrap();
    assert_eq!(defects.count(), 0);
    route
}

#[test]
fn a_plain_route_is_read() {
    let (table, metric, dev) = (
        1000u32.to_ne_bytes(),
        5u32.to_ne_bytes(),
        7u32.to_ne_bytes(),
    );
    let attrs: Attrs<'_> = &[
        (15, &table),
        (6, &metric),
        (4, &dev),
        (5, &[10, 0, 0, 2]),
        (7, &[10, 0, 0, 1]),
        (99, &[1, 2, 3]),
    ];
    let route = parse_route(&route_message(1, attrs));
    assert_eq!(route.dst.to_string(), "10.9.0.0/16");
    assert_eq!((route.table, route.metric, route.protocol), (1000, 5, 4));
    assert_eq!(route.prefsrc.unwrap().to_string(), "10.0.0.1");
    let hop = &route.nexthops[0];
    assert_eq!(hop.gateway.unwrap().to_string(), "10.0.0.2");
    assert_eq!(hop.dev, Some(Ifindex(7)));
}

#[test]
fn every_hop_of_a_multipath_route_is_read() {
    let hop = |dev: u32, hops: u8, flags: u8, last: u8| {
        let mut data = vec![16, 0, flags, hops];
        data.extend_from_slice(&dev.to_ne_bytes());
        push_attr(&mut data, 5, &[10, 0, 0, last]);
        data
    };
    let both = [hop(7, 2, 0, 1), hop(8, 0, 4 | 16, 2)].concat();
    let route = parse_route(&route_message(1, &[(9, &both)]));
    let hops: Vec<_> = route
        .nexthops
        .iter()
        .map(|n| (n.dev.unwrap().0, n.weight, n.onlink, n.dead))
        .collect();
    assert_eq!(hops, [(7, 3, false, false), (8, 1, true, true)]);
}

#[test]
fn a_reject_route_has_no_next_hop() {
    let lo = 1u32.to_ne_bytes();
    let route = parse_route(&route_message(6, &[(4, &lo)]));
    assert_eq!(route.kind, RouteKind::Blackhole);
    assert!(route.nexthops.is_empty());
}

#[test]
fn a_gateway_of_the_other_family_is_read() {
    let mut via = vec![10, 0];
    via.extend_from_slice(&"fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    let route = parse_route(&route_message(1, &[(18, &via)]));
    assert_eq!(route.nexthops[0].gateway.unwrap().to_string(), "fd00::2");
}

#[test]
fn a_lightweight_tunnel_reads_as_ip_prints_it() {
    let mut encap = Vec::new();
    push_attr(&mut encap, 1, &7u64.to_be_bytes());
    push_attr(&mut encap, 2, &[10, 0, 0, 2]);
    push_attr(&mut encap, 4, &[64]);
    let (kind, dev) = (2u16.to_ne_bytes(), 7u32.to_ne_bytes());
    let attrs: Attrs<'_> = &[(22, &encap), (21, &kind), (4, &dev)];
    let route = parse_route(&route_message(1, attrs));
    let text = route.nexthops[0].encap.as_deref();
    assert_eq!(text, Some("ip id 7 src 0.0.0.0 dst 10.0.0.2 ttl 64 tos 0"));
}

fn parse_rule(action: u8, flags: u8, table: u8, attrs: Attrs<'_>) -> Rule {
    let header = [2, 0, 24, 0, table, 0, 0, action, flags, 0, 0, 0];
    let defects = Defects::default();
    let rule = rule::parse(&message(&header, attrs), &defects).unwrap();
    assert_eq!(defects.count(), 0);
    rule
}

#[rstest]
#[case([1, 0, 254], &[], "from 10.1.2.0/24 lookup main", RuleAction::Lookup)]
#[case([1, 2, 100], &[], "not from 10.1.2.0/24 lookup 100", RuleAction::Lookup)]
#[case([1, 0, 0], &[], "from 10.1.2.0/24 lookup [l3mdev-table]", RuleAction::Lookup)]
#[case(
    [1, 8, 9], &[(3, &b"gone0\0"[..])],
    "from 10.1.2.0/24 iif gone0 [detached] lookup 9", RuleAction::Lookup
)]
#[case(
    [2, 4, 0], &[(4, &[7, 0, 0, 0][..])],
    "from 10.1.2.0/24 goto 7 [unresolved]", RuleAction::Goto(7)
)]
#[case(
    [1, 0, 9], &[(10, &[1, 0, 0, 0][..]), (16, &[255, 0, 0, 0][..]), (22, &[6][..]), (24, &[80, 0, 80, 0][..])],
    "from 10.1.2.0/24 fwmark 0x1/0xff ipproto tcp dport 80 lookup 9", RuleAction::Lookup
)]
#[case([8, 0, 0], &[(21, &[4][..])], "from 10.1.2.0/24 prohibit proto static", RuleAction::Prohibit)]
#[case([3, 0, 0], &[], "from 10.1.2.0/24 nop", RuleAction::Nop)]
#[case(
    [1, 0, 254], &[(14, &[0, 0, 0, 0][..])],
    "from 10.1.2.0/24 lookup main suppress_prefixlength 0", RuleAction::Lookup
)]
#[case(
    [1, 0, 254], &[(14, &[255, 255, 255, 255][..])],
    "from 10.1.2.0/24 lookup main", RuleAction::Lookup
)]
#[cfg(target_endian = "little")]
fn a_rule_reads_as_ip_prints_it(
    #[case] numbers: [u8; 3],
    #[case] attrs: Attrs<'_>,
    #[case] text: &str,
    #[case] expected: RuleAction,
) {
    let [action, flags, table] = numbers;
    let mut all = vec![(2, &[10, 1, 2, 0][..])];
    all.extend_from_slice(attrs);
    let rule = parse_rule(action, flags, table, &all);
    assert_eq!((rule.text.as_str(), rule.action), (text, expected));
}

#[rstest]
#[case::resolved(0x02, 0, &[10, 0, 0, 9], Some("REACHABLE"))]
#[case::failed(0x20, 0, &[10, 0, 0, 9], Some("FAILED"))]
#[case::no_state(0, 0, &[10, 0, 0, 9], None)]
#[case::proxy(0x80, 8, &[10, 0, 0, 9], None)]
#[case::multicast(0x40, 0, &[224, 0, 0, 1], None)]
#[cfg(target_endian = "little")]
fn neighbours_are_read(
    #[case] state: u8,
    #[case] flags: u8,
    #[case] address: &[u8],
    #[case] expected: Option<&str>,
) {
    let header = [2, 0, 0, 0, 7, 0, 0, 0, state, 0, flags, 1];
    let attrs: Attrs<'_> = &[(1, address), (2, &[2, 0, 0, 0, 0, 9])];
    let found = neighbour::parse(&message(&header, attrs), &Defects::default());
    assert_eq!(found.as_ref().map(|n| n.state.as_str()), expected);
    if let Some(n) = found {
        assert_eq!(
            (n.mac.as_deref(), n.dev),
            (Some("02:00:00:00:00:09"), Ifindex(7))
        );
    }
}

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), len)
}

proptest! {
    #[test]
    fn any_bytes_are_survived(body in bytes(0..300)) {
        let (defects, objects) = (Defects::default(), NexthopObjects::default());
        let found = (
            route::parse(&body, &objects, &defects).is_some(),
            rule::parse(&body, &defects).is_some(),
            neighbour::parse(&body, &defects).is_some(),
        );
        prop_assert!(body.len() >= 12 || found == (false, false, false));
    }

    /// Attributes of every number with any payload, so that each one's reader sees rubbish.
    #[test]
    fn rubbish_in_any_attribute_is_survived(
        family in prop::sample::select(vec![2u8, 10, 0, 255]),
        attrs in proptest::collection::vec((0u16..32, bytes(0..40)), 0..12),
    ) {
        let mut body = vec![family, 24, 24, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        for (kind, data) in &attrs {
            push_attr(&mut body, *kind, data);
        }
        let (defects, objects) = (Defects::default(), NexthopObjects::default());
        if let Some(route) = route::parse(&body, &objects, &defects) {
            prop_assert!(route.dst.len <= 128);
        }
        if let Some(rule) = rule::parse(&body, &defects) {
            prop_assert!(!rule.text.is_empty());
        }
        drop(neighbour::parse(&body, &defects));
    }
}
