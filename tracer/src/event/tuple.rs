//! The addresses of a packet.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// IP protocol number of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proto(pub u8);

impl Proto {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// `ICMPv6`.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);

    /// Has ports.
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }

    /// ICMP or `ICMPv6`.
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

impl fmt::Display for Proto {
    /// As in `/etc/protocols`, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "icmp",
            2 => "igmp",
            4 => "ipip",
            6 => "tcp",
            17 => "udp",
            41 => "ipv6",
            47 => "gre",
            50 => "esp",
            51 => "ah",
            58 => "icmp6",
            89 => "ospf",
            112 => "vrrp",
            132 => "sctp",
            n => return write!(f, "proto-{n}"),
        };
        f.pad(name)
    }
}

/// Innermost addresses and ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// Transport protocol.
    pub proto: Proto,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; identifier of an ICMP echo; 0 where there is none.
    pub sport: u16,
    /// Destination port; `type << 8 | code` of an ICMP message.
    pub dport: u16,
    /// A second or later fragment: no ports.
    pub later_fragment: bool,
}

impl Tuple {
    /// The tuple of an answer: addresses and ports swapped, echo request and reply exchanged.
    /// ICMP messages that have no answer give a tuple that matches nothing.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let (sport, dport) = if self.proto.is_icmp() {
            let reply = match (self.proto, self.dport >> 8) {
                (Proto::ICMP, 8) => 0,
                (Proto::ICMP, 0) => 8,
                (Proto::ICMPV6, 128) => 129,
                (Proto::ICMPV6, 129) => 128,
                _ => 255,
            };
            (self.sport, reply << 8)
        } else {
            (self.dport, self.sport)
        };
        Self {
            src: self.dst,
            dst: self.src,
            sport,
            dport,
            ..*self
        }
    }

    /// ICMP type, when it is ICMP.
    pub fn icmp_type(&self) -> Option<u8> {
        self.proto.is_icmp().then_some((self.dport >> 8) as u8)
    }

    /// An ICMP echo request or reply.
    pub fn is_echo(&self) -> bool {
        matches!(
            (self.proto, self.dport >> 8),
            (Proto::ICMP, 0 | 8) | (Proto::ICMPV6, 128 | 129)
        )
    }

    /// Neighbour discovery, MLD, IGMP, redirects, router discovery: housekeeping of the link that is
    /// not shown as a flow. (A node redirects a pod that reaches itself through a service, and drops
    /// the redirect again: translated addresses would mean nothing to the pod.)
    pub fn is_housekeeping(&self) -> bool {
        match self.proto {
            Proto::ICMP => matches!(self.dport >> 8, 5 | 9 | 10) && !self.later_fragment,
            Proto::ICMPV6 => matches!(self.dport >> 8, 130..=137 | 143),
            Proto(2) => true,
            _ => false,
        }
    }

    /// IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.src.is_ipv6()
    }
}
