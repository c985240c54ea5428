//! The part of a filter that runs in the kernel: an "or" of clauses, each an "and" of tests.
//!
//! User space lowers the expression so that the kernel accepts a superset, and tests the rest
//! itself. A packet is accepted when a clause holds for it or for its reverse (source and
//! destination swapped), because both directions belong to one flow.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Largest number of clauses; a longer filter is tested in user space only.
pub const MAX_CLAUSES: usize = 16;

/// Test `Clause::family`.
pub const TEST_FAMILY: u32 = 1;
/// Test `Clause::proto`.
pub const TEST_PROTO: u32 = 2;
/// Test the source address against `saddr`/`smask`.
pub const TEST_SADDR: u32 = 4;
/// Test the destination address against `daddr`/`dmask`.
pub const TEST_DADDR: u32 = 8;
/// Test the source port against the inclusive range `sport`.
pub const TEST_SPORT: u32 = 16;
/// Test the destination port against the inclusive range `dport`.
pub const TEST_DPORT: u32 = 32;
/// Test the VNI.
pub const TEST_VNI: u32 = 64;
/// Test the outer tuple instead of the inner one (`outer …`); not accepted when not encapsulated.
pub const TEST_OUTER: u32 = 128;

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
    /// Padding.
    pub reserved: [u8; 2],
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

impl FilterProg {
    /// placeholder
    #[inline(always)]
    pub fn accepts(&self, _inner: &crate::key::Tuple, _outer: &crate::flow::Outer) -> bool {
        true
    }
}
