//! What became of a flow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

use super::Sums;
use crate::event::{
    Counters, Dir, Encap, IcmpSample, Ifindex, KtimeNs, Nat, NeighFailure, NetnsId, RouteDecision,
    RouteFailure, Tuple,
};

/// Where a flow entered this node: equal addresses in two scopes are two flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Namespace.
    pub netns: NetnsId,
    /// First device; `None` for flows that the node itself (or a pod's socket seen only by its
    /// failures) started.
    pub dev: Option<Ifindex>,
    /// VNI that it arrived with.
    pub vni: Option<u32>,
}

/// Identity of a flow: both directions together, named by the direction that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    /// The opening direction.
    pub tuple: Tuple,
    /// Where it entered.
    pub scope: Scope,
}

/// What became of one direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered to a socket of this node.
    Delivered,
    /// Left by a device.
    Forwarded(Ifindex),
    /// Ended on this node, for this reason.
    Dropped(Arc<str>),
    /// Left by a device, and nothing came back.
    Unanswered(Ifindex),
    /// Not known, and why.
    Unknown(String),
}

impl Outcome {
    /// The name in machine output.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Forwarded(_) => "forwarded",
            Self::Dropped(_) => "dropped",
            Self::Unanswered(_) => "unanswered",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A flow seen at a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Namespace.
    pub netns: NetnsId,
    /// Device.
    pub dev: Ifindex,
    /// Direction at the device.
    pub dir: Dir,
    /// Totals here.
    pub counters: Counters,
    /// The encapsulation on the wire here.
    pub encap: Option<Box<Encap>>,
    /// VNI that the packet carries beside it, at a collect-metadata tunnel device or behind it.
    pub tunnel_key: Option<u32>,
    /// VLAN id of the tag, 0 for none.
    pub vlan: u16,
    /// Largest wire packet, bytes without the link header.
    pub max_len: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// The addresses that packets have here, when they are not those of the flow: this node
    /// translates them.
    pub wire: Option<Box<Tuple>>,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Passed a device.
    Hop(Hop),
    /// Routing decided.
    Route(Arc<Decision>),
}

/// A route decision with what the node's configuration adds to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What was read from the packet.
    pub decision: RouteDecision,
    /// IPv6.
    pub ipv6: bool,
    /// Preference of the rule that led to the table; `None` when it could not be worked out.
    pub rule: Option<u32>,
    /// Preferred source of the matched route.
    pub prefsrc: Option<std::net::IpAddr>,
    /// The configured route that was matched, as `ip route` prints its destination
    /// (`default`, `10.244.2.0/24`); `None` when it could not be worked out.
    pub matched: Option<String>,
    /// How often the decision changed during the flow.
    pub changes: u32,
    /// A BPF program sent the packet on, past routing: the names of those that may have been it,
    /// none when no program is known where it came from. `None` when the stack sent it on.
    pub redirected_by: Option<Vec<Arc<str>>>,
    /// Why something of it is not known.
    pub why: Option<String>,
}

/// Packets of a flow that ended at one place of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Where and why.
    pub place: crate::event::DropPlace,
    /// Wire packets.
    pub count: u64,
    /// First one.
    pub first: KtimeNs,
    /// Last one.
    pub last: KtimeNs,
    /// What routing had decided.
    pub route: Option<RouteDecision>,
    /// MTU of the egress device, bytes.
    pub mtu: Option<u32>,
    /// Largest packet, bytes without the link header.
    pub max_len: u32,
    /// Encapsulation around it when it ended.
    pub encap: Option<Encap>,
}

/// One direction of a flow. What most flows do not have takes a pointer and no vector's three words: there may be
/// 100,000 of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Steps in the order the packets take them.
    pub path: Vec<Step>,
    /// Where packets of it ended.
    pub drops: ThinVec<Drop>,
    /// Packets, counted once (at the first hop).
    pub packets: u64,
    /// Bytes, counted once (at the first hop).
    pub bytes: u64,
    /// First packet.
    pub first: KtimeNs,
    /// Last packet.
    pub last: KtimeNs,
    /// TCP flags seen, or-ed.
    pub tcp_flags: u8,
    /// ICMP errors about this direction.
    pub icmp: ThinVec<IcmpSample>,
    /// Retransmissions of the sending socket, when it lives on this node.
    pub retransmits: u64,
    /// Resets that answered it (sent by this node or received for it).
    pub resets: u64,
    /// What became of it; `None` when nothing of this direction was seen. A local sender without
    /// a route is dropped by the name of its errno, although no packet was made.
    pub outcome: Option<Outcome>,
}

