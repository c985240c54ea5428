//! Nodes that share a network, and an address on it that is too narrow to show them on-link.

use std::net::IpAddr;

use super::super::{
    Context, Finding, Mode, Rule as _, Severity, Subject,
    onlink_prefix_mismatch::OnlinkPrefixMismatch, text, tunnel_in_native_mode::is_overlay,
};
use super::node;
use crate::inventory::{Address, Link, Netns, Prefix, Role, Route};

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    if ctx.intent.mode == Mode::Tunnel {
        return Vec::new();
    }
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        for ipv6 in [false, true] {
            if let Some(case) = case(ctx, ns, ipv6) {
                found.push(finding(ctx, ns, &case));
            }
        }
    }
    found
}

/// Peers that are not on-link though the nodes' network holds them.
pub(super) struct Case<'a> {
    link: &'a Link,
    address: &'a Address,
    /// The network that the nodes share.
    shared: Prefix,
    /// What they are reached by instead.
    route: Option<&'a Route>,
}

pub(super) fn case<'a>(ctx: &Context<'_>, ns: &'a Netns, ipv6: bool) -> Option<Case<'a>> {
    // without pods of the family there is nothing to route; with direct or tunnel routes to others'
    // pods their nodes can be reached
    let pods = node::routed_pods(ctx, ns, ipv6);
    // pods with addresses out of the nodes' network are routed by the provider (AWS and the like)
    let provided = |(pod, _): &(IpAddr, _)| ctx.intent.node_cidrs.iter().any(|p| p.contains(*pod));
    if pods.is_empty()
        || pods.iter().any(provided)
        || !node::direct(ns, ipv6, |_| true).is_empty()
        || has_overlay_route(ns, ipv6)
    {
        return None;
    }
    let (link, address, shared) = node::uplinks(ns)
        .find_map(|l| node::addresses(l, ipv6).find_map(|a| Some((l, a, shared(ctx, a)?))))?;
    let peers = node::peers(ctx, ns);
    let mut known = peers
        .iter()
        .flat_map(|p| &p.addresses)
        .filter(|a| shared.contains(**a))
        .peekable();
    let outside: IpAddr = if known.peek().is_some() {
        *known.find(|a| !is_on_link(ns, **a))?
    } else {
        beyond(&shared, address)
    };
    (!is_on_link(ns, outside)).then(|| Case {
        link,
        address,
        shared,
        route: node::route_to(ns, outside),
    })
}

/// The given network of the nodes that an address is in, when the address's own is a part of it.
fn shared(ctx: &Context<'_>, address: &Address) -> Option<Prefix> {
    // a host address is that of a node that is meant to reach all others by a router (GKE)
    let host = if address.address.is_ipv6() { 128 } else { 32 };
    let mut given = ctx
        .intent
        .node_cidrs
        .iter()
        .filter(|_| address.prefix_len < host);
    given
        .find(|p| p.contains(address.address) && p.len < address.prefix_len)
        .copied()
}

/// An address of the shared network outside the own part of it: the other half.
fn beyond(shared: &Prefix, own: &Address) -> IpAddr {
    match own.address {
        IpAddr::V4(a) => {
            let bit = 1u32
                .checked_shl(31 - u32::from(shared.len.min(31)))
                .unwrap_or(0);
            std::net::Ipv4Addr::from(u32::from(a) ^ bit).into()
        }
        IpAddr::V6(a) => {
            let bit = 1u128
                .checked_shl(127 - u32::from(shared.len.min(127)))
                .unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(a) ^ bit).into()
        }
    }
}

/// A route without gateway covers it: an explicit one, or that of an address.
fn is_on_link(ns: &Netns, address: IpAddr) -> bool {
    node::route_to(ns, address).is_some_and(|r| {
        r.nexthops
            .iter()
            .any(|n| n.gateway.is_none() && n.dev.is_some())
    })
}

fn has_overlay_route(ns: &Netns, ipv6: bool) -> bool {
    ns.routes.iter().any(|r| {
        r.dst.address.is_ipv6() == ipv6
            && r.protocol != node::KERNEL
            && r.table != 255
            && !r.dst.address.is_multicast()
            && r.nexthops.iter().any(|n| {
                n.dev
                    .and_then(|d| ns.links.get(&d))
                    .is_some_and(|l| l.role == Role::Tunnel && is_overlay(&l.kind))
            })
    })
}

fn finding(ctx: &Context<'_>, ns: &Netns, case: &Case<'_>) -> Finding {
    let (name, len) = (&case.link.name, case.address.prefix_len);
    let own = case.address.address;
    let ip = text::ip(ctx, ns.id, own.is_ipv6());
    let mut evidence = vec![
        format!("address on {name}: {own}/{len}"),
        format!("nodes share {}", case.shared),
    ];
    evidence.push(match case.route {
        Some(r) => format!("the others are reached by: {}", text::route(ctx, ns.id, r)),
        None => "no route leads to the others".into(),
    });
    evidence.push(format!(
        "no {} route to pods of other nodes",
        text::family(own.is_ipv6())
    ));
    Finding {
        id: OnlinkPrefixMismatch::ID,
        severity: Severity::Error,
        summary: format!(
            "The address {own}/{len} of {} makes only {} on-link on {name}, but the nodes share {}: \
             nodes outside it cannot be the next hop of a direct route, and there is no route to their \
             pods.",
            text::place(ctx, ns.id),
            case.address.prefix(),
            case.shared,
        ),
        subject: Subject {
            dev: Some((ns.id, case.link.ifindex)),
            address: Some(own),
            ..Subject::default()
        },
        evidence,
        next: format!(
            "if the nodes are on one segment: {ip} route add {} dev {name} makes the peers on-link at \
             once, {own}/{} in the node's network configuration for good; then restart the CNI agent",
            case.shared, case.shared.len,
        ),
    }
}
