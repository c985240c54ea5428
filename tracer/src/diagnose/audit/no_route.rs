//! Peers whose pods have no route here, compared with those that have one.

use std::{collections::BTreeSet, net::IpAddr};

use super::super::{
    Context, Finding, Mode, Node, Rule as _, Severity, Subject, no_route::NoRoute, text,
};
use super::{node, onlink_prefix_mismatch};
use crate::{
    event::RouteKind,
    inventory::{Netns, Prefix, Role, Route},
};

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        let listed = listed(ctx, ns);
        if listed.is_empty() && ctx.intent.nodes.is_empty() {
            found.extend(
                [false, true]
                    .into_iter()
                    .filter_map(|v6| by_family(ctx, ns, v6)),
            );
        }
        found.extend(listed);
    }
    found
}

/// Prefixes that the cluster file gives to other nodes, and that nothing but a default route covers.
fn listed(ctx: &Context<'_>, ns: &Netns) -> Vec<Finding> {
    let peers = node::peers(ctx, ns);
    let all = || {
        peers
            .iter()
            .flat_map(|n| n.pod_cidrs.iter().map(move |p| (*n, p)))
    };
    let served = |p: &Prefix| own_route(ns, p).is_some();
    let mut found = Vec::new();
    for (peer, prefix) in all().filter(|(_, p)| !served(p)) {
        let ipv6 = prefix.address.is_ipv6();
        let by_default = node::route_to(ns, node::inside(prefix));
        // routers of the network may know all pods; then no peer has a route here
        let others = all().find(|(_, p)| p.address.is_ipv6() == ipv6 && served(p));
        if by_default.is_some() && others.is_none()
            || onlink_prefix_mismatch::case(ctx, ns, ipv6).is_some()
        {
            continue;
        }
        let present = others.and_then(|(_, p)| own_route(ns, p));
        found.push(of_peer(ctx, ns, (peer, prefix), (by_default, present)));
    }
    found
}

/// The route to a prefix that is not a default one; also one that refuses, which is another matter.
fn own_route<'n>(ns: &'n Netns, prefix: &Prefix) -> Option<&'n Route> {
    node::route_to(ns, node::inside(prefix)).filter(|r| !r.dst.is_default())
}

fn of_peer(
    ctx: &Context<'_>,
    ns: &Netns,
    (peer, prefix): (&Node, &Prefix),
    (by_default, present): (Option<&Route>, Option<&Route>),
) -> Finding {
    let ipv6 = prefix.address.is_ipv6();
    let ip = text::ip(ctx, ns.id, ipv6);
    let gateway = peer.addresses.iter().find(|a| a.is_ipv6() == ipv6);
    let mut evidence = vec![match by_default {
        Some(r) => format!("taken: {}", text::route(ctx, ns.id, r)),
        None => "no default route either".to_owned(),
    }];
    evidence.extend(
        present.map(|r| format!("present for another node: {}", text::route(ctx, ns.id, r))),
    );
    let add = match gateway.and_then(|g| Some((g, node::way(ns, *g)?))) {
        Some((gateway, dev)) if ctx.intent.mode != Mode::Tunnel => {
            format!("{ip} route add {prefix} via {gateway} dev {dev}, or ask")
        }
        _ => "ask".to_owned(),
    };
    Finding {
        id: NoRoute::ID,
        severity: if by_default.is_none() {
            Severity::Error
        } else {
            Severity::Warning
        },
        summary: format!(
            "{} has no {} route to {prefix}, the pods of {}.",
            text::place(ctx, ns.id),
            text::family(ipv6),
            peer.name,
        ),
        subject: Subject {
            address: Some(prefix.address),
            ..Subject::default()
        },
        evidence,
        next: format!(
            "{add} the CNI agent of this node why it has not installed {prefix} (its log, and {ip} \
             route show table all | grep {})",
            prefix.address,
        ),
    }
}

