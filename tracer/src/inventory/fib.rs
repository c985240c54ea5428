//! Routes, rules and neighbours.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::event::{Ifindex, RouteKind};

/// A prefix; host bits are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefix {
    /// Network address.
    pub address: IpAddr,
    /// Length in bits.
    pub len: u8,
}

impl Prefix {
    /// Clears the host bits of `address`. A length beyond the family's is cut to it.
    pub fn new(address: IpAddr, len: u8) -> Self {
        match address {
            IpAddr::V4(a) => {
                let len = len.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Self {
                    address: IpAddr::V4((u32::from(a) & mask).into()),
                    len,
                }
            }
            IpAddr::V6(a) => {
                let len = len.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                Self {
                    address: IpAddr::V6((u128::from(a) & mask).into()),
                    len,
                }
            }
        }
    }

    /// `address` lies in the prefix.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.address.is_ipv6()
            && Self::new(address, self.len).address == self.address
    }

    /// The default route's prefix.
    pub fn is_default(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Display for Prefix {
    /// As `ip route` prints it: `default`, a bare host address, or `address/len`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.address.is_ipv6() { 128 } else { 32 };
        match self.len {
            0 => f.pad("default"),
            n if n == host => f.pad(&self.address.to_string()),
            n => f.pad(&format!("{}/{n}", self.address)),
        }
    }
}

/// One next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nexthop {
    /// Gateway; `None` for on-link.
    pub gateway: Option<IpAddr>,
    /// Device.
    pub dev: Option<Ifindex>,
    /// Weight in a multipath route, 1 otherwise.
    pub weight: u32,
    /// `onlink` flag.
    pub onlink: bool,
    /// `linkdown` or `dead` flag.
    pub dead: bool,
    /// Lightweight tunnel, as `ip route` prints it (`ip id 7 dst 10.0.0.2`).
    pub encap: Option<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: Prefix,
    /// Table.
    pub table: u32,
    /// Result type.
    pub kind: RouteKind,
    /// `RTPROT_*` (2 kernel, 3 boot, 4 static, 9 ra, 16 dhcp, 186 bgp, …).
    pub protocol: u8,
    /// Metric; 0 when none is set.
    pub metric: u32,
    /// Preferred source.
    pub prefsrc: Option<IpAddr>,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// Next hops; several for multipath.
    pub nexthops: Vec<Nexthop>,
    /// MTU metric of the route, bytes.
    pub mtu: Option<u32>,
    /// Id of the nexthop object (`nhid`), when it uses one.
    pub nhid: Option<u32>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Look up `Rule::table`.
    Lookup,
    /// Go to the rule with this preference.
    Goto(u32),
    /// Drop.
    Blackhole,
    /// Refuse with unreachable.
    Unreachable,
    /// Refuse with prohibited.
    Prohibit,
    /// Do nothing.
    Nop,
}

/// A policy routing rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// For IPv6 (otherwise IPv4).
    pub ipv6: bool,
    /// Preference: rules are tried in ascending order.
    pub preference: u32,
    /// `from`; `None` for all.
    pub from: Option<Prefix>,
    /// `to`; `None` for all.
    pub to: Option<Prefix>,
    /// `iif`, by name.
    pub iif: Option<String>,
    /// `oif`, by name.
    pub oif: Option<String>,
    /// `fwmark` and its mask.
    pub fwmark: Option<(u32, u32)>,
    /// `uidrange`.
    pub uid_range: Option<(u32, u32)>,
    /// `ipproto`.
    pub ip_proto: Option<u8>,
    /// `tos` or `dscp`: the DS field without the ECN bits.
    #[serde(default)]
    pub tos: Option<u8>,
    /// `sport`, first and last.
    #[serde(default)]
    pub sport: Option<(u16, u16)>,
    /// `dport`, first and last.
    #[serde(default)]
    pub dport: Option<(u16, u16)>,
    /// `suppress_prefixlength`.
    pub suppress_prefix_len: Option<u32>,
    /// `not`.
    pub invert: bool,
    /// Table of a lookup.
    pub table: u32,
    /// Action.
    pub action: RuleAction,
    /// The rule as `ip rule` prints it, without the preference.
    pub text: String,
}

/// A neighbour (ARP, ND) entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Address.
    pub address: IpAddr,
    /// Device.
    pub dev: Ifindex,
    /// Link-layer address as text; `None` when it is not resolved.
    pub mac: Option<String>,
    /// State, as `ip neigh` prints it: `REACHABLE`, `STALE`, `FAILED`, `INCOMPLETE`, `PERMANENT`, …
    pub state: String,
}

/// An entry of a VXLAN device's forwarding database: which tunnel endpoint has a MAC address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntry {
    /// VXLAN device.
    pub dev: Ifindex,
    /// MAC address as text; all zeros for packets whose destination is not known.
    pub mac: String,
    /// Tunnel endpoint (VTEP); `None` for an entry that uses a nexthop group.
    pub dst: Option<IpAddr>,
    /// VNI of its own, when it is not that of the device.
    pub vni: Option<u32>,
}

impl FdbEntry {
    /// Where packets go whose destination MAC has no entry.
    pub fn is_default(&self) -> bool {
        self.mac.bytes().all(|b| b == b'0' || b == b':')
    }
}

/// A table's name as in `/etc/iproute2/rt_tables` for the kernel's own, otherwise its number.
pub fn table_name(table: u32) -> String {
    match table {
        253 => "default".into(),
        254 => "main".into(),
        255 => "local".into(),
        n => n.to_string(),
    }
}
