//! The part of a filter that runs in the kernel: an "or" of clauses, each an "and" of tests.
//!
//! User space lowers the expression so that the kernel accepts a superset, and tests the rest
//! itself. A packet is accepted when a clause holds for it or for its reverse (source and
//! destination swapped), because both directions belong to one flow.

#![expect(
    clippy::inline_always,
    reason = "BPF programs get it as one function, with no calls"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    flow::Outer,
    key::{
        ENCAP_GENEVE, ENCAP_GRE, ENCAP_IP6, ENCAP_IPIP, ENCAP_KEY, ENCAP_VXLAN, PROTO_SCTP,
        PROTO_TCP, PROTO_UDP, Tuple,
    },
};

/// Largest number of clauses; a longer filter is tested in user space only.
pub const MAX_CLAUSES: usize = 16;

/// Test `Clause::family`.
pub const TEST_FAMILY: u32 = 1;
/// Test `Clause::proto`.
pub const TEST_PROTO: u32 = 2;
/// Test the source address against `saddr`/`smask`; holds only for addresses of `sfamily`.
pub const TEST_SADDR: u32 = 4;
/// Test the destination address against `daddr`/`dmask`; holds only for addresses of `dfamily`.
pub const TEST_DADDR: u32 = 8;
/// Test the source port against the inclusive range `sport`; holds only for packets that have
/// ports.
pub const TEST_SPORT: u32 = 16;
/// Test the destination port against the inclusive range `dport`, as [`TEST_SPORT`].
pub const TEST_DPORT: u32 = 32;
/// Test the VNI; holds only for packets of a kind that has one.
pub const TEST_VNI: u32 = 64;

const TEST_ENDS: u32 = TEST_SADDR | TEST_DADDR | TEST_SPORT | TEST_DPORT;

/// One "and" of tests. `not` negates the test of the same bit.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Clause {
    /// `TEST_*` bits: what to test.
    pub test: u32,
    /// `TEST_*` bits: which of the tests must not hold.
    pub not: u32,
    /// `TEST_*` bits: which of the tests look at the outer header instead of the innermost one. A
    /// clause with any of them never holds for a packet that is not encapsulated.
    pub outer: u32,
    /// Source address, network byte order as four words in memory order, already masked.
    pub saddr: [u32; 4],
    /// Its mask.
    pub smask: [u32; 4],
    /// Destination address, as `saddr`.
    pub daddr: [u32; 4],
    /// Its mask.
    pub dmask: [u32; 4],
    /// First and last source port, host byte order.
    pub sport: [u16; 2],
    /// First and last destination port, host byte order.
    pub dport: [u16; 2],
    /// VNI.
    pub vni: u32,
    /// 4 or 6.
    pub family: u8,
    /// IP protocol number.
    pub proto: u8,
    /// Family of `saddr`: 4 or 6.
    pub sfamily: u8,
    /// Family of `daddr`: 4 or 6.
    pub dfamily: u8,
}

/// The whole filter. No clause accepts everything.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FilterProg {
    /// Clauses in use.
    pub len: u32,
    /// The clauses.
    pub clauses: [Clause; MAX_CLAUSES],
}

// the unsafe reads below rely on these
const _: () = assert!(align_of::<Tuple>() == 4 && align_of::<Outer>() == 4);
const _: () = assert!(core::mem::offset_of!(Tuple, saddr) % 4 == 0);
const _: () = assert!(core::mem::offset_of!(Tuple, daddr) % 4 == 0);
const _: () = assert!(core::mem::offset_of!(Outer, saddr) % 4 == 0);
const _: () = assert!(core::mem::offset_of!(Outer, daddr) % 4 == 0);

/// One end of a packet as a clause's source or destination tests see it.
#[derive(Clone, Copy)]
struct End<'a> {
    address: &'a [u32; 4],
    port: u16,
    family: u8,
    /// The packet has ports.
    ports: bool,
}

/// The address as words in memory order.
///
/// # Safety
/// `address` must lie on a multiple of four bytes.
#[inline(always)]
#[expect(clippy::cast_ptr_alignment, reason = "what the caller promises")]
unsafe fn words(address: &[u8; 16]) -> &[u32; 4] {
    // SAFETY: the same 16 bytes, aligned as the caller promises; any bits are valid words.
    unsafe { &*core::ptr::from_ref(address).cast::<[u32; 4]>() }
}

#[inline(always)]
fn masked_eq(address: &[u32; 4], mask: &[u32; 4], want: &[u32; 4]) -> bool {
    ((address[0] & mask[0]) ^ want[0])
        | ((address[1] & mask[1]) ^ want[1])
        | ((address[2] & mask[2]) ^ want[2])
        | ((address[3] & mask[3]) ^ want[3])
        == 0
}

