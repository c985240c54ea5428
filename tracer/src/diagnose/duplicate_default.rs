//! Two default routes of one metric on different devices, where no multipath was meant.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
};

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause},
    lookup, text, wrong_egress,
};
use crate::{
    event::{Ifindex, RouteKind},
    inventory::{Netns, Route, RuleAction, table_name},
    model::FlowId,
};

/// See the module.
pub(super) struct DuplicateDefault;

impl Rule for DuplicateDefault {
    const ID: &'static str = "duplicate-default";
    const ABOUT: &'static str = "two default routes of equal metric on different devices";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        ctx.inventory
            .netns
            .values()
            .filter(|ns| !ns.edge)
            .flat_map(|ns| duplicates(ns).into_iter().map(move |routes| (ns, routes)))
            .map(|(ns, routes)| (by_source(ns, &routes), finding(ctx, ns, &routes)))
            .filter(|(by_source, finding)| !by_source || !finding.subject.flows.is_empty())
            .map(|(_, finding)| finding)
            .collect()
    }
}

/// Groups of default routes that differ in nothing but the way. One route with several next hops
/// is multipath and meant; so are different metrics.
pub(super) fn duplicates(ns: &Netns) -> Vec<Vec<&Route>> {
    let mut groups: BTreeMap<(bool, u32, u32), Vec<&Route>> = BTreeMap::new();
    for route in ns
        .routes
        .iter()
        .filter(|r| r.dst.is_default() && r.kind == RouteKind::Unicast)
    {
        let up = device(route).is_some_and(|d| ns.links.get(&d).is_none_or(|l| l.up));
        if up && route.nexthops.iter().all(|n| !n.dead) {
            let ipv6 = route.dst.address.is_ipv6();
            groups
                .entry((ipv6, route.table, route.metric))
                .or_default()
                .push(route);
        }
    }
    groups
        .into_values()
        .filter(|routes| {
            routes
                .iter()
                .filter_map(|r| device(r))
                .collect::<BTreeSet<_>>()
                .len()
                > 1
        })
        .collect()
}

/// Rules send addresses of every device but the first to a table whose default route leaves by that
/// device, as the AWS CNI does. What the main table says then concerns the node's own traffic only,
/// which the first device carries.
fn by_source(ns: &Netns, routes: &[&Route]) -> bool {
    routes.iter().skip(1).filter_map(|r| device(r)).all(|dev| {
        ns.rules
            .iter()
            .filter(|r| r.action == RuleAction::Lookup && r.from.is_some() && !r.invert)
            .any(|rule| {
                ns.routes.iter().any(|route| {
                    let ipv6 = route.dst.address.is_ipv6();
                    route.table == rule.table
                        && ipv6 == rule.ipv6
                        && routes.iter().any(|r| r.dst.address.is_ipv6() == ipv6)
                        && route.dst.is_default()
                        && device(route) == Some(dev)
                })
            })
    })
}

/// The device of a route with one next hop.
fn device(route: &Route) -> Option<Ifindex> {
    match route.nexthops.as_slice() {
        [hop] => hop.dev,
        _ => None,
    }
}

