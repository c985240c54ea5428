//! Random filters, tuples and encapsulations. Few values, so that they meet often.

use std::net::IpAddr;

use proptest::{prelude::*, sample::select};

use crate::{
    event::{Encap, EncapKey, EncapKind, NetnsId, Proto, Tuple},
    filter::{Atom, Expr, Family, Layer, NetnsRef, Side},
    inventory::Prefix,
};

const ADDRESSES: &[&str] = &[
    "10.0.0.1",
    "10.0.0.2",
    "10.0.1.1",
    "192.0.2.1",
    "192.0.2.2",
    "fd00::1",
    "fd00::2",
    "fd00:0:0:1::1",
    "a00:1::",
    "::ffff:10.0.0.1",
];
const PORTS: &[u16] = &[0, 22, 53, 80, 81, 443, 4789, 8472, 40000, 65535];

pub(super) fn address() -> impl Strategy<Value = IpAddr> {
    select(ADDRESSES).prop_map(|a| a.parse().unwrap())
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (
        address(),
        select(&[0u8, 8, 23, 24, 31, 32, 64, 127, 128][..]),
    )
        .prop_map(|(a, len)| Prefix::new(a, len))
}

fn any_layer() -> impl Strategy<Value = Layer> {
    select(&[Layer::Any, Layer::Any, Layer::Inner, Layer::Outer][..])
}

fn one_layer() -> impl Strategy<Value = Layer> {
    select(&[Layer::Inner, Layer::Inner, Layer::Outer][..])
}

fn side() -> impl Strategy<Value = Side> {
    select(&[Side::Src, Side::Dst, Side::Either, Side::Both][..])
}

fn family() -> impl Strategy<Value = Family> {
    select(&[Family::V4, Family::V6][..])
}

fn proto() -> impl Strategy<Value = Proto> {
    select(&[1u8, 4, 6, 17, 41, 47, 58, 132][..]).prop_map(Proto)
}

/// Primitives that the kernel can test.
pub(super) fn wire_atom() -> impl Strategy<Value = Atom> {
    let ports = (select(PORTS), select(PORTS)).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let ports = prop_oneof![ports, select(PORTS).prop_map(|p| (p, p))];
    let transport = select(
        &[
            None,
            None,
            Some(Proto::TCP),
            Some(Proto::UDP),
            Some(Proto::SCTP),
        ][..],
    );
    prop_oneof![
        4 => (any_layer(), side(), prefix()).prop_map(|(layer, side, net)| Atom::Net { layer, side, net }),
        4 => (any_layer(), side(), transport, ports).prop_map(
            |(layer, side, proto, (first, last))| Atom::Port { layer, side, proto, first, last }
        ),
        1 => (one_layer(), family()).prop_map(|(layer, family)| Atom::Family { layer, family }),
        2 => (one_layer(), proptest::option::weighted(0.3, family()), proto())
            .prop_map(|(layer, family, proto)| Atom::Proto { layer, family, proto }),
        1 => (0u32..4).prop_map(Atom::Vni),
    ]
}

fn fact_atom() -> impl Strategy<Value = Atom> {
    let netns = prop_oneof![
        "[a-z][a-z0-9-]{0,6}".prop_map(NetnsRef::Name),
        (0xf000_0000u32..).prop_map(|n| NetnsRef::Inode(NetnsId(n))),
        (1u32..0xf000_0000).prop_map(NetnsRef::Pid),
    ];
    prop_oneof![
        "[a-z][a-z0-9.@*-]{0,9}".prop_map(Atom::Dev),
        Just(Atom::Dev("ip".to_owned())),
        netns.prop_map(Atom::Netns),
        (any::<u32>(), any::<u32>()).prop_map(|(v, mask)| Atom::Mark {
            value: v & mask,
            mask
        }),
        (0u32..300).prop_map(Atom::Table),
        "[A-Z*][A-Z0-9_*]{0,9}".prop_map(Atom::Reason),
        Just(Atom::Drop),
        (side(), "[a-z*]{1,5}", "[a-z0-9*-]{1,5}").prop_map(|(side, namespace, name)| Atom::Pod {
            side,
            namespace,
            name
        }),
    ]
}

/// Trees in canonical form from `atom`.
pub(super) fn tree(atom: BoxedStrategy<Atom>) -> impl Strategy<Value = Expr> {
    atom.prop_map(Expr::Atom).prop_recursive(4, 16, 3, |inner| {
        let some = || proptest::collection::vec(inner.clone(), 2..=3);
        prop_oneof![
            inner.clone().prop_map(|e| Expr::Not(Box::new(e))),
            some().prop_map(|v| v.into_iter().reduce(Expr::and).unwrap()),
            some().prop_map(|v| v.into_iter().reduce(Expr::or).unwrap()),
        ]
    })
}

pub(super) fn wire_expr() -> impl Strategy<Value = Expr> {
    tree(wire_atom().boxed())
}

pub(super) fn expr() -> impl Strategy<Value = Expr> {
    tree(prop_oneof![2 => wire_atom(), 1 => fact_atom()].boxed())
}

fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let family = |v6| {
        let all: Vec<IpAddr> = ADDRESSES.iter().map(|a| a.parse().unwrap()).collect();
        select(
            all.into_iter()
                .filter(|a| a.is_ipv6() == v6)
                .collect::<Vec<_>>(),
        )
    };
    prop_oneof![(family(false), family(false)), (family(true), family(true))]
}

pub(super) fn tuple() -> impl Strategy<Value = Tuple> {
    (
        ends(),
        proto(),
        select(PORTS),
        select(PORTS),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|((src, dst), proto, sport, dport, later_fragment)| {
            let ports = (proto.has_ports() && !later_fragment) || proto.is_icmp();
            let (sport, dport) = if ports { (sport, dport) } else { (0, 0) };
            Tuple {
                proto,
                src,
                dst,
                sport,
                dport,
                later_fragment,
            }
        })
}

pub(super) fn encap() -> impl Strategy<Value = Option<Encap>> {
    use EncapKind::{Geneve, Gre, Ip6, Ipip, Vxlan};
    let kind = select(&[Vxlan, Geneve, Ipip, Ip6, Gre][..]);
    let one = (ends(), kind, 0u32..4, select(PORTS)).prop_map(|((src, dst), kind, vni, sport)| {
        let udp = matches!(kind, Vxlan | Geneve);
        Encap {
            key: EncapKey {
                kind,
                vni: (udp || kind == Gre).then_some(vni),
            },
            src,
            dst,
            sport: if udp { sport } else { 0 },
            dport: if udp { 8472 } else { 0 },
            df: false,
        }
    });
    proptest::option::of(one)
}
