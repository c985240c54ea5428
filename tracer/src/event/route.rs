//! Route decisions as far as the kernel side can read them.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{Ifindex, KtimeNs};

/// Result type of a route, as `ip route` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Forwarded or sent to a next hop.
    Unicast,
    /// Delivered to this node.
    Local,
    /// Broadcast.
    Broadcast,
    /// Anycast.
    Anycast,
    /// Multicast.
    Multicast,
    /// Silently discarded.
    Blackhole,
    /// Discarded with ICMP unreachable.
    Unreachable,
    /// Discarded with ICMP prohibited.
    Prohibit,
    /// Lookup goes on in the next rule.
    Throw,
    /// No route matched in any table.
    None,
    /// Not known.
    Unknown,
}

impl RouteKind {
    /// From the kernel's `RTN_*` numbers (`linux/rtnetlink.h`).
    pub fn from_rtn(n: u8) -> Self {
        match n {
            1 => Self::Unicast,
            2 => Self::Local,
            3 => Self::Broadcast,
            4 => Self::Anycast,
            5 => Self::Multicast,
            6 => Self::Blackhole,
            7 => Self::Unreachable,
            8 => Self::Prohibit,
            9 => Self::Throw,
            _ => Self::Unknown,
        }
    }

    /// The name, as `ip route` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Anycast => "anycast",
            Self::Multicast => "multicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a decision is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// A fib lookup for this packet's addresses was seen and agrees with its dst entry.
    Lookup,
    /// Read from the packet's dst entry; the lookup that was seen named another next hop.
    Dst,
    /// Read from the packet's dst entry; no lookup was seen, the route was cached.
    Cached,
    /// No dst entry: worked out from the egress device or the node's configuration.
    Inferred,
    /// Not known; [`Why`] says why.
    Unknown,
}

impl How {
    /// The name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Dst => "dst",
            Self::Cached => "cached",
            Self::Inferred => "inferred",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a decision is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The packet had no dst entry, though it came in by a device.
    NotRouted,
    /// The packet had no dst entry and was made on this node.
    PacketSocket,
    /// The packet ended without a dst entry.
    EndedBefore,
    /// The packet was dropped for its route, which the kernel had taken from it before.
    RouteTaken,
    /// The packet was routed in another namespace, and came down through a device of it.
    OtherNetns,
    /// It left before tracer's program was at the device.
    Early,
}

impl Why {
    /// One clause for a person.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotRouted => {
                "the packet carried no route: it was not routed here, or another BPF program \
                 redirected it"
            }
            Self::Early => "it left while tracer was still being attached to the device",
            Self::EndedBefore => "it ended before a route was chosen for it",
            Self::RouteTaken => {
                "it was dropped for its route, which the kernel had already taken from it"
            }
            Self::OtherNetns => {
                "it was routed in another network namespace, which has a macvlan, ipvlan or VLAN \
                 device on this one"
            }
            Self::PacketSocket => {
                "the packet carried no route: it was sent through a packet socket or by another BPF \
                 program"
            }
        }
    }
}

/// What a lookup asked for beside the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asked {
    /// Mark at that time; the packet may have lost it since.
    pub mark: u32,
    /// User of the socket; 0 for packets of others.
    pub uid: u32,
    /// Device that the socket is bound to.
    pub oif: Option<Ifindex>,
    /// The DS field without the ECN bits.
    pub tos: u8,
    /// The sender left the source address open: rules with `from` did not apply.
    pub any_source: bool,
}

/// What routing decided for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteDecision {
    /// Result type.
    pub kind: RouteKind,
    /// Table that answered; `None` when not known.
    pub table: Option<u32>,
    /// Next hop; `None` when the destination is on-link.
    pub gateway: Option<IpAddr>,
    /// Egress device that routing chose; `None` when there is none or it is not known.
    pub dev: Option<Ifindex>,
    /// Prefix length of the matched route.
    pub prefix_len: Option<u8>,
    /// Metric of the matched route.
    pub metric: Option<u32>,
    /// Path MTU kept in the route, bytes.
    pub pmtu: Option<u32>,
    /// Positive errno, 0 for none.
    pub errno: u32,
    /// VNI of a lightweight tunnel on the route (`encap ip id …`); `Some(0)` when it has no id.
    pub lwtunnel: Option<u32>,
    /// The packet is bridged (`br_netfilter`'s fake dst), not routed.
    pub bridged: bool,
    /// The decision is that of source validation: the way back to the packet's source, made with
    /// the addresses swapped. The packet was dropped before its own way was taken.
    pub source_check: bool,
    /// Routing did not send the packet this way: it has no dst entry, or it came in and was looked
    /// up for output (`bpf_redirect_neigh`).
    pub bypass: bool,
    /// When the decision for this flow last became another; `None` when it never did.
    pub changed: Option<KtimeNs>,
    /// What the lookup asked for; `None` when it was not seen.
    pub asked: Option<Asked>,
    /// Why it is not known.
    pub why: Option<Why>,
    /// How it is known.
    pub how: How,
}

impl RouteDecision {
    /// Nothing is known of the decision but how that came about.
    pub fn unknown(how: How) -> Self {
        Self {
            kind: RouteKind::Unknown,
            table: None,
            gateway: None,
            dev: None,
            prefix_len: None,
            metric: None,
            pmtu: None,
            errno: 0,
            lwtunnel: None,
            bridged: false,
            source_check: false,
            bypass: false,
            changed: None,
            asked: None,
            why: None,
            how,
        }
    }
}
