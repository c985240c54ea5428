//! One network namespace.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{Address, FdbEntry, Link, Neighbour, Owner, Route, Rule, TcHook, TcProgram};
use crate::event::{Ifindex, NetnsId};

/// The network configuration of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netns {
    /// Inode number.
    pub id: NetnsId,
    /// Name under `/run/netns`, when it has one.
    pub name: Option<String>,
    /// A process in it, when one was found.
    pub pid: Option<u32>,
    /// The pod or container that it belongs to, as far as could be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// True for a pod: entered only for what the node's story needs.
    pub edge: bool,
    /// Links by number.
    pub links: BTreeMap<Ifindex, Link>,
    /// Routes of all tables and both families, in the order of the kernel's dump.
    pub routes: Vec<Route>,
    /// Rules of both families, by preference.
    pub rules: Vec<Rule>,
    /// Neighbour entries.
    pub neighbours: Vec<Neighbour>,
    /// Forwarding entries of VXLAN devices; not read in pods.
    #[serde(default)]
    pub fdb: Vec<FdbEntry>,
    /// Sysctls that explain losses, by name below `net/` (`ipv4/ip_forward` → `1`).
    pub sysctls: BTreeMap<String, String>,
    /// BPF programs of others at the tc hooks of a device. Not read in pods' namespaces.
    #[serde(default)]
    pub programs: BTreeMap<Ifindex, Vec<TcProgram>>,
}

impl Netns {
    /// The link that has `address`.
    pub fn owner(&self, address: IpAddr) -> Option<&Link> {
        self.links.values().find(|l| l.has(address))
    }

    /// The device that has an address, as packets that come in by `iif` find it: VRFs keep equal
    /// addresses apart.
    pub fn owner_for(&self, address: IpAddr, iif: Option<Ifindex>) -> Option<&Link> {
        let came = iif.and_then(|dev| self.links.get(&dev));
        let beside = || {
            let master = came?.master?;
            let mut ports = self.links.values().filter(|l| l.master == Some(master));
            ports.find(|l| l.has(address))
        };
        came.filter(|l| l.has(address))
            .or_else(beside)
            .or_else(|| self.owner(address))
    }

    /// A link by name.
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|l| l.name == name)
    }

    /// Addresses with the link they are on.
    pub fn addresses(&self) -> impl Iterator<Item = (&Link, &Address)> {
        self.links
            .values()
            .flat_map(|l| l.addresses.iter().map(move |a| (l, a)))
    }

    /// Programs of others at a hook of a device.
    pub fn programs_at(&self, dev: Ifindex, hook: TcHook) -> impl Iterator<Item = &TcProgram> {
        let all = self.programs.get(&dev).into_iter().flatten();
        all.filter(move |p| p.hook == hook)
    }
}
