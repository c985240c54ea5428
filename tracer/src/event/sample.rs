//! Totals of a flow at a place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Dir, Encap, EncapKey, Ifindex, KtimeNs, Nat, NetnsId, RouteDecision, Tuple};

/// One flow at one device in one direction: the unit that the kernel side counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HopKey {
    /// Innermost addresses.
    pub tuple: Tuple,
    /// Encapsulation on this device.
    pub encap: Option<EncapKey>,
    /// Namespace of the device.
    pub netns: NetnsId,
    /// Device.
    pub dev: Ifindex,
    /// Direction at the device.
    pub dir: Dir,
    /// For outgoing packets the device they came in by; `None` when made on this node.
    pub in_dev: Option<Ifindex>,
    /// VNI that the packet carries beside it where it is not encapsulated: at a collect-metadata
    /// tunnel device, and when it came in by one.
    #[serde(default)]
    pub tunnel_key: Option<u32>,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Wire packets (segments of a GSO packet counted each).
    pub packets: u64,
    /// Bytes with the link header.
    pub bytes: u64,
    /// Socket buffers.
    pub skbs: u64,
    /// First packet.
    pub first: KtimeNs,
    /// Last packet.
    pub last: KtimeNs,
}

/// Why a sample was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// First packet of the flow at this device.
    pub new: bool,
    /// The route decision changed.
    pub route: bool,
    /// The outer addresses changed.
    pub outer: bool,
}

/// A flow at a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopSample {
    /// Which flow, where.
    pub key: HopKey,
    /// Totals.
    pub counters: Counters,
    /// Decision of the last packet that was looked at; only for outgoing packets.
    pub route: Option<RouteDecision>,
    /// Outer header on this device.
    pub encap: Option<Encap>,
    /// The connection, when this node has translated the packets; only for outgoing ones.
    pub nat: Option<Nat>,
    /// `skb->mark`.
    pub mark: u32,
    /// Largest wire packet, bytes without link header.
    pub max_len: u32,
    /// TCP flags seen so far, or-ed.
    pub tcp_flags: u8,
    /// VLAN id of the packet's tag, 0 for none.
    pub vlan: u16,
    /// How often the decision changed.
    pub route_changes: u32,
    /// How often the outer addresses changed.
    pub outer_changes: u32,
    /// Why this sample was sent; all false when it is from a scan.
    pub change: Change,
}

/// Where and why packets ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DropPlace {
    /// Name in this kernel's `enum skb_drop_reason`, without `SKB_DROP_REASON_`.
    pub reason: Arc<str>,
    /// Kernel function that freed the packet, without compiler suffix; `?` when not known.
    pub symbol: Arc<str>,
    /// Namespace; `None` when the packet carried none.
    pub netns: Option<NetnsId>,
    /// `skb->dev`: for some functions the input, for others the output device.
    pub dev: Option<Ifindex>,
    /// Device it came in by (`skb->skb_iif`).
    pub in_dev: Option<Ifindex>,
}

/// Packets of a flow that ended at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropSample {
    /// The flow; `None` when the headers could not be read.
    pub tuple: Option<Tuple>,
    /// Encapsulation around it.
    pub encap: Option<Encap>,
    /// The same direction as the client knows it, when this node translates addresses: the packet
    /// may have been dropped before, after, or between the two steps of the translation.
    pub original: Option<Tuple>,
    /// Where and why.
    pub place: DropPlace,
    /// Wire packets.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
    /// First one.
    pub first: KtimeNs,
    /// Last one.
    pub last: KtimeNs,
    /// What routing had decided, with the errno it left in the dst entry.
    pub route: Option<RouteDecision>,
    /// MTU of the egress device, bytes.
    pub mtu: Option<u32>,
    /// Largest packet, bytes without the link header.
    pub max_len: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// The packet was owned by a local socket.
    pub has_sock: bool,
    /// False when it is the ordinary end of a packet (see `decode::no_loss`).
    pub loss: bool,
}

/// One packet at one device (`--packets`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketSample {
    /// Which flow, where.
    pub key: HopKey,
    /// Bytes with the link header.
    pub len: u32,
    /// Wire segments.
    pub segs: u32,
    /// TCP flags.
    pub tcp_flags: u8,
    /// IP identification.
    pub ip_id: u32,
}
