//! Records in the ring buffer: a header, then one payload.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::{FlowKey, Tuple};

/// Payload [`crate::flow::FlowRecord`].
pub const KIND_FLOW: u16 = 1;
/// Payload [`crate::drop::DropRecord`].
pub const KIND_DROP: u16 = 2;
/// Payload [`crate::drop::IcmpRecord`].
pub const KIND_ICMP_ERROR: u16 = 3;
/// Payload [`RouteFailRecord`].
pub const KIND_ROUTE_FAIL: u16 = 4;
/// Payload [`NeighRecord`].
pub const KIND_NEIGH: u16 = 5;
/// Payload [`TcpRecord`].
pub const KIND_TCP: u16 = 6;
/// Payload [`PacketRecord`].
pub const KIND_PACKET: u16 = 7;
/// Payload [`crate::drop::DropRecord`]; `location` is 0: the driver refused (`net_dev_xmit` rc).
pub const KIND_XMIT_ERROR: u16 = 8;
/// Payload [`crate::packet::PacketHead`], followed by bytes of the packet.
pub const KIND_BYTES: u16 = 32;

/// In front of every record.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct RecordHeader {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub ts_ns: u64,
    /// One of the `KIND_*` values.
    pub kind: u16,
    /// CPU that wrote it.
    pub cpu: u16,
    /// Length of the payload in bytes.
    pub len: u32,
}

/// A local sender's lookup failed.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct RouteFailRecord {
    /// Which flow.
    pub key: crate::route::FailKey,
    /// How often and why.
    pub value: crate::route::FailValue,
}

/// A neighbour entry failed: the next hop does not answer ARP or ND.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct NeighRecord {
    /// Address that does not answer, network byte order.
    pub address: [u8; 16],
    /// Namespace.
    pub netns: u32,
    /// Device.
    pub ifindex: u32,
    /// `NUD_*` state bits of `linux/neighbour.h` (0x20 failed).
    pub state: u32,
    /// Packets waiting in its queue.
    pub queued: u32,
    /// 4 or 6.
    pub family: u8,
    /// Padding.
    pub reserved: [u8; 3],
}

/// A segment was sent again.
pub const TCP_RETRANSMIT: u8 = 1;
/// This node sent a reset.
pub const TCP_SEND_RESET: u8 = 2;
/// This node received a reset.
pub const TCP_RECEIVE_RESET: u8 = 3;

/// A TCP event of a local socket (a pod's or the node's).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct TcpRecord {
    /// The socket's addresses: source is the local end.
    pub tuple: Tuple,
    /// Namespace of the socket.
    pub netns: u32,
    /// `TCP_*` kind.
    pub what: u8,
    /// Socket state (`TCP_SYN_SENT` 2, …).
    pub state: u8,
    /// Padding.
    pub reserved: [u8; 2],
}

/// One packet at one device.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct PacketRecord {
    /// Which flow, where.
    pub key: FlowKey,
    /// Bytes with the link header.
    pub len: u32,
    /// Wire segments.
    pub segs: u32,
    /// TCP flags of this packet.
    pub tcp_flags: u32,
    /// IPv4 identification or IPv6 fragment identification, host byte order.
    pub ip_id: u32,
}
