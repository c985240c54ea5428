//! Next hops in use that did not answer the last time they were asked.

use std::{collections::BTreeMap, net::IpAddr};

use super::super::{
    Context, Finding, Rule as _, Severity, Subject, neigh_unresolved::NeighUnresolved, text,
};
use super::node;
use crate::{
    event::{Ifindex, RouteKind},
    inventory::{Netns, Role, Route},
};

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        let mut cases: BTreeMap<(Ifindex, String), (Vec<IpAddr>, &Route)> = BTreeMap::new();
        for neighbour in ns.neighbours.iter().filter(|n| n.state == "FAILED") {
            let at = (neighbour.dev, neighbour.address);
            if let Some(route) = by_gateway(ns, at).or_else(|| stray(ctx, ns, at)) {
                let key = (neighbour.dev, text::route(ctx, ns.id, route));
                let case = cases.entry(key).or_insert_with(|| (Vec::new(), route));
                case.0.push(neighbour.address);
            }
        }
        found.extend(
            cases
                .into_iter()
                .filter_map(|((dev, _), case)| finding(ctx, ns, dev, &case)),
        );
    }
    found
}

/// A route whose next hop it is. Entries of hosts and pods that are gone fail as well, when nobody
/// needs them any more.
fn by_gateway(ns: &Netns, (dev, address): (Ifindex, IpAddr)) -> Option<&Route> {
    ns.routes.iter().find(|r| {
        r.kind == RouteKind::Unicast
            && r.nexthops
                .iter()
                .any(|n| n.gateway == Some(address) && n.dev == Some(dev) && !n.dead)
    })
}

/// A route that calls other nodes' pods on-link on an uplink, where nobody has their addresses.
fn stray<'n>(
    ctx: &Context<'_>,
    ns: &'n Netns,
    (dev, address): (Ifindex, IpAddr),
) -> Option<&'n Route> {
    let pods = node::pods(ctx, ns);
    let uplink = ctx.role(ns.id, dev) == Some(Role::Uplink);
    node::route_to(ns, address).filter(|r| {
        uplink
            && r.protocol != node::KERNEL
            && !r.dst.is_default()
            && r.nexthops
                .iter()
                .any(|n| n.dev == Some(dev) && n.gateway.is_none())
            && node::is_for_pods(ctx, &pods, &r.dst)
    })
}

fn finding(
    ctx: &Context<'_>,
    ns: &Netns,
    dev: Ifindex,
    (addresses, route): &(Vec<IpAddr>, &Route),
) -> Option<Finding> {
    let first = *addresses.first()?;
    let (ipv6, name) = (first.is_ipv6(), text::dev_name(ctx, ns.id, dev));
    let ip = text::ip(ctx, ns.id, ipv6);
    let protocol = if ipv6 { "neighbour discovery" } else { "ARP" };
    let on_link = route.nexthops.iter().all(|n| n.gateway.is_none());
    let (why, then) = if on_link {
        (
            format!(
                "; the route `{}` calls the whole of {} on-link, where a route to pods needs the node \
                 that has them as its next hop",
                text::route(ctx, ns.id, route),
                route.dst,
            ),
            format!(
                "{ip} route replace {} via {} dev {name}",
                route.dst,
                text::node_for(ctx, &route.dst),
            ),
        )
    } else {
        (
            format!(", and `{}` needs it", text::route(ctx, ns.id, route)),
            format!(
                "ping -c1 -I {name} {first}; is the node at {first} up, and on the segment of {name}?"
            ),
        )
    };
    Some(Finding {
        id: NeighUnresolved::ID,
        severity: Severity::Warning,
        summary: format!(
            "Nobody on {name} of {} answered {protocol} for {} when it was last asked{why}.",
            text::place(ctx, ns.id),
            text::addresses(addresses.iter().copied()),
        ),
        subject: Subject {
            dev: Some((ns.id, dev)),
            address: Some(first),
            ..Subject::default()
        },
        evidence: addresses
            .iter()
            .take(3)
            .map(|a| format!("{a} dev {name} FAILED"))
            .collect(),
        next: format!("{ip} neigh show to {first} dev {name}; {then}"),
    })
}
