//! A second uplink has addresses, and nothing sends their packets out by it.

use super::super::{
    Context, Finding, Rule as _, Severity, Subject, duplicate_default, text,
    wrong_egress::{self, WrongEgress},
};
use super::node;
use crate::{
    event::Ifindex,
    inventory::{Link, Netns, Role, Route, RuleAction},
};

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        for ipv6 in [false, true] {
            found.extend(node::uplinks(ns).filter_map(|l| astray(ctx, ns, l, ipv6)));
            found.extend(empty_tables(ctx, ns, ipv6));
        }
    }
    found
}

/// Why the device is meant for the packets of its addresses.
fn reason(ctx: &Context<'_>, ns: &Netns, link: &Link, used: Ifindex, ipv6: bool) -> Option<String> {
    let own = node::defaults_by(ns, link.ifindex, ipv6).next();
    if let Some(route) = own {
        // another metric in the main table is a standby on purpose
        return (route.table != 254)
            .then(|| format!("no rule leads to: {}", text::route(ctx, ns.id, route)));
    }
    let other = ns.links.get(&used)?;
    let shared = node::addresses(link, ipv6)
        .find(|a| node::addresses(other, ipv6).any(|b| a.prefix() == b.prefix()))?;
    Some(format!(
        "{} and {} are in one subnet: {}",
        link.name,
        other.name,
        shared.prefix()
    ))
}

fn astray(ctx: &Context<'_>, ns: &Netns, link: &Link, ipv6: bool) -> Option<Finding> {
    let address = node::addresses(link, ipv6).next()?.address;
    let route = node::default_from(ns, address)?;
    if node::leaves_by(route, link.ifindex) || has_source_rule(ns, link.ifindex, ipv6) {
        return None;
    }
    let used = route.nexthops.first()?.dev?;
    let uplink = ns.links.get(&used).is_some_and(|l| l.role == Role::Uplink);
    if !uplink || duplicate_default::are_rivals(ns, ipv6, link.ifindex, used) {
        return None;
    }
    let why = reason(ctx, ns, link, used, ipv6)?;
    let ip = text::ip(ctx, ns.id, ipv6);
    let name = &link.name;
    Some(Finding {
        id: WrongEgress::ID,
        severity: Severity::Warning,
        summary: format!(
            "Packets from {address} to other networks leave {} by {}, but {address} belongs to {name}, \
             and no rule sends them there: a network that ties addresses to interfaces \
             (source/destination check, uRPF) drops them.",
            text::place(ctx, ns.id),
            text::dev_name(ctx, ns.id, used),
        ),
        subject: Subject {
            dev: Some((ns.id, link.ifindex)),
            address: Some(address),
            ..Subject::default()
        },
        evidence: vec![format!("taken: {}", text::route(ctx, ns.id, route)), why],
        next: format!(
            "{ip} rule show; {}",
            wrong_egress::own_table(ctx, ns.id, link.ifindex, &[address])
        ),
    })
}

/// Some source is sent to a table whose default route leaves by the device. The AWS CNI makes such
/// rules for pods and none for the device's own address, which nobody uses there.
pub(super) fn has_source_rule(ns: &Netns, dev: Ifindex, ipv6: bool) -> bool {
    let from = |table: u32| {
        ns.rules.iter().any(|r| {
            r.ipv6 == ipv6
                && r.table == table
                && r.action == RuleAction::Lookup
                && !r.invert
                && (r.from.is_some_and(|p| !p.is_default())
                    || r.fwmark.is_some()
                    || r.iif.is_some())
        })
    };
    node::defaults_by(ns, dev, ipv6).any(|r| from(r.table))
}

/// `from SOURCE lookup TABLE` where the table holds nothing: the rules after it decide.
fn empty_tables(ctx: &Context<'_>, ns: &Netns, ipv6: bool) -> Vec<Finding> {
    let holds = |table: u32| {
        ns.routes
            .iter()
            .any(|r| r.table == table && r.dst.address.is_ipv6() == ipv6)
    };
    ns.rules
        .iter()
        .filter(|r| {
            r.ipv6 == ipv6
                && r.action == RuleAction::Lookup
                && !r.invert
                && r.fwmark.is_none()
                && !(253..=255).contains(&r.table)
                && r.table != 0
                && !holds(r.table)
        })
        .filter_map(|rule| {
            let source = rule.from.filter(|p| !p.is_default())?.address;
            let route = node::default_from(ns, source)?;
            Some(empty_table(ctx, ns, (source, rule), route))
        })
        .collect()
}

fn empty_table(
    ctx: &Context<'_>,
    ns: &Netns,
    (source, rule): (std::net::IpAddr, &crate::inventory::Rule),
    route: &Route,
) -> Finding {
    let ip = text::ip(ctx, ns.id, rule.ipv6);
    let used = route.nexthops.first().and_then(|n| n.dev);
    Finding {
        id: WrongEgress::ID,
        severity: Severity::Warning,
        summary: format!(
            "A rule of {} sends packets from {source} to table {}, which is empty: they leave by {} \
             like those of any other address.",
            text::place(ctx, ns.id),
            rule.table,
            used.map_or("the default route".into(), |d| text::dev_name(
                ctx, ns.id, d
            )),
        ),
        subject: Subject {
            dev: used.map(|d| (ns.id, d)),
            address: Some(source),
            ..Subject::default()
        },
        evidence: vec![
            format!("rule {}: {}", rule.preference, rule.text),
            format!("taken: {}", text::route(ctx, ns.id, route)),
        ],
        next: format!(
            "{ip} route add default via GATEWAY dev DEV table {}, with the device that {source} \
             belongs to and its gateway; or, if the rule is a leftover: {ip} rule del pref {}",
            rule.table, rule.preference,
        ),
    }
}