impl Direction {
    /// The devices passed, in order.
    pub fn hops(&self) -> impl DoubleEndedIterator<Item = &Hop> {
        self.path.iter().filter_map(|s| match s {
            Step::Hop(h) => Some(h),
            Step::Route(_) => None,
        })
    }
}

/// A flow with both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Identity.
    pub id: FlowId,
    /// The direction that opened it.
    pub forward: Direction,
    /// The answers.
    pub reply: Direction,
    /// A local sender found no route: no packet was made.
    pub route_failures: ThinVec<RouteFailure>,
    /// The connection, when this node translates it; the last one when there were several.
    pub nat: Option<Box<Nat>>,
}

impl Flow {
    /// Hops of both directions.
    pub fn hops(&self) -> impl Iterator<Item = &Hop> {
        self.forward
            .path
            .iter()
            .chain(&self.reply.path)
            .filter_map(|s| match s {
                Step::Hop(h) => Some(h),
                Step::Route(_) => None,
            })
    }

    /// The direction of `id.tuple` on the other side of address translation, the server's.
    pub fn far(&self) -> Option<Tuple> {
        self.nat.as_ref()?.on_server_side(&self.id.tuple)
    }

    /// The addresses that routing looks up for the direction of `id.tuple`: after the destination is
    /// translated, before the source is. Those of the answers are the reverse.
    pub fn routed(&self) -> Tuple {
        let tuple = self.id.tuple;
        self.nat.as_ref().map_or(tuple, |n| n.routed(&tuple))
    }

    /// The same flow seen from the other end: replies first. Outcomes stay with their direction.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let tuple = self.id.tuple;
        let back = if tuple.later_fragment {
            Tuple {
                src: tuple.dst,
                dst: tuple.src,
                ..tuple
            }
        } else {
            tuple.reversed()
        };
        let entry = self.reply.path.iter().find_map(|s| match s {
            Step::Hop(h) => Some(h),
            Step::Route(_) => None,
        });
        let entry_in = entry.filter(|h| h.dir == Dir::In);
        let scope = Scope {
            netns: self.id.scope.netns,
            dev: entry_in.map(|h| h.dev),
            vni: entry_in
                .and_then(|h| h.encap.as_deref())
                .and_then(|e| e.key.vni),
        };
        Self {
            id: FlowId { tuple: back, scope },
            forward: self.reply.clone(),
            reply: self.forward.clone(),
            route_failures: self.route_failures.clone(),
            nat: self.nat.clone(),
        }
    }
}

/// What tracer itself did not show. Anything but zeros can hide an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Ring-buffer records that were not sent. Totals stay exact; moments may be missing.
    pub events: u64,
    /// Flows, drops or errors that found their table full.
    pub evicted: u64,
    /// Packets and records that could not be decoded.
    pub undecoded: u64,
    /// Packets that are in no flow: headers not readable, or a program that the kernel skipped.
    pub untracked: u64,
    /// Route lookups that were not seen, because they came upon another one on their CPU. Packets are
    /// counted all the same, and their decision is read from them; a table may be missing, and a local sender
    /// that found no route. Files of before have it in `untracked`.
    #[serde(default)]
    pub lookups: u64,
}

impl Loss {
    /// Nothing was lost.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that was lost, of whatever kind.
    pub fn sum(&self) -> u64 {
        self.events + self.evicted + self.undecoded + self.untracked + self.lookups
    }
}

/// An immutable picture of everything known at one time; what all views and rules read.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Time of the last event or tick applied.
    pub at: KtimeNs,
    /// Time of the start.
    pub started: KtimeNs,
    /// Flows, those in trouble first, then by first packet.
    pub flows: Vec<Arc<Flow>>,
    /// Those that the picture before had and this one has not, as they were then: forgotten, or part of
    /// others now.
    pub gone: Vec<Arc<Flow>>,
    /// Drops that belong to no flow (headers not readable, no flow seen).
    pub stray_drops: Vec<Drop>,
    /// Ends of packets that are no loss: (reason, symbol) → packets.
    pub no_loss: Vec<(Arc<str>, Arc<str>, u64)>,
    /// Neighbours that failed, with counts.
    pub neigh_failures: Vec<(NeighFailure, u64)>,
    /// What tracer did not show.
    pub loss: Loss,
    /// Only when they were asked for ([`ModelConfig::sums`](super::ModelConfig::sums)).
    pub sums: Option<Sums>,
}
