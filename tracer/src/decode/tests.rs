use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use proptest::prelude::{any, prop_assert, proptest};
use rstest::rstest;
use tracer_abi::{
    drop::{DROP_HAS_DEV, DROP_HAS_SOCK, DropKey, DropRecord, DropValue, IcmpKey, IcmpRecord},
    flow::{CHANGE_NEW, CHANGE_ROUTE, FlowRecord, FlowValue, Outer},
    key::{self, DIR_IN, DIR_OUT, ENCAP_KEY, FlowKey},
    record::{
        KIND_DROP, KIND_FLOW, KIND_ICMP_ERROR, KIND_NEIGH, KIND_PACKET, KIND_ROUTE_FAIL, KIND_TCP,
        KIND_XMIT_ERROR, NeighRecord, PacketRecord, RecordHeader, RouteFailRecord, TcpRecord,
    },
    route::{
        ABOUT_EARLY, ABOUT_OTHER_NETNS, ABOUT_OUTPUT, FailKey, FailValue, ROUTE_DST, ROUTE_FAKE,
        ROUTE_LOOKUP, ROUTE_LWTUNNEL, ROUTE_METADATA, ROUTE_NO_DST, ROUTE_OTHER_NEXTHOP, Route,
    },
};
use zerocopy::{Immutable, IntoBytes};

use super::{DecodeError, Decoder, route::decision};
use crate::{
    event::{
        Body, Dir, EncapKind, Event, How, Ifindex, KtimeNs, NetnsId, Proto, RouteDecision,
        RouteKind, TcpWhat, Why,
    },
    inventory::{DropReasons, Names, Symbols},
};

fn decoder() -> Decoder {
    let symbols = [
        (0x1000, "ip_error"),
        (0x2000, "tcp_v4_rcv.isra.0"),
        (0x3000, "last"),
    ];
    let reasons = [(2, "NOT_SPECIFIED"), (88, "IP_INNOROUTES")];
    Decoder::new(Arc::new(Names {
        symbols: Symbols::new(symbols.map(|(a, n)| (a, Arc::from(n)))),
        reasons: DropReasons {
            names: reasons
                .into_iter()
                .map(|(n, s)| (n, Arc::from(s)))
                .collect::<BTreeMap<_, _>>(),
        },
    }))
}

fn v4(a: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&a);
    bytes
}

fn tuple4() -> key::Tuple {
    key::Tuple {
        saddr: v4([10, 0, 0, 1]),
        daddr: v4([10, 0, 0, 2]),
        sport: 40000,
        dport: 80,
        family: 4,
        proto: 6,
        ..key::Tuple::default()
    }
}

fn flow_key() -> FlowKey {
    let (netns, ifindex, iif, dir) = (7, 3, 2, DIR_OUT);
    FlowKey {
        tuple: tuple4(),
        netns,
        ifindex,
        iif,
        dir,
        reserved: [0; 3],
    }
}

fn dst_route() -> Route {
    Route {
        oif: 3,
        kind: 1,
        prefix_len: 255,
        how: ROUTE_DST,
        ..Route::default()
    }
}

fn flow_record() -> FlowRecord {
    let value = FlowValue {
        packets: 5,
        bytes: 500,
        joined: 2,
        first_ns: 10,
        last_ns: 20,
        route: dst_route(),
        vlan: 0x2001,
        tcp_flags: 0x12,
        ..FlowValue::default()
    };
    FlowRecord {
        key: flow_key(),
        change: CHANGE_NEW | CHANGE_ROUTE,
        value,
    }
}

fn bytes<T: IntoBytes + Immutable>(kind: u16, payload: &T) -> Vec<u8> {
    let len = size_of::<T>() as u32;
    let mut bytes = RecordHeader {
        ts_ns: 99,
        kind,
        cpu: 1,
        len,
    }
    .as_bytes()
    .to_vec();
    bytes.extend_from_slice(payload.as_bytes());
    bytes
}

