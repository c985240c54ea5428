//! Decoded facts: what the kernel side saw, in the terms of the field. Pure data, no clock.

mod encap;
mod id;
mod nat;
mod notice;
mod packet;
mod route;
mod sample;
mod tuple;

pub use encap::{Encap, EncapKey, EncapKind};
pub use id::{Dir, Ifindex, KtimeNs, NetnsId};
pub use nat::Nat;
pub use notice::{IcmpSample, NeighFailure, RouteFailure, TcpNotice, TcpWhat};
pub use packet::{PacketPlace, RawPacket};
pub use route::{Asked, How, RouteDecision, RouteKind, Why};
pub use sample::{Change, Counters, DropPlace, DropSample, HopKey, HopSample, PacketSample};
pub use tuple::{Proto, Tuple};

use serde::{Deserialize, Serialize};

/// One decoded record: from the ring buffer, from a scan of the maps, or from a capture file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When the kernel side wrote it.
    pub at: KtimeNs,
    /// What it says.
    pub body: Body,
}

/// What an [`Event`] says. Counters in it are totals since the start, never increments, so that
/// applying an event twice changes nothing and a lost one is made good by the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// A flow at a device: totals, route and encapsulation.
    Hop(HopSample),
    /// Packets of a flow that ended somewhere.
    Drop(DropSample),
    /// ICMP errors about a flow.
    Icmp(IcmpSample),
    /// A local sender found no route; no packet was made.
    RouteFailure(RouteFailure),
    /// A next hop does not answer ARP or ND.
    Neigh(NeighFailure),
    /// A TCP retransmission or reset of a local socket.
    Tcp(TcpNotice),
    /// One packet at one device (`--packets`).
    Packet(PacketSample),
}
