//! What a glimpse of the first words says of a packet is what following its headers says.

mod build;

use build::{
    Bytes, eth, fragment6, geneve, gre, icmp, icmp6, ip4, ip4_with, ip6, ip6_with, sctp, tcp, udp,
    vlan, vxlan,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rstest::rstest;
use tracer_abi::{
    glimpse::{Glimpse, Where, is_glimpsed},
    key::{DIR_OUT, FlowKey},
    parse::{Packet, Window, is_tunnel_port, parse},
};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const AT: Where = Where {
    netns: 0xf000_0001,
    ifindex: 7,
    iif: 3,
    dir: DIR_OUT,
    link: 14,
};

fn glimpse(ethertype: u16, bytes: &[u8]) -> Option<Glimpse> {
    let has = |n| n <= bytes.len();
    Glimpse::of(ethertype, &AT, has, |i| {
        // panics where it asks for what it was not told to be there
        u64::from_ne_bytes(std::array::from_fn(|k| bytes[i * 8 + k]))
    })
}

fn parsed(ethertype: u16, bytes: &[u8]) -> Option<Packet> {
    let (mut window, mut out) = (Window::default(), Packet::default());
    let bytes = Bytes { bytes, stale: 0x55 };
    let parsed = parse(&bytes, ethertype, &mut window, &mut out);
    parsed.ok().map(|()| out)
}

/// A key as it lies in an entry.
#[repr(C, align(8))]
struct Aligned(FlowKey);

#[rstest]
#[case::tcp(IPV4, ip4(1, 6, &tcp(1000, 80, 0x12)))]
#[case::udp(IPV4, ip4(1, 17, &udp(1000, 53, b"")))]
#[case::udp_to_a_high_port(IPV4, ip4(1, 17, &udp(0xff01, 0x80fe, b"payload")))]
#[case::sctp(IPV4, ip4(1, 132, &sctp(1000, 5000)))]
#[case::do_not_fragment(IPV4, ip4_with(1, 17, 0, 0x4000, &udp(1, 2, b"")))]
#[case::tcp6(IPV6, ip6(1, 6, &tcp(1000, 80, 0x12)))]
#[case::udp6(IPV6, ip6(1, 17, &udp(1000, 53, b"")))]
#[case::sctp6(IPV6, ip6(1, 132, &sctp(1000, 5000)))]
fn usual_packets_are_glimpsed(#[case] ethertype: u16, #[case] bytes: Vec<u8>) {
    let packet = parsed(ethertype, &bytes).unwrap();
    let glimpse = glimpse(ethertype, &bytes).unwrap();
    assert!(is_glimpsed(&packet, &glimpse.key));
    assert_eq!(u32::from(glimpse.tcp_flags), packet.tcp_flags);
    let key = Aligned(FlowKey {
        tuple: packet.tuple,
        netns: AT.netns,
        ifindex: AT.ifindex,
        iif: AT.iif,
        dir: AT.dir,
        reserved: [AT.link, 0, 0],
    });
    // SAFETY: aligned.
    assert_eq!(unsafe { key.0.words() }, glimpse.key);
}

#[rstest]
#[case::options(IPV4, ip4_with(1, 6, 4, 0, &tcp(1, 2, 3)))]
#[case::first_fragment(IPV4, ip4_with(1, 17, 0, 0x2000, &udp(1, 2, b"")))]
#[case::later_fragment(IPV4, ip4_with(1, 17, 0, 0x0010, &udp(1, 2, b"")))]
#[case::far_fragment(IPV4, ip4_with(1, 17, 0, 0x0100, &udp(1, 2, b"")))]
#[case::icmp(IPV4, ip4(1, 1, &icmp(8, 0, 1)))]
#[case::gre(IPV4, ip4(1, 47, &gre(Some(7), false, false, IPV4, &ip4(2, 17, &udp(1, 2, b"")))))]
#[case::icmp6(IPV6, ip6(1, 58, &icmp6(128, 0, 1)))]
#[case::esp(IPV4, ip4(1, 50, &[0; 32]))]
#[case::ipip(IPV4, ip4(1, 4, &ip4(2, 6, &tcp(1, 2, 3))))]
#[case::cut_tcp(IPV4, ip4(1, 6, &tcp(1, 2, 3)[..16]))]
#[case::extensions(IPV6, ip6_with(1, 6, &[0, 60], &tcp(1, 2, 3)))]
#[case::fragment6(IPV6, ip6(1, 44, &fragment6(17, 1, 2, &udp(1, 2, b""))))]
#[case::tagged(0x8100, vlan(IPV4, &ip4(1, 17, &udp(1, 2, b""))))]
fn others_are_not(#[case] ethertype: u16, #[case] bytes: Vec<u8>) {
    assert_eq!(glimpse(ethertype, &bytes), None);
}

#[rstest]
#[case::vxlan(8472, vxlan(0x1234, &eth(IPV4, &ip4(2, 17, &udp(1, 2, b"")))))]
#[case::geneve(6081, geneve(0x1234, 0, 0x6558, &eth(IPV4, &ip4(2, 17, &udp(1, 2, b"")))))]
fn a_tunnel_is_not_what_is_in_it(#[case] port: u16, #[case] payload: Vec<u8>) {
    let outer = ip4(1, 17, &udp(40_000, port, &payload));
    let packet = parsed(IPV4, &outer).unwrap();
    assert_ne!(packet.outer.family, 0);
    let key = glimpse(IPV4, &outer).unwrap().key;
    assert!(!is_glimpsed(&packet, &key));
    // neither what goes to the same port and is none: the next one may be
    let plain = ip4(1, 17, &udp(40_000, port, &[0xc0; 2]));
    let packet = parsed(IPV4, &plain).unwrap();
    assert_eq!(packet.outer.family, 0);
    assert_eq!(glimpse(IPV4, &plain).unwrap().key, key);
    assert!(!is_glimpsed(&packet, &key));
}

/// Packets to be damaged.
fn samples() -> Vec<(u16, Vec<u8>)> {
    let (tcp, plain) = (tcp(1000, 80, 0x12), udp(1000, 53, b"some bytes behind it"));
    let inner = eth(IPV4, &ip4(2, 17, &plain));
    vec![
        (IPV4, ip4(1, 6, &tcp)),
        (IPV4, ip4(1, 17, &plain)),
        (IPV4, ip4(1, 132, &sctp(1, 2))),
        (IPV4, ip4_with(1, 17, 4, 0, &plain)),
        (IPV4, ip4(1, 17, &udp(1, 8472, &vxlan(7, &inner)))),
        (IPV6, ip6(1, 6, &tcp)),
        (IPV6, ip6(1, 17, &plain)),
        (IPV6, ip6_with(1, 6, &[0], &tcp)),
    ]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(4096))]
    #[test]
    fn a_glimpse_agrees_with_the_parser(
        n in any::<proptest::sample::Index>(),
        flips in proptest::collection::vec((0..64usize, any::<u8>()), 0..4),
        cut in 0..120usize,
    ) {
        let samples = samples();
        let (ethertype, mut bytes) = n.get(&samples).clone();
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(bytes.len().max(cut + 1) - cut);
        if let Some(glimpse) = glimpse(ethertype, &bytes) {
            let port = (glimpse.key[4] >> 16) as u16;
            if is_tunnel_port(port) {
                let packet = parsed(ethertype, &bytes);
                prop_assert!(!packet.is_some_and(|p| is_glimpsed(&p, &glimpse.key)));
            } else {
                let packet = parsed(ethertype, &bytes).unwrap();
                prop_assert!(is_glimpsed(&packet, &glimpse.key));
                prop_assert_eq!(u32::from(glimpse.tcp_flags), packet.tcp_flags);
            }
        }
    }
}
