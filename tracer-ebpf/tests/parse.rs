//! The packet parser on packets that are built by hand, cut, and made of noise.

mod build;

use build::{
    Bytes, eth, fragment6, geneve, gre, icmp, icmp6, ip4, ip4_with, ip6, ip6_with, sctp, tcp, udp,
    vlan, vxlan,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rstest::rstest;
use tracer_abi::{
    key::{
        ENCAP_GENEVE, ENCAP_GRE, ENCAP_IP6, ENCAP_IPIP, ENCAP_NONE, ENCAP_VXLAN, FAMILY_IPV4,
        FAMILY_IPV6,
    },
    parse::{
        FRAGMENT_FIRST, FRAGMENT_LATER, FRAGMENT_NONE, FRAGMENT_OUTER, Packet, ParseError, Window,
        icmp_about, parse,
    },
};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Parses twice, with other stale bytes behind the valid ones: they must not matter.
fn parsed(ethertype: u16, bytes: &[u8]) -> Result<Packet, ParseError> {
    let parse_with = |stale| {
        let (mut window, mut out) = (Window::default(), Packet::default());
        parse(&Bytes { bytes, stale }, ethertype, &mut window, &mut out).map(|()| out)
    };
    let result = parse_with(0);
    assert_eq!(result, parse_with(0xff), "stale bytes were used");
    result
}

/// The error in `outer`: type, code, MTU and the packet that it complains about.
fn about(outer: &Packet, bytes: &[u8]) -> Option<((u8, u8, u32), Packet)> {
    let mut results = [0x00, 0xff].map(|stale| {
        let (mut window, mut out) = (Window::default(), Packet::default());
        let error = icmp_about(&Bytes { bytes, stale }, outer, &mut window, &mut out);
        error.map(|e| (e, out))
    });
    assert_eq!(results[0], results[1], "stale bytes were used");
    results[0].take()
}

/// Addresses `build` uses, as the ABI writes them: source ends in 1, destination in 2.
fn addresses(family: u8, net: u8) -> ([u8; 16], [u8; 16]) {
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    if family == FAMILY_IPV4 {
        src[..4].copy_from_slice(&[10, net, 0, 1]);
        dst[..4].copy_from_slice(&[10, net, 0, 2]);
    } else {
        src[..2].copy_from_slice(&[0xfd, net]);
        dst[..2].copy_from_slice(&[0xfd, net]);
        (src[15], dst[15]) = (1, 2);
    }
    (src, dst)
}

#[rstest]
#[case::tcp(6, tcp(1000, 80, 0x12), 1000, 80, 0x12)]
#[case::udp(17, udp(1000, 53, b""), 1000, 53, 0)]
#[case::sctp(132, sctp(1000, 5000), 1000, 5000, 0)]
#[case::icmp_echo(1, icmp(8, 0, 0x1234_0001), 0x1234, 0x0800, 0)]
#[case::icmp_reply(1, icmp(0, 0, 0x1234_0001), 0x1234, 0, 0)]
#[case::icmp_other(1, icmp(5, 1, 0x1234_0001), 0, 0x0501, 0)]
#[case::esp(50, vec![0; 8], 0, 0, 0)]
#[case::empty_esp(50, vec![], 0, 0, 0)]
fn ipv4_transports(
    #[case] proto: u8,
    #[case] payload: Vec<u8>,
    #[case] sport: u16,
    #[case] dport: u16,
    #[case] flags: u32,
) {
    for options in [0, 4, 8, 40] {
        let packet = parsed(IPV4, &ip4_with(1, proto, options, 0x4000, &payload)).unwrap();
        let t = packet.tuple;
        assert_eq!(
            (t.family, t.proto, t.sport, t.dport),
            (FAMILY_IPV4, proto, sport, dport)
        );
        assert_eq!((t.saddr, t.daddr), addresses(FAMILY_IPV4, 1));
        assert_eq!(
            (packet.tcp_flags, t.later_fragment, t.encap, t.vni),
            (flags, 0, 0, 0)
        );
        assert_eq!(
            (packet.df, packet.ip_id, packet.l4),
            (1, 0x4242, 20 + options as u32)
        );
        assert_eq!(packet.ip_len as usize, 20 + options + payload.len());
        assert_eq!(packet.outer.family, 0);
    }
}

#[test]
fn ipv4_fragments() {
    // first: more fragments follow, ports are there
    let first = parsed(IPV4, &ip4_with(1, 17, 0, 0x2000, &udp(7, 8, b"data"))).unwrap();
    assert_eq!(
        (first.tuple.later_fragment, first.tuple.dport, first.df),
        (0, 8, 0)
    );
    assert_eq!(
        (first.fragment, first.fragment_id),
        (FRAGMENT_FIRST, 0x4242)
    );
    let whole = parsed(IPV4, &ip4_with(1, 17, 0, 0x4000, &udp(7, 8, b"data"))).unwrap();
    assert_eq!(whole.fragment, FRAGMENT_NONE);
    // later: what looks like ports is payload
    for frag in [0x0001, 0x2001, 0x1fff] {
        let later = parsed(IPV4, &ip4_with(1, 17, 0, frag, &udp(7, 8, b"data"))).unwrap();
        assert_eq!(
            (
                later.tuple.later_fragment,
                later.tuple.sport,
                later.tuple.dport
            ),
            (1, 0, 0)
        );
        assert_eq!((later.tuple.proto, later.ip_id), (17, 0x4242));
        assert_eq!(
            (later.fragment, later.fragment_id),
            (FRAGMENT_LATER, 0x4242)
        );
    }
    // the first fragment of a tunnel's packet has the inner headers; its own identification counts
    let first = parsed(
        IPV4,
        &ip4_with(1, 4, 0, 0x2000, &ip4(2, 17, &udp(7, 8, b""))),
    )
    .unwrap();
    assert_eq!((first.tuple.encap, first.tuple.dport), (ENCAP_IPIP, 8));
    assert_eq!(
        (first.fragment, first.fragment_id),
        (FRAGMENT_OUTER, 0x4242)
    );
    // a later fragment of a tunnel is not looked into
    let later = parsed(IPV4, &ip4_with(1, 4, 0, 1, &ip4(2, 17, &udp(7, 8, b"")))).unwrap();
    assert_eq!((later.tuple.proto, later.tuple.encap), (4, ENCAP_NONE));
}

#[rstest]
#[case::tcp(6, tcp(1000, 80, 0x02), 1000, 80)]
#[case::udp(17, udp(1000, 53, b""), 1000, 53)]
#[case::echo(58, icmp6(128, 0, 0x1234_0001), 0x1234, 0x8000)]
#[case::reply(58, icmp6(129, 0, 0x1234_0001), 0x1234, 0x8100)]
#[case::solicitation(58, icmp6(135, 0, 0), 0, 0x8700)]
#[case::no_next_header(59, vec![], 0, 0)]
fn ipv6_transports(
    #[case] proto: u8,
    #[case] payload: Vec<u8>,
    #[case] sport: u16,
    #[case] dport: u16,
) {
    let chains: [&[u8]; 9] = [
        &[],
        &[0],
        &[43],
        &[60],
        &[51],
        &[0, 43],
        &[0, 60, 43, 60],
        &[0, 60, 43, 51, 60],
        &[0, 60, 43, 60, 51, 60],
    ];
    for chain in chains {
        let packet = parsed(IPV6, &ip6_with(1, proto, chain, &payload)).unwrap();
        let t = packet.tuple;
        assert_eq!(
            (t.family, t.proto, t.sport, t.dport),
            (FAMILY_IPV6, proto, sport, dport)
        );
        assert_eq!((t.saddr, t.daddr), addresses(FAMILY_IPV6, 1));
        assert_eq!((t.later_fragment, packet.df, packet.ip_id), (0, 1, 0));
    }
}

#[test]
fn too_many_extension_headers_are_given_up() {
    let bytes = ip6_with(1, 17, &[60; 7], &udp(1, 2, b""));
    assert_eq!(parsed(IPV6, &bytes), Err(ParseError::Unreadable));
}

#[test]
fn ipv6_fragments() {
    let (id, payload) = (0xdead_beef, udp(7, 8, b"data"));
    let first = parsed(IPV6, &ip6(1, 44, &fragment6(17, 0x0001, id, &payload))).unwrap();
    assert_eq!(
        (first.tuple.later_fragment, first.tuple.dport, first.ip_id),
        (0, 8, id)
    );
    assert_eq!(first.l4, 48);
    assert_eq!((first.fragment, first.fragment_id), (FRAGMENT_FIRST, id));
    // the only fragment of its packet (RFC 6946)
    let atomic = parsed(IPV6, &ip6(1, 44, &fragment6(17, 0, id, &payload))).unwrap();
    assert_eq!((atomic.fragment, atomic.tuple.dport), (FRAGMENT_NONE, 8));
    let later = parsed(IPV6, &ip6(1, 44, &fragment6(17, 0x0008, id, &payload))).unwrap();
    assert_eq!(
        (later.tuple.later_fragment, later.tuple.dport, later.ip_id),
        (1, 0, id)
    );
    assert_eq!(later.tuple.proto, 17);
    assert_eq!((later.fragment, later.fragment_id), (FRAGMENT_LATER, id));
    // behind other extension headers
    let later = ip6_with(1, 44, &[0, 60], &fragment6(6, 0x0010, id, &tcp(1, 2, 0)));
    let later = parsed(IPV6, &later).unwrap();
    assert_eq!(
        (later.tuple.later_fragment, later.tuple.proto, later.ip_id),
        (1, 6, id)
    );
}

#[test]
fn vlan_tags() {
    let inner = ip4(1, 17, &udp(7, 8, b""));
    let one = vlan(0x0800, &inner);
    assert_eq!(parsed(0x8100, &one).unwrap().tuple.dport, 8);
    assert_eq!(
        parsed(0x8100, &vlan(0x86dd, &ip6(1, 17, &udp(7, 9, b""))))
            .unwrap()
            .tuple
            .dport,
        9
    );
    let two = vlan(0x8100, &one);
    assert_eq!(parsed(0x88a8, &two).unwrap().l4, 28);
    assert_eq!(parsed(0x8100, &vlan(0x8100, &two)), Err(ParseError::NotIp));
    assert_eq!(
        parsed(0x8100, &vlan(0x0806, &[0; 28])),
        Err(ParseError::NotIp)
    );
    assert_eq!(parsed(0x0806, &[0; 28]), Err(ParseError::NotIp));
    assert_eq!(parsed(0x88cc, &inner), Err(ParseError::NotIp));
}

/// An IP packet of a family around `payload`; net 1 outside, net 2 inside.
fn ip(family: u8, net: u8, proto: u8, payload: &[u8]) -> Vec<u8> {
    if family == FAMILY_IPV4 {
        ip4(net, proto, payload)
    } else {
        ip6(net, proto, payload)
    }
}

fn ethertype(family: u8) -> u16 {
    if family == FAMILY_IPV4 { IPV4 } else { IPV6 }
}

/// An encapsulation: name, kind, VNI, UDP destination port, outer protocol, outer payload.
type Case = (&'static str, u8, u32, u16, u8, Vec<u8>);

/// The frame and the bare packet inside.
fn inner(family: u8) -> (Vec<u8>, Vec<u8>) {
    let packet = ip(family, 2, 6, &tcp(4000, 80, 0x18));
    (eth(ethertype(family), &packet), packet)
}

fn udp_tunnels(family: u8) -> Vec<Case> {
    let (frame, packet) = inner(family);
    let tagged = eth(0x8100, &vlan(ethertype(family), &packet));
    let vx = |name, port, vni, frame: &[u8]| -> Case {
        (
            name,
            ENCAP_VXLAN,
            vni,
            port,
            17,
            udp(50000, port, &vxlan(vni, frame)),
        )
    };
    let gv = |name, options, proto, p: &[u8]| -> Case {
        (
            name,
            ENCAP_GENEVE,
            9,
            6081,
            17,
            udp(50000, 6081, &geneve(9, options, proto, p)),
        )
    };
    vec![
        vx("vxlan 8472", 8472, 7, &frame),
        vx("vxlan 4789", 4789, 0x00ff_ffff, &frame),
        vx("vxlan with a tag", 4789, 7, &tagged),
        gv("geneve frame", 0, 0x6558, &frame),
        gv("geneve options", 12, 0x6558, &frame),
        gv("geneve most options", 252, 0x6558, &frame),
        gv("geneve ip", 8, ethertype(family), &packet),
    ]
}

fn encapsulations(family: u8) -> Vec<Case> {
    let (frame, packet) = inner(family);
    let proto = ethertype(family);
    let (number, kind) = if family == FAMILY_IPV4 {
        (4, ENCAP_IPIP)
    } else {
        (41, ENCAP_IP6)
    };
    let gr = |name, key: Option<u32>, sum, seq| -> Case {
        (
            name,
            ENCAP_GRE,
            key.unwrap_or(0),
            0,
            47,
            gre(key, sum, seq, proto, &packet),
        )
    };
    let teb = gre(Some(77), false, false, 0x6558, &frame);
    let mut cases = udp_tunnels(family);
    cases.extend([
        ("ip in ip", kind, 0, 0, number, packet.clone()),
        gr("gre", None, false, false),
        gr("gre key", Some(77), false, false),
        gr("gre sum", None, true, false),
        gr("gre seq", Some(77), false, true),
        gr("gre all", Some(77), true, true),
        ("gre frame", ENCAP_GRE, 77, 0, 47, teb),
    ]);
    cases
}

#[rstest]
fn tunnels(
    #[values(FAMILY_IPV4, FAMILY_IPV6)] outer: u8,
    #[values(FAMILY_IPV4, FAMILY_IPV6)] inner: u8,
) {
    for (name, kind, vni, port, proto, payload) in encapsulations(inner) {
        let packet = parsed(ethertype(outer), &ip(outer, 1, proto, &payload)).unwrap();
        let t = packet.tuple;
        assert_eq!((t.family, t.sport, t.dport), (inner, 4000, 80), "{name}");
        assert_eq!((t.saddr, t.daddr), addresses(inner, 2), "{name}");
        assert_eq!(
            (t.encap, t.vni, packet.tcp_flags),
            (kind, vni, 0x18),
            "{name}"
        );
        let o = packet.outer;
        assert_eq!((o.family, o.saddr, o.daddr), pair(outer), "{name}");
        assert_eq!(
            (o.sport, o.dport),
            (if port == 0 { 0 } else { 50000 }, port),
            "{name}"
        );
        assert_eq!(o.df, 1, "{name}");
    }
}

fn pair(family: u8) -> (u8, [u8; 16], [u8; 16]) {
    let (src, dst) = addresses(family, 1);
    (family, src, dst)
}

#[test]
fn what_only_looks_like_a_tunnel_is_left_alone() {
    let plain = |payload: &[u8], proto| {
        let t = parsed(IPV4, &ip4(1, proto, payload)).unwrap().tuple;
        (t.encap, t.dport)
    };
    let frame = eth(IPV4, &ip4(2, 17, &udp(1, 2, b"")));
    // no I flag, unknown version, no room for a header, version 1 (PPTP)
    let mut no_flag = vxlan(7, &frame);
    no_flag[0] = 0;
    assert_eq!(plain(&udp(1, 8472, &no_flag), 17), (ENCAP_NONE, 8472));
    let mut version = geneve(7, 0, 0x6558, &frame);
    version[0] |= 0x40;
    assert_eq!(plain(&udp(1, 6081, &version), 17), (ENCAP_NONE, 6081));
    assert_eq!(plain(&udp(1, 8472, b"short"), 17), (ENCAP_NONE, 8472));
    assert_eq!(plain(&udp(8472, 1, &vxlan(7, &frame)), 17), (ENCAP_NONE, 1));
    let mut pptp = gre(Some(1), false, false, 0x880b, &frame);
    pptp[1] |= 1;
    assert_eq!(plain(&pptp, 47), (ENCAP_NONE, 0));
    // a tunnel with something else inside is not IP
    for (payload, proto) in [
        (udp(1, 8472, &vxlan(7, &eth(0x0806, &[0; 28]))), 17),
        (udp(1, 6081, &geneve(7, 0, 0x0806, &[0; 28])), 17),
        (gre(None, false, false, 0x88be, &frame), 47),
    ] {
        assert_eq!(
            parsed(IPV4, &ip4(1, proto, &payload)),
            Err(ParseError::NotIp)
        );
    }
}

#[test]
fn icmp_errors_name_their_flow() {
    let mut frag_needed = icmp(3, 4, 1400);
    frag_needed.extend(&ip4(2, 17, &udp(40000, 53, b""))[..28]);
    let bytes = ip4(1, 1, &frag_needed);
    let outer = parsed(IPV4, &bytes).unwrap();
    let (error, packet) = about(&outer, &bytes).unwrap();
    assert_eq!(error, (3, 4, 1400));
    assert_eq!(
        (packet.tuple.sport, packet.tuple.dport, packet.tuple.proto),
        (40000, 53, 17)
    );
    assert_eq!(
        (packet.tuple.saddr, packet.tuple.daddr),
        addresses(FAMILY_IPV4, 2)
    );

    let mut too_big = icmp6(2, 0, 1280);
    too_big.extend(ip6(2, 6, &tcp(40000, 443, 0x10)));
    let bytes = ip6(1, 58, &too_big);
    let outer = parsed(IPV6, &bytes).unwrap();
    let (error, packet) = about(&outer, &bytes).unwrap();
    assert_eq!((error, packet.tuple.dport), ((2, 0, 1280), 443));
    assert_eq!(
        (packet.tuple.saddr, packet.tuple.daddr),
        addresses(FAMILY_IPV6, 2)
    );
}

#[rstest]
#[case(3, 1, Some(0))]
#[case(11, 0, Some(0))]
#[case(12, 0, Some(0))]
#[case(8, 0, None)]
#[case(0, 0, None)]
#[case(5, 0, None)]
fn icmp_types(#[case] kind: u8, #[case] code: u8, #[case] mtu: Option<u32>) {
    let mut message = icmp(kind, code, 0x0000_05dc);
    message.extend(ip4(2, 17, &udp(40000, 53, b"")));
    let bytes = ip4(1, 1, &message);
    let outer = parsed(IPV4, &bytes).unwrap();
    assert_eq!(
        about(&outer, &bytes).map(|(e, _)| e),
        mtu.map(|mtu| (kind, code, mtu))
    );
}

#[test]
fn an_icmp_error_inside_of_a_tunnel_names_the_inner_flow() {
    let mut too_big = icmp6(2, 0, 1390);
    too_big.extend(ip6(3, 17, &udp(40000, 53, b"")));
    let frame = eth(IPV6, &ip6(2, 58, &too_big));
    let bytes = ip4(1, 17, &udp(1, 8472, &vxlan(5, &frame)));
    let outer = parsed(IPV4, &bytes).unwrap();
    let (error, packet) = about(&outer, &bytes).unwrap();
    assert_eq!(
        (error, packet.tuple.dport, outer.tuple.vni),
        ((2, 0, 1390), 53, 5)
    );
    assert_eq!(
        (packet.tuple.saddr, packet.tuple.daddr),
        addresses(FAMILY_IPV6, 3)
    );
}

/// Packets of every kind, with their ethertype and whether they are encapsulated.
fn samples() -> Vec<(u16, Vec<u8>, bool)> {
    let mut samples = vec![
        (IPV4, ip4(1, 6, &tcp(1, 2, 3)), false),
        (IPV4, ip4_with(1, 17, 40, 0, &udp(1, 2, b"")), false),
        (IPV4, ip4(1, 1, &icmp(8, 0, 1)), false),
        (IPV6, ip6_with(1, 6, &[0, 43, 51, 60], &tcp(1, 2, 3)), false),
        (
            IPV6,
            ip6(1, 44, &fragment6(17, 1, 2, &udp(1, 2, b""))),
            false,
        ),
        (
            0x88a8,
            vlan(0x8100, &vlan(IPV4, &ip4(1, 132, &sctp(1, 2)))),
            false,
        ),
    ];
    for outer in [FAMILY_IPV4, FAMILY_IPV6] {
        for inner in [FAMILY_IPV4, FAMILY_IPV6] {
            for (_, _, _, _, proto, payload) in encapsulations(inner) {
                samples.push((ethertype(outer), ip(outer, 1, proto, &payload), true));
            }
        }
    }
    samples
}

#[test]
fn every_truncation_is_noticed() {
    for (ethertype, whole, encapsulated) in samples() {
        let full = parsed(ethertype, &whole).unwrap();
        for len in 0..whole.len() {
            match parsed(ethertype, &whole[..len]) {
                Err(_) => {}
                // the transport header was complete as far as it is read
                Ok(packet) if packet.tuple == full.tuple => {
                    assert!(len >= full.l4 as usize + 4, "{len} of {}", whole.len());
                }
                // cut before the tunnel header can be told: the outer packet is what there is
                Ok(packet) => {
                    assert!(
                        encapsulated && packet.tuple.encap == ENCAP_NONE,
                        "cut at {len}"
                    );
                    assert_eq!(packet.outer.family, 0);
                }
            }
        }
    }
}

#[test]
fn every_truncation_of_an_icmp_error_is_noticed() {
    let mut message = icmp(3, 4, 1400);
    message.extend(ip4(2, 6, &tcp(40000, 53, 2)));
    let whole = ip4(1, 1, &message);
    let outer = parsed(IPV4, &whole).unwrap();
    for len in 0..whole.len() {
        // RFC 792 asks for the IP header and 8 bytes; the ports are in the first four
        let found = about(&outer, &whole[..len]);
        assert_eq!(found.is_some(), len >= 28 + 20 + 4, "cut at {len}");
    }
}

#[test]
fn headers_that_make_no_sense_are_refused() {
    let mut short_ihl = ip4(1, 17, &udp(1, 2, b""));
    short_ihl[0] = 0x44;
    assert_eq!(parsed(IPV4, &short_ihl), Err(ParseError::Unreadable));
    let mut version = ip4(1, 17, &udp(1, 2, b""));
    version[0] = 0x55;
    assert_eq!(parsed(IPV4, &version), Err(ParseError::Unreadable));
    // six bytes of a 40-byte header
    assert_eq!(
        parsed(IPV6, &[0x60, 0, 0, 0, 0, 0]),
        Err(ParseError::Unreadable)
    );
}

proptest! {
    #[test]
    fn noise_never_panics(
        ethertype in proptest::sample::select(vec![IPV4, IPV6, 0x8100, 0x88a8, 0x0806]),
        first in proptest::sample::select(vec![0x45u8, 0x4f, 0x60, 0x00]),
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if let Ok(packet) = parsed(ethertype, &bytes) {
            prop_assert!(packet.tuple.family == FAMILY_IPV4 || packet.tuple.family == FAMILY_IPV6);
            prop_assert!(packet.tuple.encap <= ENCAP_GRE);
            about(&packet, &bytes);
        }
    }

    #[test]
    fn damaged_packets_never_panic(
        n in any::<proptest::sample::Index>(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let samples = samples();
        let (ethertype, mut bytes, _) = n.get(&samples).clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(packet) = parsed(ethertype, &bytes) {
            prop_assert_eq!(packet.outer.family == 0, packet.tuple.encap == ENCAP_NONE);
            about(&packet, &bytes);
        }
    }
}
