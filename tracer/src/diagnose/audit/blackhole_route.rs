//! Routes that refuse what the node needs.

use super::super::{
    Context, Finding, Rule as _, Severity, Subject, blackhole_route::BlackholeRoute, text,
};
use super::node;
use crate::{
    event::RouteKind,
    inventory::{Netns, Prefix, Route},
};

/// `RTPROT_BIRD`, Calico's own, `RTPROT_BGP` and their like: daemons put a blackhole for each block
/// of addresses that the node owns, also while no pod uses it.
const DAEMONS: std::ops::RangeInclusive<u8> = 8..=u8::MAX;

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        let refusing = ns.routes.iter().filter(|r| {
            matches!(
                r.kind,
                RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
            ) && r.table != 255
                && !r.dst.is_default()
        });
        found.extend(refusing.filter_map(|r| Some(finding(ctx, ns, r, &why(ctx, ns, r)?))));
    }
    found
}

/// What the route refuses that is needed here.
fn why(ctx: &Context<'_>, ns: &Netns, route: &Route) -> Option<String> {
    let beaten = ns.routes.iter().find(|r| {
        (r.dst, r.table) == (route.dst, route.table)
            && r.kind == RouteKind::Unicast
            && r.metric > route.metric
    });
    if let Some(beaten) = beaten {
        return Some(format!("loses: {}", text::route(ctx, ns.id, beaten)));
    }
    let taken = |address| node::route_to(ns, address).is_some_and(|r| std::ptr::eq(r, route));
    let gateway = ns
        .routes
        .iter()
        .flat_map(|r| r.nexthops.iter().filter_map(|n| n.gateway))
        .find(|g| taken(*g));
    if let Some(gateway) = gateway {
        return Some(format!("{gateway} is the next hop of other routes"));
    }
    for peer in node::peers(ctx, ns) {
        if let Some(address) = peer.addresses.iter().find(|a| taken(**a)) {
            return Some(format!("{address} is the address of {}", peer.name));
        }
        if let Some(cidr) = peer.pod_cidrs.iter().find(|c| taken(node::inside(c))) {
            return Some(format!("{cidr} is for the pods of {}", peer.name));
        }
    }
    let pods = node::pods(ctx, ns);
    let foreign = !DAEMONS.contains(&route.protocol)
        && node::is_for_pods(ctx, &pods, &route.dst)
        && !is_own_block(ns, &pods, &route.dst);
    foreign
        .then(|| "it lies in the prefix of the cluster's pods, and none of them is here".to_owned())
}

/// Pods of this node are inside, or there are routes to parts of it: then the blackhole only catches
/// what belongs to no pod, as Calico, Cilium and kube-router install it on purpose. So does one that
/// covers the whole cluster.
fn is_own_block(
    ns: &Netns,
    pods: &std::collections::BTreeMap<std::net::IpAddr, crate::event::Ifindex>,
    block: &Prefix,
) -> bool {
    let near = |a: &std::net::IpAddr| super::super::no_route::pod_prefix(*a);
    pods.keys()
        .any(|p| block.contains(*p) || near(p) == near(&block.address))
        || ns.routes.iter().any(|r| {
            r.kind == RouteKind::Unicast && r.dst.len > block.len && block.contains(r.dst.address)
        })
}

fn finding(ctx: &Context<'_>, ns: &Netns, route: &Route, why: &str) -> Finding {
    let ip = text::ip(ctx, ns.id, route.dst.address.is_ipv6());
    let shown = text::route(ctx, ns.id, route);
    Finding {
        id: BlackholeRoute::ID,
        severity: Severity::Warning,
        summary: format!(
            "{} discards what is sent to {}: the route `{shown}` says so.",
            text::place(ctx, ns.id),
            route.dst,
        ),
        subject: Subject {
            address: Some(route.dst.address),
            ..Subject::default()
        },
        evidence: vec![
            format!("route: {shown}, proto {}", route.protocol),
            why.to_owned(),
        ],
        next: format!(
            "{ip} route get {}; {ip} route del {shown}, after finding who installs it",
            node::inside(&route.dst),
        ),
    }
}
