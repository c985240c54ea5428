//! What tells flows apart, out of a few words of a packet's headers: for packets that are as nearly all are.

use crate::{
    key::{FAMILY_IPV4, FAMILY_IPV6, KeyWords, PROTO_SCTP, PROTO_TCP, PROTO_UDP, words},
    parse::{ETH_IPV4, ETH_IPV6, FRAGMENT_NONE, Packet, is_tunnel_port},
};

/// Where a packet is seen.
#[derive(Clone, Copy, Debug)]
pub struct Where {
    /// Namespace.
    pub netns: u32,
    /// Device.
    pub ifindex: u32,
    /// The device that it came in by, 0 for none.
    pub iif: u32,
    /// [`crate::key::DIR_IN`] or [`crate::key::DIR_OUT`].
    pub dir: u8,
    /// Length of its link header, bytes.
    pub link: u8,
}

/// The key of a packet, of which its headers were not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// [`crate::key::FlowKey`] as words, with the length of the link header in the reserved bytes of the last.
    pub key: KeyWords,
    /// TCP flags, 0 for other protocols.
    pub tcp_flags: u8,
}

impl Glimpse {
    /// Of a TCP, UDP or SCTP packet without options, fragments or extension headers; `None` for others. A packet
    /// around another one is like any.
    ///
    /// `word` loads eight bytes of the headers in memory order, counted in eights from the network header on;
    /// `has` says whether so many bytes are there.
    #[inline(always)]
    pub fn of(
        ethertype: u16,
        at: &Where,
        has: impl Fn(usize) -> bool,
        word: impl Fn(usize) -> u64,
    ) -> Option<Self> {
        let (source, destination, ports, family, proto, flags);
        if ethertype == ETH_IPV4 {
            if !has(24) {
                return None;
            }
            let (first, second, third) = (word(0), word(1), word(2));
            // version and length of the header; offset and "more" of a fragment
            if first & 0xff3f_0000_0000_00ff != 0x45 {
                return None;
            }
            source = (second >> 32, 0);
            destination = (third & 0xffff_ffff, 0);
            ports = (third >> 32) as u32;
            family = FAMILY_IPV4;
            proto = (second >> 8) as u8;
            // byte 33: the header of TCP begins at 20
            flags = (4, 8);
        } else if ethertype == ETH_IPV6 {
            if !has(48) {
                return None;
            }
            let first = word(0);
            if first & 0xf0 != 0x60 {
                return None;
            }
            source = (word(1), word(2));
            destination = (word(3), word(4));
            ports = word(5) as u32;
            family = FAMILY_IPV6;
            proto = (first >> 48) as u8;
            // byte 53
            flags = (6, 40);
        } else {
            return None;
        }
        let mut tcp_flags = 0;
        if proto == PROTO_TCP {
            if !has(flags.0 * 8 + 8) {
                return None;
            }
            tcp_flags = (word(flags.0) >> flags.1) as u8;
        } else if proto != PROTO_UDP && proto != PROTO_SCTP {
            return None;
        }
        // in memory the source port comes first, and a tuple has both in host byte order
        let ports = u64::from(u32::from_be(ports).rotate_left(16));
        let key = [
            source.0,
            source.1,
            destination.0,
            destination.1,
            ports | u64::from(family) << 32 | u64::from(proto) << 40,
            u64::from(at.netns) << 32,
            u64::from(at.ifindex) | u64::from(at.iif) << 32,
            u64::from(at.dir) | u64::from(at.link) << 8,
        ];
        Some(Self { key, tcp_flags })
    }
}

/// The packet, whose headers were followed, is the one that was glimpsed, and so is each one with the same
/// glimpse: not something inside of it, as it may be behind some ports.
#[inline(always)]
pub fn is_glimpsed(p: &Packet, key: &KeyWords) -> bool {
    let t = &p.tuple;
    // SAFETY: the addresses of a tuple are aligned.
    let (s, d) = unsafe { (words(&t.saddr), words(&t.daddr)) };
    let pair = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
    let ports = u64::from(t.sport) | u64::from(t.dport) << 16;
    let kinds = u64::from(t.family) << 32 | u64::from(t.proto) << 40;
    p.outer.family == 0
        && p.fragment == FRAGMENT_NONE
        && t.encap == 0
        && t.vni == 0
        && !is_tunnel_port(t.dport)
        && (pair(s[0], s[1]) ^ key[0]) | (pair(s[2], s[3]) ^ key[1]) == 0
        && (pair(d[0], d[1]) ^ key[2]) | (pair(d[2], d[3]) ^ key[3]) == 0
        && ports | kinds == key[4]
}
