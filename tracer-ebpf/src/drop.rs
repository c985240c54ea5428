//! Drops (`kfree_skb`), driver refusals and ICMP errors, counted per flow and place.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    flow::Outer,
    key::{FlowKey, Tuple},
    nat::Nat,
    route::Route,
};

/// Where and why a flow's packets end.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct DropKey {
    /// Return address of the caller of `kfree_skb`.
    pub location: u64,
    /// The flow, at the device that `skb->dev` named; `dir` is 0 (not known at this hook).
    pub flow: FlowKey,
    /// This kernel's `enum skb_drop_reason`; 0 when it has none (before 5.17).
    pub reason: u32,
}

/// `DropValue::flags`: `skb->dev` was a valid device, so it is a loss on a path.
pub const DROP_HAS_DEV: u32 = 1;
/// `DropValue::flags`: the packet was owned by a local socket.
pub const DROP_HAS_SOCK: u32 = 2;

/// What is known of the drops under one key.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct DropValue {
    /// Packets (wire segments).
    pub count: u64,
    /// Bytes (`skb->len`).
    pub bytes: u64,
    /// First one.
    pub first_ns: u64,
    /// Last one.
    pub last_ns: u64,
    /// Last one that was sent to user space at once.
    pub sent_ns: u64,
    /// The dst entry of the last one, with the errno that routing left in it.
    pub route: Route,
    /// The outer header of an encapsulated packet.
    pub outer: Outer,
    /// The original tuple of its connection, when addresses are translated: the flow may be
    /// dropped when that is half done.
    pub nat: Nat,
    /// MTU of `dst->dev`, bytes; 0 when there is no dst.
    pub mtu: u32,
    /// Largest packet, bytes without the link header.
    pub max_len: u32,
    /// `DROP_*` bits.
    pub flags: u32,
    /// `skb->mark`.
    pub mark: u32,
}

/// The payload of [`crate::record::KIND_DROP`] and the unit of a map scan.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct DropRecord {
    /// Which flow, where, why.
    pub key: DropKey,
    /// How many.
    pub value: DropValue,
}

/// An ICMP or `ICMPv6` error that passed a device, by the packet it complains about.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct IcmpKey {
    /// The embedded packet's addresses: the flow that is complained about.
    pub about: Tuple,
    /// Who complains (source of the ICMP packet), network byte order.
    pub from: [u8; 16],
    /// Namespace of the observation.
    pub netns: u32,
    /// Device of the observation.
    pub ifindex: u32,
    /// [`crate::key::DIR_IN`] or [`crate::key::DIR_OUT`].
    pub dir: u8,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// 1 when the error was made by this node (out, without an in-device).
    pub local: u8,
}

/// How often the error was seen.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct IcmpValue {
    /// Packets.
    pub count: u64,
    /// First one.
    pub first_ns: u64,
    /// Last one.
    pub last_ns: u64,
    /// MTU that the error announces, bytes; 0 for none.
    pub mtu: u32,
    /// Padding.
    pub reserved: u32,
}

/// The payload of [`crate::record::KIND_ICMP_ERROR`] and the unit of a map scan.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct IcmpRecord {
    /// Which error about which flow.
    pub key: IcmpKey,
    /// How many.
    pub value: IcmpValue,
}
