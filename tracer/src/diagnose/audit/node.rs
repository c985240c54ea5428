//! Questions about a node's configuration that several checks ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::super::{
    Context, Node,
    lookup::{common_bits, is_global},
};
use crate::{
    event::{Ifindex, RouteKind},
    inventory::{AskedFor, Inventory, Link, Netns, Prefix, Query, Role, Route},
};

/// `RTPROT_KERNEL`: connected routes.
pub(super) const KERNEL: u8 = 2;

/// Namespaces that are looked at for themselves, home first.
pub(super) fn nodes<'a>(ctx: &Context<'a>) -> Vec<&'a Netns> {
    let inventory: &'a Inventory = ctx.inventory;
    let home = inventory.home();
    let others = inventory
        .netns
        .values()
        .filter(|n| !n.edge && n.id != inventory.home);
    home.into_iter().chain(others).collect()
}

/// Addresses of pods with the node's device that leads to each: from host routes by pods' devices,
/// and from the pods' own namespaces where they were read.
pub(super) fn pods(ctx: &Context<'_>, ns: &Netns) -> BTreeMap<IpAddr, Ifindex> {
    let is_pod = |dev: Ifindex| {
        ns.links
            .get(&dev)
            .is_some_and(|l| l.role == Role::Pod && l.up)
    };
    let mut pods = BTreeMap::new();
    for route in ns.routes.iter().filter(|r| r.kind == RouteKind::Unicast) {
        let host = if route.dst.address.is_ipv6() { 128 } else { 32 };
        let dev = route.nexthops.first().and_then(|n| n.dev);
        if let Some(dev) = dev.filter(|d| is_pod(*d) && route.dst.len == host)
            && is_global(route.dst.address)
        {
            pods.insert(route.dst.address, dev);
        }
    }
    for link in ns.links.values().filter(|l| l.role == Role::Pod && l.up) {
        for address in far_addresses(ctx, ns, link) {
            pods.entry(address).or_insert(link.ifindex);
        }
    }
    pods
}

/// Global addresses on the pod's end of a pair.
pub(super) fn far_addresses(ctx: &Context<'_>, ns: &Netns, link: &Link) -> Vec<IpAddr> {
    let far = ctx.inventory.peer(ns.id, link.ifindex);
    far.map_or_else(Vec::new, |(_, far)| {
        let all = far.addresses.iter().map(|a| a.address);
        all.filter(|a| is_global(*a)).collect()
    })
}

/// Pods that this node routes for: not those on a bridge without an address of their family, which
/// only switches.
pub(super) fn routed_pods(ctx: &Context<'_>, ns: &Netns, ipv6: bool) -> Vec<(IpAddr, Ifindex)> {
    let switched = |dev: &Ifindex| {
        let master = ns.links.get(dev).and_then(|l| ns.links.get(&l.master?));
        master.is_some_and(|m| {
            m.role == Role::Bridge
                && !m
                    .addresses
                    .iter()
                    .any(|a| a.address.is_ipv6() == ipv6 && is_global(a.address))
        })
    };
    let pods = pods(ctx, ns).into_iter();
    pods.filter(|(a, dev)| a.is_ipv6() == ipv6 && !switched(dev))
        .collect()
}

/// The address that only default routes lead to.
pub(super) fn elsewhere(ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// The default route that packets from an address take.
pub(super) fn default_from(ns: &Netns, src: IpAddr) -> Option<&Route> {
    let query = Query {
        ipv6: src.is_ipv6(),
        src: Some(src),
        dst: elsewhere(src.is_ipv6()),
        iif: None,
        mark: 0,
        transport: None,
        // a socket bound to the address
        asked: Some(AskedFor::default()),
    };
    let (_, route) = ns.lookup(&query)?;
    (route.kind == RouteKind::Unicast && route.dst.is_default()).then_some(route)
}

/// The route that packets of this node to an address take; also one that refuses them.
pub(super) fn route_to(ns: &Netns, dst: IpAddr) -> Option<&Route> {
    let query = Query {
        ipv6: dst.is_ipv6(),
        src: None,
        dst,
        iif: None,
        mark: 0,
        transport: None,
        asked: None,
    };
    Some(ns.lookup(&query)?.1)
}

/// Default routes by a device that is up, in any table.
pub(super) fn defaults_by(ns: &Netns, dev: Ifindex, ipv6: bool) -> impl Iterator<Item = &Route> {
    ns.routes.iter().filter(move |r| {
        r.dst.is_default()
            && r.kind == RouteKind::Unicast
            && r.dst.address.is_ipv6() == ipv6
            && r.nexthops.iter().any(|n| n.dev == Some(dev) && !n.dead)
    })
}

/// A route leaves by this device, perhaps among others.
pub(super) fn leaves_by(route: &Route, dev: Ifindex) -> bool {
    route.nexthops.iter().any(|n| n.dev == Some(dev))
}

/// Uplinks with a device of their own: no ports of bridges and bonds.
pub(super) fn uplinks(ns: &Netns) -> impl Iterator<Item = &Link> {
    ns.links
        .values()
        .filter(|l| l.role == Role::Uplink && l.up && l.master.is_none())
}

/// Global addresses of a family on a device.
pub(super) fn addresses(
    link: &Link,
    ipv6: bool,
) -> impl Iterator<Item = &crate::inventory::Address> {
    link.addresses
        .iter()
        .filter(move |a| a.address.is_ipv6() == ipv6 && a.scope == 0 && is_global(a.address))
}

/// Nodes of the cluster file but this one.
pub(super) fn peers<'a>(ctx: &Context<'a>, ns: &Netns) -> Vec<&'a Node> {
    let intent = ctx.intent;
    let own = |n: &Node| n.addresses.iter().any(|a| ns.owner(*a).is_some());
    intent.nodes.iter().filter(|n| !own(n)).collect()
}