/// A good record of each kind.
fn records() -> Vec<Vec<u8>> {
    let drop = DropRecord {
        key: DropKey {
            location: 0x1004,
            flow: flow_key(),
            reason: 88,
        },
        value: DropValue {
            count: 2,
            flags: DROP_HAS_DEV,
            ..DropValue::default()
        },
    };
    let fail = RouteFailRecord {
        key: FailKey {
            tuple: tuple4(),
            netns: 7,
        },
        value: FailValue {
            errno: 101,
            comm: *b"curl\0garbage1234",
            ..FailValue::default()
        },
    };
    let icmp = IcmpRecord {
        key: IcmpKey {
            about: tuple4(),
            from: v4([10, 9, 9, 9]),
            dir: 1,
            ..IcmpKey::default()
        },
        ..IcmpRecord::default()
    };
    let address = v4([10, 0, 0, 9]);
    let neigh = NeighRecord {
        address,
        state: 0x20,
        family: 4,
        ..NeighRecord::default()
    };
    let tcp = TcpRecord {
        tuple: tuple4(),
        netns: 7,
        what: 1,
        ..TcpRecord::default()
    };
    let packet = PacketRecord {
        key: flow_key(),
        len: 60,
        segs: 1,
        ..PacketRecord::default()
    };
    vec![
        bytes(KIND_FLOW, &flow_record()),
        bytes(KIND_DROP, &drop),
        bytes(
            KIND_XMIT_ERROR,
            &DropRecord {
                key: DropKey {
                    location: 0,
                    ..drop.key
                },
                ..drop
            },
        ),
        bytes(KIND_ROUTE_FAIL, &fail),
        bytes(KIND_ICMP_ERROR, &icmp),
        bytes(KIND_NEIGH, &neigh),
        bytes(KIND_TCP, &tcp),
        bytes(KIND_PACKET, &packet),
    ]
}

fn body(record: &[u8]) -> Body {
    let event = decoder().decode(record).unwrap().unwrap();
    assert_eq!(event.at, KtimeNs(99));
    event.body
}

#[test]
fn a_flow_is_decoded() {
    let Body::Hop(hop) = body(&bytes(KIND_FLOW, &flow_record())) else {
        panic!("no hop")
    };
    assert_eq!(hop.key.tuple.src, IpAddr::from([10, 0, 0, 1]));
    assert_eq!(hop.key.tuple.proto, Proto::TCP);
    assert_eq!(
        (hop.key.dev, hop.key.in_dev),
        (Ifindex(3), Some(Ifindex(2)))
    );
    assert_eq!(
        (hop.key.netns, hop.key.dir, hop.key.encap),
        (NetnsId(7), Dir::Out, None)
    );
    assert_eq!((hop.counters.packets, hop.counters.skbs), (5, 3));
    assert_eq!(
        (hop.counters.first, hop.counters.last),
        (KtimeNs(10), KtimeNs(20))
    );
    assert_eq!((hop.vlan, hop.tcp_flags), (1, 0x12));
    assert!(hop.change.new && hop.change.route && !hop.change.outer);
    assert_eq!(hop.route.unwrap().how, How::Cached);
}

#[test]
fn what_comes_in_has_no_decision_but_that_it_stays_and_no_in_device() {
    let mut record = flow_record();
    record.key.dir = DIR_IN;
    for (route, expected) in [
        (Route::default(), None),
        (
            Route {
                kind: 2,
                table: 255,
                how: ROUTE_LOOKUP,
                ..Route::default()
            },
            Some((RouteKind::Local, Some(255), How::Lookup)),
        ),
    ] {
        record.value.route = route;
        let Body::Hop(hop) = body(&bytes(KIND_FLOW, &record)) else {
            panic!("no hop")
        };
        let decision = hop.route.map(|r| (r.kind, r.table, r.how));
        assert_eq!((decision, hop.key.in_dev), (expected, None));
    }
}

#[rstest]
#[case(1, 7, EncapKind::Vxlan, Some(7))]
#[case(1, 0, EncapKind::Vxlan, Some(0))]
#[case(2, 9, EncapKind::Geneve, Some(9))]
#[case(3, 0, EncapKind::Ipip, None)]
#[case(4, 0, EncapKind::Ip6, None)]
#[case(5, 0, EncapKind::Gre, None)]
#[case(5, 4, EncapKind::Gre, Some(4))]
fn encapsulation(
    #[case] encap: u8,
    #[case] vni: u32,
    #[case] kind: EncapKind,
    #[case] expected: Option<u32>,
) {
    let mut record = flow_record();
    record.key.tuple.encap = encap;
    record.key.tuple.vni = vni;
    let outer = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    record.value.outer = Outer {
        saddr: outer.octets(),
        family: 6,
        df: 1,
        ..Outer::default()
    };
    let Body::Hop(hop) = body(&bytes(KIND_FLOW, &record)) else {
        panic!("no hop")
    };
    let key = hop.key.encap.unwrap();
    assert_eq!((key.kind, key.vni), (kind, expected));
    let seen = hop.encap.unwrap();
    assert_eq!(
        (seen.key, seen.src, seen.df),
        (key, IpAddr::V6(outer), true)
    );

    record.value.outer = Outer::default();
    let Body::Hop(hop) = body(&bytes(KIND_FLOW, &record)) else {
        panic!("no hop")
    };
    assert_eq!((hop.key.encap, hop.encap), (Some(key), None));
}

