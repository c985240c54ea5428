//! Routes to pods that do not go the way that is meant.

use std::collections::BTreeMap;

use super::super::{
    Context, Finding, Mode, Rule as _, Severity, Subject,
    native_in_tunnel_mode::NativeInTunnelMode, text, tunnel_in_native_mode,
};
use super::node;
use crate::{
    event::{Ifindex, RouteKind},
    inventory::{Netns, Role, Route},
};

pub(super) fn tunnel_in_native_mode(ctx: &Context<'_>) -> Vec<Finding> {
    if ctx.intent.mode != Mode::Native {
        return Vec::new();
    }
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        let contested = tunnel_in_native_mode::contests(ns);
        let routes = pod_routes(ctx, ns, is_overlay);
        for (dev, routes) in routes {
            // the rule has said so
            if !contested.iter().any(|(d, _)| *d == dev) {
                found.extend(tunnelled(ctx, ns, dev, &routes));
            }
        }
    }
    found
}

pub(super) fn native_in_tunnel_mode(ctx: &Context<'_>) -> Vec<Finding> {
    if ctx.intent.mode != Mode::Tunnel {
        return Vec::new();
    }
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        let plain =
            |ns: &Netns, dev: Ifindex| ns.links.get(&dev).is_some_and(|l| l.role == Role::Uplink);
        for (dev, routes) in pod_routes(ctx, ns, plain) {
            let direct: Vec<&Route> = routes
                .into_iter()
                .filter(|r| {
                    r.nexthops
                        .iter()
                        .all(|n| n.gateway.is_some() && n.encap.is_none())
                })
                .filter(|r| !loses_to_tunnel(ns, r))
                .collect();
            found.extend(plain_pods(ctx, ns, dev, &direct));
        }
    }
    found
}

fn is_overlay(ns: &Netns, dev: Ifindex) -> bool {
    ns.links
        .get(&dev)
        .is_some_and(|l| l.up && tunnel_in_native_mode::is_overlay(&l.kind))
}

/// Routes to other nodes' pods, by device. Other traffic may take a tunnel in any mode.
fn pod_routes<'n>(
    ctx: &Context<'_>,
    ns: &'n Netns,
    wanted: impl Fn(&Netns, Ifindex) -> bool,
) -> BTreeMap<Ifindex, Vec<&'n Route>> {
    let pods = node::pods(ctx, ns);
    let mut by_dev: BTreeMap<Ifindex, Vec<&Route>> = BTreeMap::new();
    for route in ns.routes.iter().filter(|r| {
        r.kind == RouteKind::Unicast
            && r.table != 255
            && r.protocol != node::KERNEL
            && !r.dst.is_default()
            && !r.dst.address.is_multicast()
            && node::is_for_pods(ctx, &pods, &r.dst)
            && !pods.contains_key(&r.dst.address)
    }) {
        let dev = route.nexthops.first().and_then(|n| n.dev);
        if let Some(dev) = dev.filter(|d| wanted(ns, *d)) {
            by_dev.entry(dev).or_default().push(route);
        }
    }
    by_dev
}

fn loses_to_tunnel(ns: &Netns, route: &Route) -> bool {
    ns.routes.iter().any(|r| {
        (r.dst, r.table) == (route.dst, route.table)
            && r.metric < route.metric
            && r.nexthops
                .iter()
                .any(|n| n.dev.is_some_and(|d| is_overlay(ns, d)))
    })
}

fn lines(ctx: &Context<'_>, ns: &Netns, routes: &[&Route]) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut lines: Vec<String> = routes
        .iter()
        .take(SHOWN)
        .map(|r| format!("route: {}", text::route(ctx, ns.id, r)))
        .collect();
    if routes.len() > SHOWN {
        lines.push(format!("and {} more routes", routes.len() - SHOWN));
    }
    lines.push(format!("intended mode: {}", ctx.intent.told()));
    lines
}

fn tunnelled(ctx: &Context<'_>, ns: &Netns, dev: Ifindex, routes: &[&Route]) -> Option<Finding> {
    let first = routes.first()?;
    let ip = text::ip(ctx, ns.id, first.dst.address.is_ipv6());
    Some(Finding {
        id: tunnel_in_native_mode::TunnelInNativeMode::ID,
        severity: Severity::Error,
        summary: format!(
            "{} sends pod traffic through the tunnel {} ({} to pods, {} for one), though native \
             routing is meant.",
            text::place(ctx, ns.id),
            text::dev_name(ctx, ns.id, dev),
            text::count(routes.len() as u64, "route"),
            first.dst,
        ),
        subject: Subject {
            dev: Some((ns.id, dev)),
            address: Some(first.dst.address),
            ..Subject::default()
        },
        evidence: lines(ctx, ns, routes),
        next: format!(
            "{ip} route replace {} via {}, after finding who installs it (ip -d route shows its proto; \
             Cilium: routing-mode and auto-direct-node-routes)",
            first.dst,
            direct(ctx, ns, first),
        ),
    })
}

/// The next hop of the direct route: the listed node, or the one whose tunnel endpoint the packets
/// go to now.
fn direct(ctx: &Context<'_>, ns: &Netns, route: &Route) -> String {
    let ipv6 = route.dst.address.is_ipv6();
    let listed = ctx.intent.node_for(&route.dst, ipv6);
    let node = listed.or_else(|| node::endpoint(ns, route).filter(|a| a.is_ipv6() == ipv6));
    let way = node.and_then(|a| Some((a, node::way(ns, a)?)));
    way.map_or("NODE dev DEV".into(), |(a, dev)| format!("{a} dev {dev}"))
}

fn plain_pods(ctx: &Context<'_>, ns: &Netns, dev: Ifindex, routes: &[&Route]) -> Option<Finding> {
    let first = routes.first()?;
    let ip = text::ip(ctx, ns.id, first.dst.address.is_ipv6());
    Some(Finding {
        id: NativeInTunnelMode::ID,
        severity: Severity::Error,
        summary: format!(
            "{} routes pods on other nodes ({} for one) out of {} without encapsulation, though a \
             tunnel is meant: the underlay sees pod addresses that it need not know.",
            text::place(ctx, ns.id),
            first.dst,
            text::dev_name(ctx, ns.id, dev),
        ),
        subject: Subject {
            dev: Some((ns.id, dev)),
            address: Some(first.dst.address),
            ..Subject::default()
        },
        evidence: lines(ctx, ns, routes),
        next: format!(
            "{ip} route del {}, after finding who installs it (ip -d route shows its proto); the CNI \
             agent must have a route to {} by the tunnel device",
            text::route(ctx, ns.id, first),
            first.dst,
        ),
    })
}