/// An address inside a prefix: the first after the network's own.
pub(super) fn inside(prefix: &Prefix) -> IpAddr {
    match prefix.address {
        IpAddr::V4(a) if prefix.len < 31 => Ipv4Addr::from(u32::from(a) | 1).into(),
        IpAddr::V6(a) if prefix.len < 127 => Ipv6Addr::from(u128::from(a) | 1).into(),
        host => host,
    }
}

/// Prefixes of the cluster's pods as far as they are known: given, or near the pods that are here.
pub(super) fn is_for_pods(
    ctx: &Context<'_>,
    pods: &BTreeMap<IpAddr, Ifindex>,
    prefix: &Prefix,
) -> bool {
    /// A cluster's pods share a /16 and a /48 (see `no_route`).
    const NEAR: (u32, u32) = (16, 48);
    if !ctx.intent.pod_cidrs.is_empty() {
        return ctx
            .intent
            .pod_cidrs
            .iter()
            .any(|p| p.len <= prefix.len && p.contains(prefix.address));
    }
    let bits = if prefix.address.is_ipv6() {
        NEAR.1
    } else {
        NEAR.0
    };
    u32::from(prefix.len) >= bits && pods.keys().any(|p| common_bits(*p, prefix.address) >= bits)
}

/// Gateways of direct routes, with the prefixes behind each, as far as `wanted` takes them.
pub(super) fn direct(
    ns: &Netns,
    ipv6: bool,
    wanted: impl Fn(&Prefix) -> bool,
) -> BTreeMap<IpAddr, BTreeSet<&Prefix>> {
    let mut peers: BTreeMap<IpAddr, BTreeSet<&Prefix>> = BTreeMap::new();
    for route in ns.routes.iter().filter(|r| {
        r.kind == RouteKind::Unicast
            && r.table == 254
            && !r.dst.is_default()
            && r.dst.address.is_ipv6() == ipv6
            && wanted(&r.dst)
    }) {
        for hop in &route.nexthops {
            let uplink = hop
                .dev
                .and_then(|d| ns.links.get(&d))
                .is_some_and(|l| l.role == Role::Uplink);
            if let Some(gateway) = hop.gateway.filter(|_| uplink) {
                peers.entry(gateway).or_default().insert(&route.dst);
            }
        }
    }
    peers
}

/// The device by which an address is on-link.
pub(super) fn way(ns: &Netns, address: IpAddr) -> Option<&str> {
    let route = route_to(ns, address)?;
    let hop = route.nexthops.first().filter(|n| n.gateway.is_none())?;
    Some(ns.links.get(&hop.dev?)?.name.as_str())
}

/// The tunnel endpoint that a route's next hop is behind, by neighbour and forwarding entry.
pub(super) fn endpoint(ns: &Netns, route: &Route) -> Option<IpAddr> {
    let hop = route.nexthops.first()?;
    let (gateway, dev) = (hop.gateway?, hop.dev?);
    let at = |n: &&crate::inventory::Neighbour| (n.address, n.dev) == (gateway, dev);
    let mac = ns.neighbours.iter().find(at)?.mac.as_ref()?;
    let entry = ns.fdb.iter().find(|f| f.dev == dev && f.mac == *mac)?;
    entry.dst
}