#[rstest]
#[case(ROUTE_DST, Some(How::Cached))]
#[case(ROUTE_DST | ROUTE_LOOKUP, Some(How::Lookup))]
#[case(ROUTE_LOOKUP, Some(How::Lookup))]
#[case(ROUTE_DST | ROUTE_LOOKUP | ROUTE_OTHER_NEXTHOP, Some(How::Dst))]
#[case(ROUTE_DST | ROUTE_OTHER_NEXTHOP, Some(How::Dst))]
#[case(ROUTE_DST | ROUTE_LWTUNNEL, Some(How::Cached))]
#[case(ROUTE_NO_DST, Some(How::Inferred))]
#[case(ROUTE_DST | ROUTE_FAKE, Some(How::Inferred))]
#[case(ROUTE_DST | ROUTE_METADATA, None)]
#[case(0, None)]
fn how_a_decision_is_known(#[case] how: u8, #[case] expected: Option<How>) {
    let route = Route {
        how,
        lwt_vni: 5,
        ..dst_route()
    };
    let decision = decision(&route).unwrap();
    assert_eq!(decision.map(|d| d.how), expected);
    if let Some(decision) = decision {
        assert_eq!(decision.bridged, how & ROUTE_FAKE != 0);
        assert_eq!(decision.lwtunnel.is_some(), how & ROUTE_LWTUNNEL != 0);
        let inferred = decision.how == How::Inferred;
        assert_eq!(decision.dev, (!inferred).then_some(Ifindex(3)));
        assert_eq!(decision.kind == RouteKind::Unknown, inferred);
        assert_eq!(decision.bypass, how & ROUTE_NO_DST != 0);
    }
}

/// Its device numbers and tables are those of the other namespace.
#[test]
fn a_route_of_another_namespace_is_no_decision_here() {
    let route = Route {
        about: ABOUT_OTHER_NETNS,
        table: 254,
        ..dst_route()
    };
    let wanted = RouteDecision {
        why: Some(Why::OtherNetns),
        ..RouteDecision::unknown(How::Unknown)
    };
    assert_eq!(decision(&route).unwrap(), Some(wanted));
}

/// Where the program at the device was not attached yet there is the lookup alone, or nothing.
#[test]
fn what_left_early_is_known_by_its_lookup_or_not() {
    let nothing = Route {
        about: ABOUT_EARLY,
        ..Route::default()
    };
    let unknown = RouteDecision {
        why: Some(Why::Early),
        ..RouteDecision::unknown(How::Unknown)
    };
    assert_eq!(super::route::of_sent(&nothing).unwrap(), Some(unknown));
    let looked_up = Route {
        how: ROUTE_LOOKUP,
        kind: 1,
        table: 254,
        oif: 3,
        ..nothing
    };
    let seen = super::route::of_sent(&looked_up).unwrap().unwrap();
    assert_eq!((seen.table, seen.dev), (Some(254), Some(Ifindex(3))));
    assert_eq!((seen.bypass, seen.how), (false, How::Lookup));
}

#[test]
fn what_a_program_looked_up_is_kept_with_the_redirect() {
    let by_fib_lookup = Route {
        how: ROUTE_NO_DST | ROUTE_LOOKUP,
        table: 254,
        oif: 3,
        ..Route::default()
    };
    let seen = decision(&by_fib_lookup).unwrap().unwrap();
    assert_eq!((seen.table, seen.dev), (Some(254), Some(Ifindex(3))));
    assert_eq!((seen.bypass, seen.how), (true, How::Inferred));

    let found_nothing = Route {
        error: 101,
        ..by_fib_lookup
    };
    let seen = decision(&found_nothing).unwrap().unwrap();
    assert_eq!((seen.table, seen.dev, seen.errno), (None, None, 0));

    let redirected_to_neighbour = Route {
        how: ROUTE_DST | ROUTE_LOOKUP,
        about: ABOUT_OUTPUT,
        ..dst_route()
    };
    let seen = decision(&redirected_to_neighbour).unwrap().unwrap();
    assert_eq!((seen.bypass, seen.how), (true, How::Lookup));
}