fn finding(ctx: &Context<'_>, ns: &Netns, routes: &[&Route]) -> Finding {
    let devs: BTreeSet<Ifindex> = routes.iter().filter_map(|r| device(r)).collect();
    let first = routes.first().copied();
    let ipv6 = first.is_some_and(|r| r.dst.address.is_ipv6());
    let flows = affected(ctx, ns, ipv6, &devs);
    let names: Vec<String> = routes
        .iter()
        .filter_map(|r| {
            let dev = text::dev_name(ctx, ns.id, device(r)?);
            let gateway = r.nexthops.first()?.gateway;
            Some(gateway.map_or(format!("dev {dev}"), |g| format!("via {g} dev {dev}")))
        })
        .collect();
    let used = first
        .and_then(device)
        .map_or(String::new(), |d| text::dev_name(ctx, ns.id, d));
    let mut summary = format!(
        "{} has {} {} default routes of one metric ({}) in table {}: {}; only one of them is used \
         ({used} is listed first), whatever address a packet comes from",
        text::place(ctx, ns.id),
        routes.len(),
        text::family(ipv6),
        first.map_or(0, |r| r.metric),
        table_name(first.map_or(254, |r| r.table)),
        names.join(" and "),
    );
    let tail = match flows.len() {
        0 => ".".to_owned(),
        n => format!(
            ", so {} of addresses that belong to the other device {} the wrong way.",
            text::count(n as u64, "flow"),
            if n == 1 { "goes" } else { "go" },
        ),
    };
    summary += &tail;
    let mut evidence: Vec<String> = routes
        .iter()
        .map(|r| format!("route: {}", text::route(ctx, ns.id, r)))
        .collect();
    evidence.extend(text::samples(ctx, &flows));
    let severity = if flows.is_empty() {
        Severity::Warning
    } else {
        Severity::Error
    };
    let ip = text::ip(ctx, ns.id, ipv6);
    let last = routes
        .last()
        .map_or(String::new(), |r| text::route(ctx, ns.id, r));
    let second = routes.last().and_then(|r| device(r));
    let sources = sources(ctx, ns, ipv6, (second, &flows));
    let own = second.map_or(String::new(), |d| {
        wrong_egress::own_table(ctx, ns.id, d, &sources)
    });
    Finding {
        id: DuplicateDefault::ID,
        severity,
        summary,
        subject: Subject {
            flows,
            dev: second.map(|d| (ns.id, d)),
            address: first.and_then(|r| r.nexthops.first()?.gateway),
        },
        evidence,
        next: format!(
            "{ip} route del {last}; {own}; and stop its DHCP client or router advertisements from \
             adding it to the main table again"
        ),
    }
}

/// Addresses that are to leave by the second device: those of the flows that went astray, otherwise
/// its own.
fn sources(
    ctx: &Context<'_>,
    ns: &Netns,
    ipv6: bool,
    (dev, flows): (Option<Ifindex>, &[FlowId]),
) -> Vec<IpAddr> {
    let flows: HashSet<FlowId> = flows.iter().copied().collect();
    let seen: Vec<IpAddr> = ctx
        .traces()
        .filter(|t| flows.contains(&t.flow.id))
        .filter(|t| {
            wrong_egress::misdirection(ctx, t).is_some_and(|w| Some(w.belongs) == dev)
                || t.opposite().entry().is_some_and(|h| Some(h.dev) == dev)
        })
        .map(|t| t.tuple().src)
        .collect();
    if !seen.is_empty() {
        return seen;
    }
    let own = dev.and_then(|d| ns.links.get(&d)).into_iter();
    own.flat_map(|l| l.addresses.iter().map(|a| a.address))
        .filter(|a| a.is_ipv6() == ipv6 && lookup::is_global(*a))
        .collect()
}

/// Flows that took one of these routes though another was theirs, or that `rp_filter` refused
/// because of it.
fn affected(ctx: &Context<'_>, ns: &Netns, ipv6: bool, devs: &BTreeSet<Ifindex>) -> Vec<FlowId> {
    let misled = ctx
        .traces_with(wrong_egress::MISDIRECTED)
        .filter(|t| t.tuple().is_ipv6() == ipv6 && t.flow.id.scope.netns == ns.id)
        .filter_map(|t| {
            let wrong = wrong_egress::misdirection(ctx, &t)?;
            let both = devs.contains(&wrong.used) && devs.contains(&wrong.belongs);
            both.then_some((t.dir().packets, t.flow.id))
        });
    let refused = ctx.drops(Cause::ReversePath).into_iter().filter_map(|h| {
        let by_default = drops::reverse(ctx, &h)
            .is_some_and(|r| r.dst.is_default() && device(r).is_some_and(|d| devs.contains(&d)));
        let here = h.netns() == ns.id && !ipv6 && h.in_dev().is_some_and(|d| devs.contains(&d));
        (by_default && here).then_some((h.drop.count, h.trace.flow.id))
    });
    drops::ranked(misled.chain(refused))
}

/// Two devices share the default route by accident.
pub(super) fn are_rivals(ns: &Netns, ipv6: bool, a: Ifindex, b: Ifindex) -> bool {
    duplicates(ns).iter().any(|routes| {
        let has = |dev| routes.iter().any(|r| device(r) == Some(dev));
        let family = routes
            .iter()
            .any(|r: &&Route| matches!(r.dst.address, IpAddr::V6(_)) == ipv6);
        family && has(a) && has(b)
    })
}
