//! What each device is for, worked out from its kind, addresses and routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Address, Inventory, Link, LinkKind, Netns, Role};
use crate::event::Ifindex;

/// Sets the role of every link of every namespace.
pub fn assign_roles(inventory: &mut Inventory) {
    for netns in inventory.netns.values_mut() {
        let roles = roles(netns);
        for (dev, link) in &mut netns.links {
            link.role = roles.get(dev).copied().unwrap_or_default();
        }
    }
}

fn roles(netns: &Netns) -> BTreeMap<Ifindex, Role> {
    let defaults = default_route_devices(netns);
    let mut roles: BTreeMap<Ifindex, Role> = netns
        .links
        .values()
        .map(|l| (l.ifindex, role(netns, l, defaults.contains(&l.ifindex))))
        .collect();
    spread_uplinks(netns, &mut roles);
    roles
}

/// Devices that a default route of any table leaves by.
fn default_route_devices(netns: &Netns) -> BTreeSet<Ifindex> {
    let defaults = netns.routes.iter().filter(|r| r.dst.is_default());
    defaults
        .flat_map(|r| r.nexthops.iter().filter_map(|n| n.dev))
        .collect()
}

fn role(netns: &Netns, link: &Link, has_default: bool) -> Role {
    match &link.kind {
        LinkKind::Loopback => Role::Loopback,
        kind if kind.is_tunnel() => Role::Tunnel,
        // a VRF's default route is that of the devices in it
        LinkKind::Vrf { .. } => Role::Other,
        _ if has_default => Role::Uplink,
        LinkKind::Bridge => Role::Bridge,
        LinkKind::Veth | LinkKind::Netkit => match (has_node_address(link), leads_out(netns, link))
        {
            (true, true) => Role::Uplink,
            (false, true) => Role::Pod,
            (_, false) => Role::Other,
        },
        // service addresses of a node are kept on such devices
        LinkKind::Other(kind) if matches!(kind.as_str(), "dummy" | "ifb" | "nlmon") => Role::Other,
        _ if has_node_address(link) => Role::Uplink,
        _ => Role::Other,
    }
}

/// An address that the node shares a prefix with others by. Host-length ones are those of gateways
/// that CNIs put on pod devices.
fn has_node_address(link: &Link) -> bool {
    link.addresses.iter().any(is_node_address)
}

fn is_node_address(a: &Address) -> bool {
    const RT_SCOPE_UNIVERSE: u8 = 0;
    let (host, link_local) = match a.address {
        IpAddr::V4(v4) => (32, v4.is_link_local() || v4.is_loopback()),
        IpAddr::V6(v6) => (128, v6.is_unicast_link_local() || v6.is_loopback()),
    };
    a.scope == RT_SCOPE_UNIVERSE && a.prefix_len < host && !link_local
}

/// The far end of the pair is in another namespace, known or not.
fn leads_out(netns: &Netns, link: &Link) -> bool {
    let Some(peer) = link.peer else { return false };
    // without a known namespace: both ends are here when they name each other
    let here = || {
        let other = netns.links.get(&peer);
        peer != link.ifindex && other.is_some_and(|o| o.peer == Some(link.ifindex))
    };
    link.peer_netns.is_some() || !here()
}

/// The devices that an uplink stands on are uplinks too: the lower device of a VLAN or macvlan, the
/// ports of a bond, the physical ports of a bridge.
fn spread_uplinks(netns: &Netns, roles: &mut BTreeMap<Ifindex, Role>) {
    let mut ports: BTreeMap<Ifindex, Vec<&Link>> = BTreeMap::new();
    for link in netns.links.values() {
        if let Some(master) = link.master {
            ports.entry(master).or_default().push(link);
        }
    }
    let uplink = |(dev, role): (&Ifindex, &Role)| (*role == Role::Uplink).then_some(*dev);
    let mut open: Vec<Ifindex> = roles.iter().filter_map(uplink).collect();
    while let Some(link) = open.pop().and_then(|dev| netns.links.get(&dev)) {
        let lower = link.lower.and_then(|l| netns.links.get(&l));
        let ports = ports.get(&link.ifindex).into_iter().flatten().copied();
        for below in lower.into_iter().chain(ports).filter(|l| carries(l)) {
            if roles.get(&below.ifindex) == Some(&Role::Other) {
                roles.insert(below.ifindex, Role::Uplink);
                open.push(below.ifindex);
            }
        }
    }
}

/// May stand below an uplink.
fn carries(link: &Link) -> bool {
    match &link.kind {
        LinkKind::Physical | LinkKind::Vlan { .. } => true,
        LinkKind::Other(kind) => matches!(kind.as_str(), "bond" | "team"),
        _ => false,
    }
}