#[test]
fn a_packet_sent_with_a_metadata_dst_was_not_routed() {
    let mut record = flow_record();
    record.key.dir = DIR_OUT;
    record.key.tuple.encap = ENCAP_KEY;
    record.key.tuple.vni = 42;
    record.value.route = Route {
        how: ROUTE_METADATA,
        ..Route::default()
    };
    let Body::Hop(hop) = body(&bytes(KIND_FLOW, &record)) else {
        panic!("no hop")
    };
    let route = hop.route.unwrap();
    assert_eq!((route.bypass, route.how), (true, How::Inferred));
    assert_eq!((hop.key.encap, hop.key.tunnel_key), (None, Some(42)));
}

#[test]
fn a_decision_from_nothing_is_refused() {
    for how in [ROUTE_LWTUNNEL, ROUTE_LOOKUP | ROUTE_OTHER_NEXTHOP] {
        let error = decision(&Route { how, ..dst_route() }).unwrap_err();
        assert_eq!(error, DecodeError::How(how));
    }
}

#[rstest]
#[case(1, 0, RouteKind::Unicast)]
#[case(2, 0, RouteKind::Local)]
#[case(6, 22, RouteKind::Blackhole)]
#[case(0, 101, RouteKind::None)]
#[case(0, 22, RouteKind::Blackhole)]
#[case(0, 113, RouteKind::Unreachable)]
#[case(0, 13, RouteKind::Prohibit)]
#[case(0, 5, RouteKind::Unknown)]
// IPv4 input refuses everything with type unreachable, and IPv6's null entry has it too
#[case(7, 101, RouteKind::None)]
#[case(7, 22, RouteKind::Blackhole)]
#[case(7, 13, RouteKind::Prohibit)]
#[case(7, 113, RouteKind::Unreachable)]
// IPv6 leaves negative errnos
#[case(7, (-101_i32).cast_unsigned(), RouteKind::None)]
fn result_types(#[case] rtn: u8, #[case] error: u32, #[case] kind: RouteKind) {
    let decision = decision(&Route {
        kind: rtn,
        error,
        ..dst_route()
    })
    .unwrap()
    .unwrap();
    assert_eq!(decision.kind, kind);
    assert_eq!(decision.errno, error.cast_signed().unsigned_abs());
    let usable = matches!(
        kind,
        RouteKind::Unicast | RouteKind::Local | RouteKind::Unknown
    );
    assert_eq!(decision.dev.is_some(), usable);
}

#[test]
fn unknown_numbers_are_none() {
    let none = decision(&dst_route()).unwrap().unwrap();
    assert_eq!(
        (none.table, none.gateway, none.prefix_len),
        (None, None, None)
    );
    assert_eq!((none.metric, none.pmtu), (None, None));
    let gateway = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let all = Route {
        gateway: gateway.octets(),
        gw_family: 6,
        table: 254,
        prefix_len: 24,
        metric: 100,
        pmtu: 1400,
        ..dst_route()
    };
    let all = decision(&all).unwrap().unwrap();
    assert_eq!(
        (all.table, all.gateway),
        (Some(254), Some(IpAddr::V6(gateway)))
    );
    assert_eq!(
        (all.prefix_len, all.metric, all.pmtu),
        (Some(24), Some(100), Some(1400))
    );
    let error = decision(&Route {
        gw_family: 10,
        ..dst_route()
    })
    .unwrap_err();
    assert_eq!(error, DecodeError::Family(10));
}

