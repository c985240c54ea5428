//! One address in two pods that the node cannot tell apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::super::{
    Context, Finding, Rule as _, Severity, Subject, overlapping_address::OverlappingAddress, text,
};
use super::node;
use crate::{
    event::Ifindex,
    inventory::{Link, LinkKind, Netns, Role},
};

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        // a bridge or VRF each is a network of its own: tenants may use the same addresses in them
        let mut owners: BTreeMap<(Option<Ifindex>, IpAddr), BTreeSet<Ifindex>> = BTreeMap::new();
        for link in ns.links.values().filter(|l| l.role == Role::Pod && l.up) {
            let same_network = |a: &IpAddr| is_network(ns, link, a.is_ipv6());
            for address in node::far_addresses(ctx, ns, link)
                .into_iter()
                .filter(same_network)
            {
                owners
                    .entry((link.master, address))
                    .or_default()
                    .insert(link.ifindex);
            }
        }
        for ((master, address), devs) in &mut owners {
            // the gateway's address on the node's end of pairs is no owner; a VRF is another network
            let vrf = master
                .and_then(|m| ns.links.get(&m))
                .is_some_and(|m| matches!(m.kind, LinkKind::Vrf { .. }));
            let own = ns.owner(*address).filter(|l| l.role != Role::Pod && !vrf);
            devs.extend(own.map(|l| l.ifindex));
        }
        found.extend(
            owners
                .into_iter()
                .filter(|(_, devs)| devs.len() > 1)
                .map(|((_, address), devs)| finding(ctx, ns, address, &devs)),
        );
    }
    found
}

/// The pods behind this and its sister devices are in one network: routed by the node, in one VRF, or
/// on a bridge that has an address for them. A bridge without one may hold a VLAN for each tenant, and
/// behind a port of Open vSwitch the network is a matter of OVN.
fn is_network(ns: &Netns, link: &Link, ipv6: bool) -> bool {
    let Some(master) = link.master else {
        return true;
    };
    ns.links.get(&master).is_some_and(|m| match &m.kind {
        LinkKind::Vrf { .. } => true,
        LinkKind::Bridge => node::addresses(m, ipv6).next().is_some(),
        _ => false,
    })
}

fn finding(ctx: &Context<'_>, ns: &Netns, address: IpAddr, devs: &BTreeSet<Ifindex>) -> Finding {
    let names: Vec<String> = devs
        .iter()
        .map(|d| text::dev_name(ctx, ns.id, *d))
        .collect();
    let route = node::route_to(ns, address);
    let ip = text::ip(ctx, ns.id, address.is_ipv6());
    let mut evidence: Vec<String> = devs
        .iter()
        .map(|d| match ctx.inventory.peer(ns.id, *d) {
            Some((netns, far)) => format!(
                "behind {}: {address} on {} in {}",
                text::dev_name(ctx, ns.id, *d),
                far.name,
                text::place(ctx, netns),
            ),
            None => format!(
                "{address} is an address of {}",
                text::dev_name(ctx, ns.id, *d)
            ),
        })
        .collect();
    evidence.extend(route.map(|r| format!("taken: {}", text::route(ctx, ns.id, r))));
    Finding {
        id: OverlappingAddress::ID,
        severity: Severity::Warning,
        summary: format!(
            "{address} lives behind {} of {} at the same time, in one network: packets for it reach \
             only one of them.",
            names.join(" and "),
            text::place(ctx, ns.id),
        ),
        subject: Subject {
            dev: devs.first().map(|d| (ns.id, *d)),
            address: Some(address),
            ..Subject::default()
        },
        evidence,
        next: format!(
            "{ip} route get {address}; kubectl get pods -A -o wide | grep -w {address}, and delete the \
             pod that should not have it"
        ),
    }
}
