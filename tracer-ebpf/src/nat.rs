//! Address translation, as connection tracking keeps it for each connection.
//!
//! A connection has two tuples: the *original* one, in which the packet that opened it came in, and
//! the *reply* tuple, in which its answers come in. They are each other's reverse unless addresses or
//! ports are translated. A packet leaves as the reverse of the other direction's tuple.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::{PROTO_ICMP, PROTO_ICMPV6, Tuple, words};

/// `Nat::flags`: the packet goes in the direction that opened the connection.
pub const NAT_ORIGINAL: u8 = 1;
/// `Nat::flags`: the packet is an answer.
pub const NAT_REPLY: u8 = 2;
/// `Nat::flags`: an ICMP error about the connection, whose own addresses were translated with it.
pub const NAT_RELATED: u8 = 4;

/// The addresses of a translated packet on the other side of the translation. Aligned so that they
/// can be read as words: byte by byte they cost the packet path several times as much.
#[repr(C, align(4))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Nat {
    /// Source address, network byte order, IPv4 in the first four bytes.
    pub saddr: [u8; 16],
    /// Destination address, as `saddr`.
    pub daddr: [u8; 16],
    /// Source port or identifier, as in [`Tuple`].
    pub sport: u16,
    /// Destination port, as in [`Tuple`].
    pub dport: u16,
    /// `NAT_*` bits; 0 when nothing is translated and the rest means nothing.
    pub flags: u8,
    /// Padding.
    pub reserved: [u8; 3],
}

impl Nat {
    /// Puts these addresses and ports into `t`.
    #[inline(always)]
    pub fn put(&self, t: &mut Tuple) {
        let (src, dst) = self.addresses();
        let at = core::ptr::from_mut(t).cast::<[u32; 4]>();
        // SAFETY: the two addresses are the first 32 bytes of a tuple, which is aligned to four.
        unsafe {
            at.write(src);
            at.add(1).write(dst);
        }
        t.sport = self.sport;
        t.dport = self.dport;
    }
}

/// Key of the tuples that belong to connections which the filter wants. The same for both
/// directions, and with and without encapsulation.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct WantedKey {
    /// The end that comes first in the order of addresses and ports.
    pub low: [u32; 4],
    /// The other end.
    pub high: [u32; 4],
    /// Port of `low`, or the identifier of an ICMP echo.
    pub low_port: u16,
    /// Port of `high`; 0 for ICMP.
    pub high_port: u16,
    /// Namespace.
    pub netns: u32,
    /// Protocol number.
    pub proto: u8,
    /// 4 or 6.
    pub family: u8,
    /// Padding.
    pub reserved: [u8; 2],
}

impl WantedKey {
    /// Fills the key of `t`, or of its answer: both give the same one.
    #[inline(always)]
    pub fn fill(&mut self, t: &Tuple, netns: u32) {
        // SAFETY: both addresses of a tuple lie on multiples of four (asserted below).
        let (src, dst) = unsafe { (words(&t.saddr), words(&t.daddr)) };
        let icmp = t.proto == PROTO_ICMP || t.proto == PROTO_ICMPV6;
        // the type of an ICMP message is another one in the answer
        let (sport, dport) = if icmp {
            (t.sport, 0)
        } else {
            (t.sport, t.dport)
        };
        let (one, other) = (halves(src), halves(dst));
        // any order that is the same everywhere will do
        let swap = one.0 > other.0
            || (one.0 == other.0 && (one.1 > other.1 || (one.1 == other.1 && sport > dport)));
        if swap {
            (self.low, self.high) = (dst, src);
        } else {
            (self.low, self.high) = (src, dst);
        }
        (self.low_port, self.high_port) = if swap && !icmp {
            (dport, sport)
        } else {
            (sport, dport)
        };
        self.netns = netns;
        self.proto = t.proto;
        self.family = t.family;
        self.reserved = [0; 2];
    }
}

const _: () = assert!(align_of::<Tuple>() == 4 && align_of::<Nat>() == 4 && size_of::<Nat>() == 40);
const _: () = assert!(core::mem::offset_of!(Tuple, saddr) == 0);
const _: () = assert!(core::mem::offset_of!(Tuple, daddr) == 16);
const _: () = assert!(core::mem::offset_of!(Nat, saddr) == 0);
const _: () = assert!(core::mem::offset_of!(Nat, daddr) == 16);

impl Nat {
    /// Sets both addresses, as words in memory order.
    #[inline(always)]
    pub fn set_addresses(&mut self, src: [u32; 4], dst: [u32; 4]) {
        let at = core::ptr::from_mut(self).cast::<[u32; 4]>();
        // SAFETY: the two addresses are the first 32 bytes of the struct, which is aligned to four.
        unsafe {
            at.write(src);
            at.add(1).write(dst);
        }
    }

    /// Both addresses as words in memory order.
    #[inline(always)]
    pub fn addresses(&self) -> ([u32; 4], [u32; 4]) {
        // SAFETY: asserted above.
        unsafe { (words(&self.saddr), words(&self.daddr)) }
    }
}

#[inline(always)]
fn halves(a: [u32; 4]) -> (u64, u64) {
    let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    (join(a[0], a[1]), join(a[2], a[3]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{FAMILY_IPV4, FAMILY_IPV6, PROTO_UDP};

    fn tuple(family: u8, proto: u8, src: (u8, u16), dst: (u8, u16)) -> Tuple {
        let address = |n| {
            let mut a = [0; 16];
            a[if family == FAMILY_IPV4 { 3 } else { 15 }] = n;
            a
        };
        Tuple {
            saddr: address(src.0),
            daddr: address(dst.0),
            sport: src.1,
            dport: dst.1,
            family,
            proto,
            ..Tuple::default()
        }
    }

    fn key(t: Tuple) -> WantedKey {
        let mut key = WantedKey::default();
        key.fill(&t, 7);
        key
    }

    #[test]
    fn both_directions_have_one_key() {
        for family in [FAMILY_IPV4, FAMILY_IPV6] {
            let there = tuple(family, PROTO_UDP, (1, 4000), (2, 53));
            let back = tuple(family, PROTO_UDP, (2, 53), (1, 4000));
            assert_eq!(key(there), key(back));
            let own = tuple(family, PROTO_UDP, (1, 4000), (1, 53));
            let own_back = tuple(family, PROTO_UDP, (1, 53), (1, 4000));
            assert_eq!(key(own), key(own_back));
            for other in [
                tuple(family, PROTO_UDP, (1, 4001), (2, 53)),
                tuple(family, PROTO_UDP, (1, 53), (2, 4000)),
                tuple(family, 6, (1, 4000), (2, 53)),
            ] {
                assert_ne!(key(there), key(other));
            }
        }
    }

    #[test]
    fn an_echo_and_its_answer_have_one_key() {
        let ask = tuple(FAMILY_IPV4, PROTO_ICMP, (9, 77), (2, 8 << 8));
        let answer = tuple(FAMILY_IPV4, PROTO_ICMP, (2, 77), (9, 0));
        assert_eq!(key(ask), key(answer));
        let other = tuple(FAMILY_IPV4, PROTO_ICMP, (9, 78), (2, 8 << 8));
        assert_ne!(key(ask), key(other));
    }

    #[test]
    fn encapsulation_is_no_part_of_it() {
        let t = tuple(FAMILY_IPV4, PROTO_UDP, (1, 4000), (2, 53));
        let inside = Tuple {
            encap: 1,
            vni: 42,
            ..t
        };
        assert_eq!(key(t), key(inside));
    }
}