#[rstest]
#[case(0x1004, 88, DROP_HAS_DEV, ("IP_INNOROUTES", "ip_error"), true)]
#[case(0x2010, 2, DROP_HAS_DEV, ("NOT_SPECIFIED", "tcp_v4_rcv"), false)]
#[case(0x1, 2, DROP_HAS_DEV, ("NOT_SPECIFIED", "?"), true)]
#[case(0x1, 2, DROP_HAS_SOCK, ("NOT_SPECIFIED", "?"), false)]
#[case(0x1004, 4711, DROP_HAS_DEV, ("REASON_4711", "ip_error"), true)]
#[case(0, 0, DROP_HAS_DEV, ("NOT_SPECIFIED", "net_dev_xmit"), true)]
fn drops(
    #[case] location: u64,
    #[case] reason: u32,
    #[case] flags: u32,
    #[case] names: (&str, &str),
    #[case] loss: bool,
) {
    let key = DropKey {
        location,
        flow: flow_key(),
        reason,
    };
    let value = DropValue {
        count: 2,
        bytes: 200,
        flags,
        mtu: 1500,
        ..DropValue::default()
    };
    let event = decoder()
        .drop(&DropRecord { key, value }, KtimeNs(1))
        .unwrap();
    let Body::Drop(drop) = event.body else {
        panic!("no drop")
    };
    assert_eq!((&*drop.place.reason, &*drop.place.symbol), names);
    assert_eq!(
        (drop.loss, drop.count, drop.mtu, drop.route),
        (loss, 2, Some(1500), None)
    );
    assert_eq!(
        drop.place.dev,
        (flags == DROP_HAS_DEV).then_some(Ifindex(3))
    );
    assert_eq!(drop.has_sock, flags == DROP_HAS_SOCK);
    assert_eq!(
        (drop.place.in_dev, drop.place.netns),
        (Some(Ifindex(2)), Some(NetnsId(7)))
    );
}

#[test]
fn a_drop_may_have_no_addresses() {
    let key = DropKey {
        location: 0x3000,
        reason: 2,
        ..DropKey::default()
    };
    let event = decoder()
        .drop(
            &DropRecord {
                key,
                ..DropRecord::default()
            },
            KtimeNs(1),
        )
        .unwrap();
    let Body::Drop(drop) = event.body else {
        panic!("no drop")
    };
    assert_eq!((drop.tuple, drop.encap, drop.mtu), (None, None, None));
    assert_eq!(
        (drop.place.netns, drop.place.dev, drop.place.in_dev),
        (None, None, None)
    );
}

#[test]
fn rare_events_are_decoded() {
    let bodies: Vec<Body> = records().iter().map(|r| body(r)).collect();
    let [
        ..,
        Body::RouteFailure(fail),
        Body::Icmp(icmp),
        Body::Neigh(neigh),
        Body::Tcp(tcp),
        _,
    ] = bodies.as_slice()
    else {
        panic!("other order: {bodies:?}")
    };
    assert_eq!(
        (fail.comm.as_str(), fail.errno, fail.netns),
        ("curl", 101, NetnsId(7))
    );
    assert_eq!(
        (icmp.from, icmp.dir),
        (IpAddr::from([10, 9, 9, 9]), Dir::Out)
    );
    assert_eq!((icmp.mtu, icmp.local), (None, false));
    assert_eq!(neigh.address, IpAddr::from([10, 0, 0, 9]));
    assert_eq!((tcp.what, tcp.tuple.dport), (TcpWhat::Retransmit, 80));
    let Some(Body::Packet(packet)) = bodies.last() else {
        panic!("no packet")
    };
    assert_eq!(
        (packet.len, packet.segs, packet.key.dev),
        (60, 1, Ifindex(3))
    );
}

#[test]
fn a_neighbour_that_did_not_fail_is_no_event() {
    let neigh = NeighRecord {
        state: 0x02,
        family: 4,
        ..NeighRecord::default()
    };
    assert_eq!(decoder().decode(&bytes(KIND_NEIGH, &neigh)), Ok(None));
}

#[test]
fn impossible_values_are_refused() {
    let refused = |record: FlowRecord| decoder().decode(&bytes(KIND_FLOW, &record)).unwrap_err();
    let mut record = flow_record();
    record.key.tuple.family = 5;
    assert_eq!(refused(record), DecodeError::Family(5));
    let mut record = flow_record();
    record.key.tuple.family = 0;
    assert_eq!(refused(record), DecodeError::Family(0));
    let mut record = flow_record();
    record.key.dir = 2;
    assert_eq!(refused(record), DecodeError::Dir(2));
    let mut record = flow_record();
    record.key.tuple.encap = 7;
    assert_eq!(refused(record), DecodeError::Encap(7));
    let tcp = TcpRecord {
        tuple: tuple4(),
        what: 9,
        ..TcpRecord::default()
    };
    assert_eq!(
        decoder().decode(&bytes(KIND_TCP, &tcp)),
        Err(DecodeError::Tcp(9))
    );
    assert_eq!(
        decoder().decode(&bytes(77, &tcp)),
        Err(DecodeError::Kind(77))
    );
    assert_eq!(decoder().decode(&bytes(0, &tcp)), Err(DecodeError::Kind(0)));
}