/// The protocol number in the outer header of a packet of an `ENCAP_*` kind; 0 for none.
#[inline(always)]
pub fn outer_proto(encap: u8) -> u8 {
    match encap {
        ENCAP_VXLAN | ENCAP_GENEVE => PROTO_UDP,
        ENCAP_IPIP => 4,
        ENCAP_IP6 => 41,
        ENCAP_GRE => 47,
        _ => 0,
    }
}

/// An end of the innermost packet: the source, or the destination when `dst`.
#[inline(always)]
fn inner_end(t: &Tuple, dst: bool) -> End<'_> {
    let ports = (t.proto == PROTO_TCP || t.proto == PROTO_UDP || t.proto == PROTO_SCTP)
        && t.later_fragment == 0;
    let (address, port) = if dst {
        (&t.daddr, t.dport)
    } else {
        (&t.saddr, t.sport)
    };
    // SAFETY: offset and alignment of both fields are asserted above.
    let address = unsafe { words(address) };
    End {
        address,
        port,
        family: t.family,
        ports,
    }
}

/// An end of the outer header of a packet of kind `encap`.
#[inline(always)]
fn outer_end(o: &Outer, encap: u8, dst: bool) -> End<'_> {
    let (address, port) = if dst {
        (&o.daddr, o.dport)
    } else {
        (&o.saddr, o.sport)
    };
    // SAFETY: offset and alignment of both fields are asserted above.
    let address = unsafe { words(address) };
    End {
        address,
        port,
        family: o.family,
        ports: outer_proto(encap) == PROTO_UDP,
    }
}

impl Clause {
    /// The test of one bit came out as `held`: the clause can still hold.
    #[inline(always)]
    fn passes(&self, bit: u32, held: bool) -> bool {
        held != (self.not & bit != 0)
    }

    /// The clause holds for the packet or for its reverse.
    #[inline(always)]
    pub fn accepts(&self, inner: &Tuple, outer: &Outer) -> bool {
        if self.outer != 0 && outer.family == 0 {
            return false;
        }
        if self.test & TEST_FAMILY != 0 {
            let family = if self.outer & TEST_FAMILY != 0 {
                outer.family
            } else {
                inner.family
            };
            if !self.passes(TEST_FAMILY, family == self.family) {
                return false;
            }
        }
        if self.test & TEST_PROTO != 0 {
            let outside = self.outer & TEST_PROTO != 0;
            let proto = if outside {
                outer_proto(inner.encap)
            } else {
                inner.proto
            };
            if !self.passes(TEST_PROTO, proto == self.proto) {
                return false;
            }
        }
        if self.test & TEST_VNI != 0 {
            let kind = inner.encap;
            let has = matches!(kind, ENCAP_VXLAN | ENCAP_GENEVE | ENCAP_GRE | ENCAP_KEY);
            if !self.passes(TEST_VNI, has && inner.vni == self.vni) {
                return false;
            }
        }
        self.test & TEST_ENDS == 0
            || self.ends(inner, outer, false)
            || self.ends(inner, outer, true)
    }

    /// The address and port tests hold, with source and destination exchanged when `swap`.
    #[inline(always)]
    fn ends(&self, inner: &Tuple, outer: &Outer, swap: bool) -> bool {
        let end = |bit: u32, dst: bool| {
            if self.outer & bit != 0 {
                outer_end(outer, inner.encap, dst != swap)
            } else {
                inner_end(inner, dst != swap)
            }
        };
        if self.test & TEST_SADDR != 0 {
            let e = end(TEST_SADDR, false);
            let held = e.family == self.sfamily && masked_eq(e.address, &self.smask, &self.saddr);
            if !self.passes(TEST_SADDR, held) {
                return false;
            }
        }
        if self.test & TEST_DADDR != 0 {
            let e = end(TEST_DADDR, true);
            let held = e.family == self.dfamily && masked_eq(e.address, &self.dmask, &self.daddr);
            if !self.passes(TEST_DADDR, held) {
                return false;
            }
        }
        if self.test & TEST_SPORT != 0 {
            let e = end(TEST_SPORT, false);
            let held = e.ports && e.port >= self.sport[0] && e.port <= self.sport[1];
            if !self.passes(TEST_SPORT, held) {
                return false;
            }
        }
        if self.test & TEST_DPORT != 0 {
            let e = end(TEST_DPORT, true);
            let held = e.ports && e.port >= self.dport[0] && e.port <= self.dport[1];
            if !self.passes(TEST_DPORT, held) {
                return false;
            }
        }
        true
    }
}

impl FilterProg {
    /// The kernel's whole decision: no clause at all, or one that holds for the packet or for its
    /// reverse. `outer.family` is 0 when the packet is not encapsulated.
    #[inline(always)]
    pub fn accepts(&self, inner: &Tuple, outer: &Outer) -> bool {
        if self.len == 0 {
            return true;
        }
        let mut left = self.len;
        for clause in &self.clauses {
            if left == 0 {
                return false;
            }
            left -= 1;
            if clause.accepts(inner, outer) {
                return true;
            }
        }
        false
    }
}
