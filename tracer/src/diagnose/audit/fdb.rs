//! VXLAN devices that do not know, or know wrongly, where a next hop's tunnel endpoint is.

use std::net::IpAddr;

use super::super::{Context, Finding, Rule as _, Severity, Subject, fdb_missing::FdbMissing, text};
use super::node;
use crate::{
    event::RouteKind,
    inventory::{Link, LinkKind, Netns, Route},
};

pub(super) fn missing(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        for link in ns.links.values().filter(|l| l.up && is_point_to_many(l)) {
            // unknown ones are sent to the default endpoints
            let flooded = ns
                .fdb
                .iter()
                .any(|f| f.dev == link.ifindex && f.is_default());
            if !flooded {
                found.extend(unknown(ctx, ns, link));
            }
        }
    }
    found
}

/// A VXLAN device with a VNI of its own and no fixed peer.
fn is_point_to_many(link: &Link) -> bool {
    matches!(
        link.kind,
        LinkKind::Vxlan {
            vni: Some(_),
            remote: None,
            ..
        }
    )
}

/// The first next hop by the device that has a MAC address without endpoint, or no MAC address.
fn unknown(ctx: &Context<'_>, ns: &Netns, link: &Link) -> Option<Finding> {
    let mut routes = ns.routes.iter().filter(|r| {
        r.kind == RouteKind::Unicast && r.nexthops.iter().any(|n| n.dev == Some(link.ifindex))
    });
    routes.find_map(|route| {
        let hop = route
            .nexthops
            .iter()
            .find(|n| n.dev == Some(link.ifindex))?;
        let gateway = hop.gateway.filter(|_| hop.encap.is_none())?;
        let resolved = ns
            .neighbours
            .iter()
            .find(|n| n.dev == link.ifindex && n.address == gateway);
        // without a neighbour the question itself needs a default endpoint
        let mac = resolved.and_then(|n| n.mac.clone());
        let known = |mac: &String| {
            ns.fdb
                .iter()
                .any(|f| f.dev == link.ifindex && f.mac == *mac)
        };
        (!mac.as_ref().is_some_and(known)).then(|| finding(ctx, ns, link, (route, gateway, mac)))
    })
}

fn finding(
    ctx: &Context<'_>,
    ns: &Netns,
    link: &Link,
    (route, gateway, mac): (&Route, IpAddr, Option<String>),
) -> Finding {
    let name = &link.name;
    let vni = link
        .kind
        .vni()
        .map_or(String::new(), |v| format!(" (vni {v})"));
    let mut evidence = vec![format!("route: {}", text::route(ctx, ns.id, route))];
    evidence.push(match &mac {
        Some(mac) => format!("{gateway} dev {name} lladdr {mac}, which no forwarding entry has"),
        None => format!("no neighbour {gateway} dev {name}, and no endpoint to ask"),
    });
    let exec = text::in_netns(ctx, ns.id);
    let mac = mac.unwrap_or_else(|| "MAC".into());
    let outer_ipv6 = matches!(link.kind, LinkKind::Vxlan { local: Some(a), .. } if a.is_ipv6());
    let endpoint = ctx.intent.node_for(&route.dst, outer_ipv6);
    Finding {
        id: FdbMissing::ID,
        severity: Severity::Error,
        summary: format!(
            "{} has a route to {} by {gateway} on {name}{vni} and no forwarding entry that says which \
             tunnel endpoint it belongs to.",
            text::place(ctx, ns.id),
            route.dst,
        ),
        subject: Subject {
            dev: Some((ns.id, link.ifindex)),
            address: Some(gateway),
            ..Subject::default()
        },
        evidence,
        next: format!(
            "{exec}bridge fdb show dev {name}; restart the CNI agent, or {exec}bridge fdb append {mac} \
             dev {name} dst {}, the underlay address of the node that has {}",
            endpoint.map_or("ENDPOINT".into(), |a| a.to_string()),
            route.dst,
        ),
    }
}