#[test]
fn every_truncation_is_refused() {
    for record in records() {
        for len in 0..record.len() {
            let error = decoder().decode(&record[..len]).unwrap_err();
            assert!(
                matches!(error, DecodeError::Short { .. }),
                "{error} at {len}"
            );
        }
        // a header that promises less than the kind needs, and one that promises more
        for len in [0, 8, u32::MAX] {
            let mut wrong = record.clone();
            wrong[12..16].copy_from_slice(&len.to_le_bytes());
            let error = decoder().decode(&wrong).unwrap_err();
            assert!(matches!(error, DecodeError::Short { .. }), "{error}");
        }
        // the ring buffer rounds up to 8 bytes
        let mut longer = record.clone();
        longer.extend([0xff; 7]);
        assert_eq!(decoder().decode(&longer), decoder().decode(&record));
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(record in proptest::collection::vec(any::<u8>(), 0..400)) {
        let result: Result<Option<Event>, DecodeError> = decoder().decode(&record);
        prop_assert!(record.len() >= 16 || result.is_err());
    }

    #[test]
    fn damaged_records_never_panic(
        n in 0usize..8,
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut record = records().swap_remove(n);
        for (at, value) in flips {
            let at = at.index(record.len());
            record[at] = value;
        }
        if let Ok(Some(Event { body: Body::Hop(hop), .. })) = decoder().decode(&record) {
            prop_assert!(hop.vlan < 4096);
        }
    }
}

/// A translated packet: as it came in, and as what.
fn translated(flags: u8) -> FlowRecord {
    let mut record = flow_record();
    record.key.dir = DIR_OUT;
    record.value.nat = tracer_abi::nat::Nat {
        saddr: [10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        daddr: [10, 9, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        sport: 4000,
        dport: 80,
        flags,
        reserved: [0; 3],
    };
    record
}

#[test]
fn a_translation_names_both_sides_as_the_client_sent() {
    use tracer_abi::nat::{NAT_ORIGINAL, NAT_RELATED, NAT_REPLY};
    let nat = |flags| -> (Option<crate::event::Nat>, crate::event::Tuple) {
        let event = decoder().flow(&translated(flags), KtimeNs(0)).unwrap();
        match event.body {
            Body::Hop(hop) => (hop.nat, hop.key.tuple),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(nat(0).0, None);
    for flags in [NAT_ORIGINAL, NAT_RELATED] {
        let (found, wire) = nat(flags);
        let found = found.unwrap();
        assert_eq!(found.translated, wire);
        assert_eq!(
            (found.original.dst, found.original.dport),
            (ip("10.9.0.2"), 80)
        );
    }
    let (found, wire) = nat(NAT_REPLY);
    let found = found.unwrap();
    assert_eq!(found.original, wire.reversed());
    assert_eq!(
        (found.translated.src, found.translated.sport),
        (ip("10.9.0.2"), 80)
    );
    let error = decoder().flow(&translated(3), KtimeNs(0)).unwrap_err();
    assert_eq!(error, DecodeError::Nat(3));
}

#[test]
fn a_drop_is_named_by_the_addresses_of_the_client() {
    use tracer_abi::nat::{NAT_ORIGINAL, NAT_REPLY};
    let mut record = DropRecord {
        key: DropKey {
            flow: flow_key(),
            ..DropKey::default()
        },
        value: DropValue::default(),
    };
    for (flags, reply) in [(NAT_ORIGINAL, false), (NAT_REPLY, true)] {
        record.value.nat = translated(flags).value.nat;
        let event = decoder().drop(&record, KtimeNs(0)).unwrap();
        let Body::Drop(drop) = event.body else {
            panic!("{event:?}")
        };
        let original = drop.original.unwrap();
        let client = if reply { original.reversed() } else { original };
        assert_eq!((client.src, client.dport), (ip("10.9.0.1"), 80));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
