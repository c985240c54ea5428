//! Links (devices) and their addresses.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::Prefix;
use crate::event::{Ifindex, NetnsId};

/// What a link is, with what matters for forwarding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// A physical or virtio device, or one whose driver says nothing.
    Physical,
    /// `lo`.
    Loopback,
    /// One end of a veth pair.
    Veth,
    /// One end of a netkit pair.
    Netkit,
    /// A bridge.
    Bridge,
    /// 802.1Q VLAN.
    Vlan {
        /// VLAN id.
        id: u16,
    },
    /// VXLAN.
    Vxlan {
        /// VNI; `None` for `external` (collect metadata) devices.
        vni: Option<u32>,
        /// UDP destination port.
        port: u16,
        /// Local tunnel address.
        local: Option<IpAddr>,
        /// Remote or group address.
        remote: Option<IpAddr>,
    },
    /// Geneve.
    Geneve {
        /// VNI; `None` for `external` devices.
        vni: Option<u32>,
        /// UDP destination port.
        port: u16,
        /// Remote address.
        remote: Option<IpAddr>,
    },
    /// Another tunnel: `ipip`, `sit`, `ip6tnl`, `gre`, `gretap`, `ip6gre`, `wireguard`, `xfrm`, `tun`.
    Tunnel {
        /// Kind, as `ip -d link` prints it.
        kind: String,
        /// Local address.
        local: Option<IpAddr>,
        /// Remote address.
        remote: Option<IpAddr>,
    },
    /// VRF.
    Vrf {
        /// Its table.
        table: u32,
    },
    /// Any other kind, by the name the kernel gives it.
    Other(String),
}

impl LinkKind {
    /// Encapsulates packets.
    pub fn is_tunnel(&self) -> bool {
        matches!(
            self,
            Self::Vxlan { .. } | Self::Geneve { .. } | Self::Tunnel { .. }
        )
    }

    /// The VNI of a VXLAN or Geneve device that has a fixed one.
    pub fn vni(&self) -> Option<u32> {
        match self {
            Self::Vxlan { vni, .. } | Self::Geneve { vni, .. } => *vni,
            _ => None,
        }
    }

    /// The name, as `ip -d link` prints it.
    pub fn name(&self) -> &str {
        match self {
            Self::Physical => "ether",
            Self::Loopback => "loopback",
            Self::Veth => "veth",
            Self::Netkit => "netkit",
            Self::Bridge => "bridge",
            Self::Vlan { .. } => "vlan",
            Self::Vxlan { .. } => "vxlan",
            Self::Geneve { .. } => "geneve",
            Self::Vrf { .. } => "vrf",
            Self::Tunnel { kind, .. } | Self::Other(kind) => kind,
        }
    }
}

/// What a device is for on this node. Worked out, not configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A default route or a node address is on it.
    Uplink,
    /// Its far end is in another namespace and it is no uplink.
    Pod,
    /// It encapsulates.
    Tunnel,
    /// A bridge.
    Bridge,
    /// `lo`.
    Loopback,
    /// Anything else.
    #[default]
    Other,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Uplink => "uplink",
            Self::Pod => "pod",
            Self::Tunnel => "tunnel",
            Self::Bridge => "bridge",
            Self::Loopback => "loopback",
            Self::Other => "other",
        })
    }
}

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// `RT_SCOPE_*`: 0 global, 253 link, 254 host.
    pub scope: u8,
}

impl Address {
    /// The on-link prefix that the address makes.
    pub fn prefix(&self) -> Prefix {
        Prefix::new(self.address, self.prefix_len)
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Number.
    pub ifindex: Ifindex,
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: LinkKind,
    /// What it is for.
    pub role: Role,
    /// MTU in bytes, without the link header.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Link-layer address as text, empty when there is none.
    pub mac: String,
    /// Bridge, bond or VRF it is a port of.
    pub master: Option<Ifindex>,
    /// Lower device (`IFLA_LINK`) of a VLAN, VXLAN, macvlan in the same namespace.
    pub lower: Option<Ifindex>,
    /// Number of the far end of a veth or netkit pair.
    pub peer: Option<Ifindex>,
    /// Namespace of the far end, when it is another one and could be identified.
    pub peer_netns: Option<NetnsId>,
    /// Addresses.
    pub addresses: Vec<Address>,
}

impl Link {
    /// Whether the address is one of this device.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.address == address)
    }
}
