//! How devices of the inventory pass packets on to each other.

use std::{collections::HashMap, sync::Arc};

use crate::{
    event::{EncapKey, EncapKind, Ifindex, NetnsId},
    inventory::{Inventory, Link, LinkKind, Role, TcHook},
};

/// Devices are stacked at most this deep (VLAN on bond on bridge port and the like). A limit,
/// because the inventory may be of two moments and contain a circle.
const MAX_STACK: usize = 5;

/// The inventory, as stitching asks it.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) inventory: Arc<Inventory>,
    /// Pod namespace → the node's namespace and device that lead there.
    pods: HashMap<NetnsId, Vec<(NetnsId, Ifindex)>>,
}

impl Topology {
    pub(super) fn new(inventory: Arc<Inventory>) -> Self {
        let mut pods: HashMap<_, Vec<_>> = HashMap::new();
        for (id, netns) in inventory.netns.iter().filter(|(_, n)| !n.edge) {
            for link in netns.links.values() {
                if let Some(far) = link.peer_netns
                    && far != *id
                    && inventory.netns.get(&far).is_none_or(|n| n.edge)
                {
                    pods.entry(far).or_default().push((*id, link.ifindex));
                }
            }
        }
        Self { inventory, pods }
    }

    fn link(&self, netns: NetnsId, dev: Ifindex) -> Option<&Link> {
        self.inventory.link(netns, dev)
    }

    /// The node's side of a pod's devices; empty when `netns` is no pod's.
    pub(super) fn pod_devices(&self, netns: NetnsId) -> &[(NetnsId, Ifindex)] {
        self.pods.get(&netns).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_pod_device(&self, netns: NetnsId, dev: Ifindex) -> bool {
        self.link(netns, dev).is_some_and(|l| l.role == Role::Pod)
    }

    /// A bridge, or the datapath of Open vSwitch, whose ports name it as their master.
    pub(super) fn is_bridge(&self, netns: NetnsId, dev: Ifindex) -> bool {
        self.link(netns, dev).is_some_and(|l| match &l.kind {
            LinkKind::Bridge => true,
            LinkKind::Other(kind) => kind == "openvswitch",
            _ => false,
        })
    }

    pub(super) fn is_tunnel(&self, netns: NetnsId, dev: Ifindex) -> bool {
        self.link(netns, dev).is_some_and(|l| l.kind.is_tunnel())
    }

    /// Bridge, bond or VRF of a port.
    pub(super) fn master(&self, netns: NetnsId, dev: Ifindex) -> Option<Ifindex> {
        self.link(netns, dev)?.master
    }

    /// `lower` carries the frames of `upper`, as a port or lower device does: not a tunnel's
    /// underlay, where packets are other ones.
    pub(super) fn carries(&self, netns: NetnsId, lower: Ifindex, upper: Ifindex) -> bool {
        lower != upper && self.carries_within(netns, lower, upper, MAX_STACK)
    }

    fn carries_within(&self, netns: NetnsId, lower: Ifindex, upper: Ifindex, left: usize) -> bool {
        if lower == upper {
            return true;
        }
        let Some(left) = left.checked_sub(1) else {
            return false;
        };
        self.master(netns, lower)
            .is_some_and(|m| self.carries_within(netns, m, upper, left))
            || self
                .link(netns, upper)
                .filter(|l| !l.kind.is_tunnel())
                .and_then(|l| l.lower)
                .is_some_and(|l| self.carries_within(netns, lower, l, left))
    }

    /// How well packets with `encap` fit the tunnel device `dev`; `None` when they do not, or
    /// when it is no tunnel.
    pub(super) fn tunnel_fit(&self, netns: NetnsId, dev: Ifindex, encap: EncapKey) -> Option<Fit> {
        let link = self.link(netns, dev)?;
        let fits = match &link.kind {
            LinkKind::Vxlan { .. } => encap.kind == EncapKind::Vxlan,
            LinkKind::Geneve { .. } => encap.kind == EncapKind::Geneve,
            LinkKind::Tunnel { kind, .. } => match encap.kind {
                EncapKind::Ipip => matches!(kind.as_str(), "ipip" | "ip6tnl" | "sit"),
                EncapKind::Ip6 => matches!(kind.as_str(), "sit" | "ip6tnl"),
                EncapKind::Gre => kind.contains("gre") || kind.contains("erspan"),
                EncapKind::Vxlan | EncapKind::Geneve => false,
            },
            _ => false,
        };
        if !fits {
            return None;
        }
        match (link.kind.vni(), encap.vni) {
            (Some(own), Some(vni)) if own == vni => Some(Fit::Exact),
            (Some(_), Some(_)) => None,
            _ => Some(Fit::Kind),
        }
    }

    /// VNI that the device puts on everything.
    pub(super) fn vni(&self, netns: NetnsId, dev: Ifindex) -> Option<u32> {
        self.link(netns, dev)?.kind.vni()
    }

    /// Names of the BPF programs that others have at a hook of a device, each once. One whose name
    /// may not be read is `?`.
    pub(super) fn programs(&self, netns: NetnsId, dev: Ifindex, hook: TcHook) -> Vec<Arc<str>> {
        let netns = self.inventory.netns.get(&netns);
        let programs = netns.into_iter().flat_map(|n| n.programs_at(dev, hook));
        let mut names: Vec<Arc<str>> = Vec::new();
        for program in programs {
            let name = match program.name.as_str() {
                "" => "?",
                name => name,
            };
            if names.iter().all(|n| **n != *name) {
                names.push(name.into());
            }
        }
        names
    }

    /// Nothing is known of this device.
    pub(super) fn is_unknown(&self, netns: NetnsId, dev: Ifindex) -> bool {
        self.link(netns, dev).is_none()
    }
}

/// How sure it is that packets belong to a tunnel device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// By kind; VNIs are not comparable.
    Kind,
    /// By kind and VNI.
    Exact,
}
