//! The part that runs in the kernel: the very function that the BPF programs call.

use std::net::IpAddr;

use proptest::prelude::*;
use tracer_abi::{
    filter::{Clause, FilterProg, MAX_CLAUSES, TEST_FAMILY, TEST_PROTO, TEST_SADDR},
    flow::Outer,
    key,
};

use super::arb;
use crate::{
    event::{Encap, EncapKind, Tuple},
    filter::{Filter, FlowFacts, Lowered, PodFacts},
    inventory::Inventory,
};

fn bytes(a: IpAddr) -> [u8; 16] {
    match a {
        IpAddr::V4(a) => {
            let mut b = [0; 16];
            b[..4].copy_from_slice(&a.octets());
            b
        }
        IpAddr::V6(a) => a.octets(),
    }
}

/// The packet as the kernel side parses it.
fn packet(t: &Tuple, encap: Option<&Encap>) -> (key::Tuple, Outer) {
    let kind = encap.map_or(key::ENCAP_NONE, |e| match e.key.kind {
        EncapKind::Vxlan => key::ENCAP_VXLAN,
        EncapKind::Geneve => key::ENCAP_GENEVE,
        EncapKind::Ipip => key::ENCAP_IPIP,
        EncapKind::Ip6 => key::ENCAP_IP6,
        EncapKind::Gre => key::ENCAP_GRE,
    });
    let inner = key::Tuple {
        saddr: bytes(t.src),
        daddr: bytes(t.dst),
        sport: t.sport,
        dport: t.dport,
        family: if t.src.is_ipv6() { 6 } else { 4 },
        proto: t.proto.0,
        later_fragment: u8::from(t.later_fragment),
        encap: kind,
        vni: encap.and_then(|e| e.key.vni).unwrap_or(0),
    };
    let outer = encap.map_or(Outer::default(), |e| Outer {
        saddr: bytes(e.src),
        daddr: bytes(e.dst),
        sport: e.sport,
        dport: e.dport,
        family: if e.src.is_ipv6() { 6 } else { 4 },
        ..Outer::default()
    });
    (inner, outer)
}

fn lower(text: &str) -> Lowered {
    Filter::parse(text).unwrap().lower()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// What matches in either direction reaches user space; and where the lowering says that it is
    /// exact, nothing else does.
    #[test]
    fn superset(e in arb::wire_expr(), t in arb::tuple(), encap in arb::encap()) {
        let filter = Filter { expr: Some(e) };
        let lowered = filter.lower();
        let facts = FlowFacts { encaps: encap.as_slice(), ..FlowFacts::new(&t) };
        let matches = filter.matches_flow(&facts, &Inventory::default()).is_match();
        let (inner, outer) = packet(&t, encap.as_ref());
        let accepts = lowered.prog.accepts(&inner, &outer);
        prop_assert!(accepts || !matches, "lost: {} {:?}", filter, lowered);
        if lowered.exact {
            prop_assert_eq!(accepts, matches, "inexact: {} {:?}", filter, lowered);
        }
    }

    /// The same with facts that the kernel does not test, whatever they are.
    #[test]
    fn superset_with_facts(
        e in arb::expr(),
        t in arb::tuple(),
        encap in arb::encap(),
        dropped in any::<Option<bool>>(),
        known in any::<bool>(),
    ) {
        let filter = Filter { expr: Some(e) };
        let facts = FlowFacts {
            encaps: encap.as_slice(),
            dropped,
            devs: known.then_some(&[]),
            marks: known.then_some(&[0]),
            tables: known.then_some(&[254]),
            pods: known.then_some(PodFacts {
                src: &[("a", "b")],
                dst: &[],
            }),
            ..FlowFacts::new(&t)
        };
        let (inner, outer) = packet(&t, encap.as_ref());
        if filter.matches_flow(&facts, &Inventory::default()).is_match() {
            prop_assert!(filter.lower().prog.accepts(&inner, &outer), "lost: {}", filter);
        }
    }
}