/// Peers have routes in one family and fewer have them in the other, in which there are pods too.
fn by_family(ctx: &Context<'_>, ns: &Netns, ipv6: bool) -> Option<Finding> {
    if node::routed_pods(ctx, ns, ipv6).is_empty()
        || onlink_prefix_mismatch::case(ctx, ns, ipv6).is_some()
    {
        return None;
    }
    // without an underlay of the family its pods talk to each other alone
    if !node::uplinks(ns).any(|l| node::addresses(l, ipv6).next().is_some()) {
        return None;
    }
    let pods = node::pods(ctx, ns);
    // what is near enough to be pods counts there, everything counts here
    let there = node::direct(ns, !ipv6, |p| node::is_for_pods(ctx, &pods, p));
    let here = node::direct(ns, ipv6, |_| true);
    if here.len() >= there.len() || is_served(ns, ipv6) {
        return None;
    }
    let lacking = lacking(
        ns,
        &here.keys().copied().collect(),
        &there.keys().copied().collect(),
    );
    let default = node::default_from(ns, node::elsewhere(ipv6));
    // a router that knows all pods serves a family without any direct route
    if here.is_empty() && default.is_some() {
        return None;
    }
    let missing = there.len() - here.len();
    let (family, other) = (text::family(ipv6), text::family(!ipv6));
    let ip = text::ip(ctx, ns.id, ipv6);
    let example = there
        .iter()
        .find(|(g, _)| lacking.contains(*g))
        .or(there.iter().next())?;
    let prefix = example.1.first()?;
    let named = match lacking.first() {
        Some(g) => format!(": the one at {g} ({prefix}) for one"),
        None => String::new(),
    };
    Some(Finding {
        id: NoRoute::ID,
        severity: Severity::Warning,
        summary: format!(
            "{} has {other} routes to the pods of {}, but {family} routes to those of {}; {} missing{named}.",
            text::place(ctx, ns.id),
            text::count(there.len() as u64, "node"),
            here.len(),
            if missing == 1 {
                "1 is".to_owned()
            } else {
                format!("{missing} are")
            },
        ),
        subject: Subject {
            address: Some(prefix.address),
            ..Subject::default()
        },
        evidence: there
            .iter()
            .map(|(g, p)| (other, g, p))
            .chain(here.iter().map(|(g, p)| (family, g, p)))
            .take(8)
            .map(|(f, g, p)| {
                let list: Vec<String> = p.iter().map(ToString::to_string).collect();
                format!("{f}: {} via {g}", list.join(", "))
            })
            .collect(),
        next: format!(
            "{ip} route; ask the CNI agent of this node why it has not installed the {family} prefix of \
             the node at {} (its log)",
            example.0,
        ),
    })
}

/// A tunnel takes pod traffic of the family, or a route without gateway.
fn is_served(ns: &Netns, ipv6: bool) -> bool {
    ns.routes.iter().any(|r| {
        let role = |dev| ns.links.get(&dev).map(|l| l.role);
        r.kind == RouteKind::Unicast
            && r.dst.address.is_ipv6() == ipv6
            && !r.dst.is_default()
            && r.table == 254
            && r.protocol != node::KERNEL
            && r.nexthops.iter().any(|n| match n.dev.and_then(role) {
                Some(Role::Tunnel) => true,
                Some(Role::Uplink) => n.gateway.is_none(),
                _ => false,
            })
    })
}

/// Gateways of the other family whose MAC address no gateway of this one has.
fn lacking(ns: &Netns, here: &BTreeSet<IpAddr>, there: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let mac = |a: &IpAddr| {
        let found = ns.neighbours.iter().find(|n| n.address == *a);
        found.and_then(|n| n.mac.clone())
    };
    let present: BTreeSet<String> = here.iter().filter_map(mac).collect();
    let all_known = present.len() == here.len();
    there
        .iter()
        .filter(|g| all_known && mac(g).is_some_and(|m| !present.contains(&m)))
        .copied()
        .collect()
}
