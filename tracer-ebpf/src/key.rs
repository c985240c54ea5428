//! The key of everything that is counted per flow: one flow at one device in one direction.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Packets seen coming in by a device.
pub const DIR_IN: u8 = 0;
/// Packets seen going out by a device.
pub const DIR_OUT: u8 = 1;

/// `FlowKey::family` of an IPv4 packet.
pub const FAMILY_IPV4: u8 = 4;
/// `FlowKey::family` of an IPv6 packet.
pub const FAMILY_IPV6: u8 = 6;

/// No encapsulation around the packet.
pub const ENCAP_NONE: u8 = 0;
/// VXLAN (RFC 7348), UDP 8472 or 4789.
pub const ENCAP_VXLAN: u8 = 1;
/// Geneve (RFC 8926), UDP 6081.
pub const ENCAP_GENEVE: u8 = 2;
/// IPv4 in IPv4 or IPv6 (protocol 4).
pub const ENCAP_IPIP: u8 = 3;
/// IPv6 in IPv4 or IPv6 (protocol 41): SIT, IP6IP6.
pub const ENCAP_IP6: u8 = 4;
/// GRE (RFC 2784, 2890) with an IP or Ethernet payload.
pub const ENCAP_GRE: u8 = 5;
/// Not encapsulated here, but the packet carries a tunnel key beside it: it is at a
/// collect-metadata tunnel device, or came in by one.
pub const ENCAP_KEY: u8 = 6;

/// Protocol number 1.
pub const PROTO_ICMP: u8 = 1;
/// Protocol number 6.
pub const PROTO_TCP: u8 = 6;
/// Protocol number 17.
pub const PROTO_UDP: u8 = 17;
/// Protocol number 58.
pub const PROTO_ICMPV6: u8 = 58;
/// Protocol number 132.
pub const PROTO_SCTP: u8 = 132;

/// The addresses of one packet, the innermost ones when it is encapsulated.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Tuple {
    /// Source address, network byte order, IPv4 in the first four bytes.
    pub saddr: [u8; 16],
    /// Destination address, as `saddr`.
    pub daddr: [u8; 16],
    /// Source port, host byte order; the identifier of an ICMP echo; 0 where there is none.
    pub sport: u16,
    /// Destination port, host byte order; `type << 8 | code` of an ICMP message.
    pub dport: u16,
    /// [`FAMILY_IPV4`] or [`FAMILY_IPV6`]; 0 when the packet could not be read.
    pub family: u8,
    /// IP protocol number of the transport (after IPv6 extension headers).
    pub proto: u8,
    /// 1 for the second and later fragments, which carry no ports; else 0.
    pub later_fragment: u8,
    /// One of the `ENCAP_*` kinds: what is around the tuple on this device.
    pub encap: u8,
    /// VNI of VXLAN and Geneve, key of GRE, the tunnel key of [`ENCAP_KEY`]; 0 when there is none.
    pub vni: u32,
}

/// One flow at one device in one direction.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FlowKey {
    /// Addresses, ports and encapsulation.
    pub tuple: Tuple,
    /// Inode number of the network namespace (`ls -i /run/netns`, `readlink /proc/PID/ns/net`).
    pub netns: u32,
    /// Device of the observation.
    pub ifindex: u32,
    /// For outgoing packets the device it came in by (`skb->skb_iif`), 0 when made here.
    pub iif: u32,
    /// [`DIR_IN`] or [`DIR_OUT`].
    pub dir: u8,
    /// 1 when the entry stands for the sum over all in-devices of a local sender; reserved, 0.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<Tuple>() == 44 && size_of::<FlowKey>() == 60);

/// A [`FlowKey`] as words, the last one with its rest.
pub type KeyWords = [u64; 8];

impl FlowKey {
    /// Its words in memory order.
    ///
    /// # Safety
    /// It must lie on a multiple of eight bytes.
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "what the caller promises")]
    pub unsafe fn words(&self) -> KeyWords {
        let p = core::ptr::from_ref(self);
        // SAFETY: 60 bytes are seven words and a half, aligned as the caller promises.
        unsafe {
            let w = |i| p.cast::<u64>().add(i).read();
            let rest = p.cast::<u32>().add(14).read();
            [w(0), w(1), w(2), w(3), w(4), w(5), w(6), u64::from(rest)]
        }
    }
}

/// What a table finds a flow by. Two flows with the same one are as likely as that 64 coins fall alike,
/// and who does not know the seeds (random, odd) cannot make any: it is a multilinear hash.
#[inline(always)]
pub fn digest(words: &KeyWords, seeds: &KeyWords) -> u64 {
    // the lower half decides about the lower bits of a product, and so has to know of the upper one
    let part = |i: usize| (words[i] ^ (words[i] >> 32)).wrapping_mul(seeds[i]);
    part(0)
        .wrapping_add(part(1))
        .wrapping_add(part(2).wrapping_add(part(3)))
        .wrapping_add(part(4).wrapping_add(part(5)))
        .wrapping_add(part(6).wrapping_add(part(7)))
}

/// The address as words in memory order. BPF has no loads of words that may lie anywhere: byte by byte
/// they cost the packet path several times as much.
///
/// # Safety
/// `a` must lie on a multiple of four bytes, as the addresses in all structs of this crate do.
#[inline(always)]
#[expect(clippy::cast_ptr_alignment, reason = "what the caller promises")]
pub unsafe fn words(a: &[u8; 16]) -> [u32; 4] {
    // SAFETY: sixteen bytes are four words, aligned as the caller promises.
    unsafe { *core::ptr::from_ref(a).cast::<[u32; 4]>() }
}

/// Writes an address as words in memory order.
///
/// # Safety
/// As for [`words`].
#[inline(always)]
#[expect(clippy::cast_ptr_alignment, reason = "what the caller promises")]
pub unsafe fn put_words(a: &mut [u8; 16], words: [u32; 4]) {
    // SAFETY: sixteen bytes are four words, aligned as the caller promises. Volatile, or the compiler
    // calls a function that clears what is zero, byte by byte.
    unsafe {
        core::ptr::from_mut(a)
            .cast::<[u32; 4]>()
            .write_volatile(words);
    };
}
