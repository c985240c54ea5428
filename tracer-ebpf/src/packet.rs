//! Packets with their bytes, for a recording: a [`crate::record::RecordHeader`], then a
//! [`PacketHead`], then [`PacketHead::captured`] bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::FlowKey;

/// Most bytes of a packet that are sent, whatever the global `SNAPLEN` asks for.
pub const SNAP_MAX: u32 = 16_384;

/// [`PacketHead::what`]: at a device, in the direction of the key.
pub const WHAT_DEVICE: u16 = 0;
/// [`PacketHead::what`]: the packet ended; `location` and `reason` say where and why.
pub const WHAT_DROP: u16 = 1;

/// What is known of a packet beside its bytes.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct PacketHead {
    /// Address of the socket buffer: with time and addresses it tells which observations are of
    /// the same packet. Never leaves tracer.
    pub skb: u64,
    /// Return address in the function that freed it; 0 at a device.
    pub location: u64,
    /// Which flow, where; the family of the tuple is 0 when a dropped packet could not be read.
    pub key: FlowKey,
    /// Bytes of the whole packet, with the link header where there is one.
    pub len: u32,
    /// Bytes that follow.
    pub captured: u32,
    /// Wire segments.
    pub segs: u32,
    /// `enum skb_drop_reason`; 0 at a device.
    pub reason: u32,
    /// TCP flags.
    pub tcp_flags: u32,
    /// IPv4 identification or IPv6 fragment identification, host byte order.
    pub ip_id: u32,
    /// Bytes of the link header in front of the network header; 0 for none.
    pub link: u16,
    /// VLAN tag that the device took out of the packet (TCI); 0 for none.
    pub vlan_tci: u16,
    /// [`WHAT_DEVICE`] or [`WHAT_DROP`].
    pub what: u16,
    /// `EtherType` behind the link header, host byte order.
    pub ethertype: u16,
    /// Payload bytes of each wire segment but the last (`gso_size`); 0 for a whole packet.
    pub gso_size: u32,
}

const _: () = assert!(size_of::<PacketHead>() == 112);
