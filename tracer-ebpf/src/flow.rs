//! What is counted for a flow at a device.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{key::FlowKey, nat::Nat, route::Route};

/// The outer header around an encapsulated packet. Aligned so that its addresses can be read as
/// words.
#[repr(C, align(4))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Outer {
    /// Outer source address, network byte order.
    pub saddr: [u8; 16],
    /// Outer destination address, network byte order.
    pub daddr: [u8; 16],
    /// Outer UDP source port, host byte order; 0 for IP-in-IP and GRE.
    pub sport: u16,
    /// Outer UDP destination port, host byte order.
    pub dport: u16,
    /// Outer family, 4 or 6; 0 when the packet is not encapsulated.
    pub family: u8,
    /// Outer IPv4 don't-fragment bit: 1 set.
    pub df: u8,
    /// Padding.
    pub reserved: [u8; 2],
}

/// Exact counters of a flow at a device, and what was last known of its route.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FlowValue {
    /// Packets as they are on the wire: a GSO packet counts its segments.
    pub packets: u64,
    /// Bytes with the link header (and what encapsulation added at this device).
    pub bytes: u64,
    /// Of `packets`: those that came in one socket buffer with another one, of a GSO packet. The others
    /// are as many as there were socket buffers.
    pub joined: u64,
    /// First packet.
    pub first_ns: u64,
    /// Last packet; a tick or so too early (the clock is not read for each packet).
    pub last_ns: u64,
    /// `skb->_skb_refdst` without its flag bits, at the last decode. Not an address to follow.
    pub dst: u64,
    /// Time of the last decode of the dst.
    pub dst_ns: u64,
    /// Time of the last change of the decoded decision, 0 for none.
    pub changed_ns: u64,
    /// `skb->_nfct` without its lowest three bits, at the last decode. Not an address to follow.
    pub nfct: u64,
    /// The route decision last decoded.
    pub route: Route,
    /// The outer header last seen.
    pub outer: Outer,
    /// The addresses in which its packets came in, before this node translated them.
    pub nat: Nat,
    /// How often the decoded decision changed.
    pub route_changes: u32,
    /// How often the outer addresses changed.
    pub outer_changes: u32,
    /// `skb->mark` of the last decode.
    pub mark: u32,
    /// Largest packet on the wire without link header, bytes (a segment of a GSO packet).
    pub max_len: u32,
    /// TCP flags seen so far, or-ed.
    pub tcp_flags: u32,
    /// VLAN id in `skb->vlan_tci`, 0 for none.
    pub vlan: u32,
}

impl FlowValue {
    /// Socket buffers, that is what `/sys/class/net/*/statistics` counts on a virtual device.
    pub fn skbs(&self) -> u64 {
        self.packets.saturating_sub(self.joined)
    }
}

/// The unit of a map scan.
#[repr(C, align(8))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FlowEntry {
    /// Which flow, where.
    pub key: FlowKey,
    /// Padding.
    pub reserved: u32,
    /// Its counters and route.
    pub value: FlowValue,
}

/// The payload of [`crate::record::KIND_FLOW`].
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FlowRecord {
    /// Which flow, where.
    pub key: FlowKey,
    /// `CHANGE_*` bits: why this record was sent.
    pub change: u32,
    /// Its counters and route at that time.
    pub value: FlowValue,
}

/// First packet of the flow at this device.
pub const CHANGE_NEW: u32 = 1;
/// The decoded route decision differs from the last one.
pub const CHANGE_ROUTE: u32 = 2;
/// The outer addresses differ from the last ones.
pub const CHANGE_OUTER: u32 = 4;
/// The addresses on the other side of the translation differ from the last ones.
pub const CHANGE_NAT: u32 = 8;