#[test]
fn clauses_of_common_filters() {
    // (filter, clauses, left to user space)
    let table: &[(&str, u32, &[&str])] = &[
        ("", 0, &[]),
        ("tcp", 1, &[]),
        ("not tcp", 1, &[]),
        ("not ip", 1, &[]),
        ("inner host 10.0.0.1", 1, &[]),
        ("host 10.0.0.1", 2, &[]),
        ("host 10.0.0.1 and host 10.0.0.2", 2, &[]),
        ("host 10.0.0.1 and port 80", 4, &[]),
        ("tcp port 80", 1, &[]),
        ("udp port 8472", 2, &[]),
        ("tcp port 80 or 443", 2, &[]),
        ("dst net fd00::/64", 2, &[]),
        ("vni 42", 1, &[]),
        ("outer host 192.0.2.1 and vni 42 and tcp", 1, &[]),
        ("ip6 and outer ip", 1, &["outer ip"]),
        ("tcp and host 192.0.2.1", 2, &[]),
        ("dev eth0", 0, &["dev eth0"]),
        ("dev eth0 and tcp", 1, &["dev eth0"]),
        ("not drop and tcp", 1, &["drop"]),
        ("tcp or dev eth0", 0, &["dev eth0"]),
        ("not port 22", 1, &["not outer port 22"]),
        ("not vni 42", 0, &["not vni 42"]),
        ("tcp or tcp port 80", 1, &[]),
        ("net 10.0.0.0/8 or host 10.0.0.1", 2, &[]),
        ("src net 10.0.0.0/8 and src net 10.1.0.0/16", 2, &[]),
        ("port 80 and portrange 1-100", 2, &[]),
        ("not proto 1 and not proto 6", 1, &["not tcp"]),
    ];
    for (text, len, rest) in table {
        let l = lower(text);
        assert_eq!(
            (l.prog.len, l.rest.iter().map(String::as_str).collect()),
            (*len, rest.to_vec()),
            "{text}"
        );
        assert_eq!((l.exact, l.note), (rest.is_empty(), None), "{text}");
    }
}

#[test]
fn impossible_and_too_long() {
    for text in [
        "tcp and udp",
        "ip and ip6",
        "src host 10.0.0.1 and src host 10.0.0.2 and inner ip",
    ] {
        let l = lower(text);
        assert!(
            l.note.is_some_and(|n| n.contains("no packet can match")),
            "{text}"
        );
        for family in [4, 6] {
            let t = key::Tuple {
                family,
                proto: 6,
                ..key::Tuple::default()
            };
            assert!(!l.prog.accepts(&t, &Outer::default()), "{text}");
        }
    }
    let hosts: Vec<String> = (1..=20).map(|n| format!("src host 10.0.0.{n}")).collect();
    let l = lower(&hosts.join(" or "));
    assert_eq!((l.prog.len, l.exact, l.rest.len()), (0, false, 1));
    assert!(l.note.is_some_and(|n| n.contains("user space only")));
    // a product that would explode is given up early
    let ports: Vec<String> = (1..=9)
        .map(|n| format!("(port {n} or {n}0 or {n}00)"))
        .collect();
    let l = lower(&format!("not ({})", ports.join(" or ")));
    assert_eq!(l.prog.len, 1, "negated: one clause with the tests that fit");
    let l = lower(
        &ports
            .iter()
            .map(|p| format!("({p} or tcp)"))
            .collect::<Vec<_>>()
            .join(" and "),
    );
    assert!(l.prog.len <= MAX_CLAUSES as u32);
}

#[test]
fn negated_tests_on_the_outer_header() {
    let c = Clause {
        test: TEST_SADDR | TEST_PROTO | TEST_FAMILY,
        not: TEST_SADDR | TEST_PROTO,
        outer: TEST_SADDR | TEST_PROTO | TEST_FAMILY,
        saddr: [u32::from_ne_bytes([10, 0, 0, 1]), 0, 0, 0],
        smask: [u32::MAX, 0, 0, 0],
        sfamily: 4,
        proto: 47,
        family: 4,
        ..Clause::default()
    };
    let mut prog = FilterProg {
        len: 1,
        ..FilterProg::default()
    };
    prog.clauses[0] = c;
    let inner = |encap| key::Tuple {
        family: 6,
        proto: 6,
        encap,
        ..key::Tuple::default()
    };
    let outer = |last| Outer {
        saddr: bytes(IpAddr::from([10, 0, 0, last])),
        daddr: bytes(IpAddr::from([10, 0, 0, last])),
        family: 4,
        ..Outer::default()
    };
    assert!(prog.accepts(&inner(key::ENCAP_VXLAN), &outer(2)));
    assert!(!prog.accepts(&inner(key::ENCAP_VXLAN), &outer(1)));
    assert!(!prog.accepts(&inner(key::ENCAP_GRE), &outer(2)));
    assert!(!prog.accepts(&inner(key::ENCAP_NONE), &Outer::default()));
    // a length from outside that is too long is harmless
    prog.len = u32::MAX;
    assert!(
        prog.accepts(&inner(0), &Outer::default()),
        "clause 1 has no test"
    );
}
