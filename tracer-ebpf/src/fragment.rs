//! Which flow the later fragments of a packet belong to: they carry no ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{flow::Outer, key::Tuple};

/// What identifies the fragments of one packet (RFC 791 §3.2, RFC 8200 §4.5), at one place.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FragmentKey {
    /// Source address of the fragmented packet, network byte order.
    pub saddr: [u8; 16],
    /// Its destination address.
    pub daddr: [u8; 16],
    /// Its identification, host byte order.
    pub id: u32,
    /// Namespace.
    pub netns: u32,
    /// VNI, when it was fragmented before it was encapsulated.
    pub vni: u32,
    /// 4 or 6.
    pub family: u8,
    /// Protocol number.
    pub proto: u8,
    /// `ENCAP_*` kind, when it was fragmented before it was encapsulated.
    pub encap: u8,
    /// Padding.
    pub reserved: u8,
}

/// What the first fragment said.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FragmentValue {
    /// Time of the first fragment.
    pub ts_ns: u64,
    /// Innermost addresses and ports.
    pub tuple: Tuple,
    /// The outer header, family 0 when there is none.
    pub outer: Outer,
    /// Padding.
    pub reserved: [u8; 4],
}
