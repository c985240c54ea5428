//! Encapsulation as it is on the wire.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Kind of encapsulation, named as in `ip -d link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncapKind {
    /// VXLAN.
    Vxlan,
    /// Geneve.
    Geneve,
    /// IPv4 in IP.
    Ipip,
    /// IPv6 in IP (sit, ip6tnl).
    Ip6,
    /// GRE.
    Gre,
}

impl EncapKind {
    /// The name, as in `ip -d link`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Ipip => "ipip",
            Self::Ip6 => "ip6",
            Self::Gre => "gre",
        }
    }
}

impl fmt::Display for EncapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The part of an encapsulation that tells flows apart: equal inner addresses in two VNIs are two
/// flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EncapKey {
    /// Kind.
    pub kind: EncapKind,
    /// VNI, or GRE key; `None` for kinds without one.
    pub vni: Option<u32>,
}

/// Outer header of an encapsulated packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Encap {
    /// Kind and VNI.
    pub key: EncapKey,
    /// Outer source address.
    pub src: IpAddr,
    /// Outer destination address: the remote tunnel endpoint when sending.
    pub dst: IpAddr,
    /// Outer UDP source port, 0 without UDP.
    pub sport: u16,
    /// Outer UDP destination port, 0 without UDP.
    pub dport: u16,
    /// Outer IPv4 don't-fragment bit.
    pub df: bool,
}
