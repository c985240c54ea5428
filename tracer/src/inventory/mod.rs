//! What is configured on the node, as plain data: links, addresses, routes, rules, neighbours.
//!
//! Filled by `net` from netlink when live and from a capture file otherwise. Nothing here asks
//! the kernel for anything.

mod explain;
mod fib;
mod link;
mod lookup;
mod matching;
mod names;
mod netns;
mod owner;
mod program;
mod role;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

pub use explain::{Explained, Seen};
pub use fib::{FdbEntry, Neighbour, Nexthop, Prefix, Route, Rule, RuleAction, table_name};
pub use link::{Address, Link, LinkKind, Role};
pub use lookup::{AskedFor, Query, Transport};
pub use matching::Match;
pub use names::{DropReasons, Names, Symbols};
pub use netns::Netns;
pub use owner::{Owner, OwnerIndex, OwnerKind};
pub use program::{Attached, TcHook, TcProgram};
pub use role::assign_roles;

use crate::event::{Ifindex, NetnsId, RouteKind};

/// Everything known about the node that the kernel side does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Host name, or the name of the namespace when it has one (`ip netns`).
    pub node: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// The namespace that tracer runs in.
    pub home: NetnsId,
    /// The namespaces that are traced: the home one and the pods behind it.
    pub netns: BTreeMap<NetnsId, Netns>,
    /// Who has addresses outside this node's pods, as far as somebody told: the nodes of the cluster's
    /// list, this node where pods have names, and what an API server knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<IpAddr, Owner>,
    /// Follows from the rest.
    #[serde(skip)]
    pub index: OwnerIndex,
}

impl Inventory {
    /// The home namespace.
    pub fn home(&self) -> Option<&Netns> {
        self.netns.get(&self.home)
    }

    /// A link by namespace and number.
    pub fn link(&self, netns: NetnsId, dev: Ifindex) -> Option<&Link> {
        self.netns.get(&netns)?.links.get(&dev)
    }

    /// The far end of a veth or netkit pair, when its namespace is known.
    pub fn peer(&self, netns: NetnsId, dev: Ifindex) -> Option<(NetnsId, &Link)> {
        let link = self.link(netns, dev)?;
        let (peer_netns, peer) = (link.peer_netns?, link.peer?);
        Some((peer_netns, self.link(peer_netns, peer)?))
    }

    /// The device's name, `if7` when it is not known.
    pub fn dev_name(&self, netns: NetnsId, dev: Ifindex) -> String {
        self.link(netns, dev)
            .map_or_else(|| dev.to_string(), |l| l.name.clone())
    }

    /// A route of a namespace as `ip route` prints it; the table is added where it is not main.
    pub fn route_text(&self, netns: NetnsId, r: &Route) -> String {
        let mut s = match r.kind {
            RouteKind::Unicast => r.dst.to_string(),
            kind => format!("{kind} {}", r.dst),
        };
        let many = r.nexthops.len() > 1;
        for hop in &r.nexthops {
            if many {
                s += " nexthop";
            }
            for (word, value) in [
                ("encap", hop.encap.clone()),
                ("via", hop.gateway.map(|g| g.to_string())),
                ("dev", hop.dev.map(|d| self.dev_name(netns, d))),
            ] {
                if let Some(value) = value {
                    s.extend([" ", word, " ", &value]);
                }
            }
        }
        let numbers = [
            ("table", (r.table != 254).then(|| table_name(r.table))),
            ("metric", (r.metric != 0).then(|| r.metric.to_string())),
            ("mtu", r.mtu.map(|m| m.to_string())),
        ];
        for (word, value) in numbers {
            if let Some(value) = value {
                s.extend([" ", word, " ", &value]);
            }
        }
        s
    }
}
