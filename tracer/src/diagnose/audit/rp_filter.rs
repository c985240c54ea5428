//! Strict reverse path filtering on a device that packets come in by whose answers leave by another.

use std::net::IpAddr;

use super::super::{
    Context, Finding, Rule as _, Severity, Subject, duplicate_default,
    rp_filter::{self, RpFilter},
    text,
};
use super::{node, wrong_egress};
use crate::{
    event::Ifindex,
    inventory::{Link, Netns, Role, Route, RuleAction},
};

/// `rp_filter=1`.
const STRICT: u32 = 1;

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        let strict = |l: &&Link| rp_filter::mode(ctx, ns.id, l.ifindex) == STRICT;
        for link in node::uplinks(ns).filter(strict) {
            let case = own(ns, link).or_else(|| of_pods(ctx, ns, link));
            found.extend(case.map(|(local, back)| finding(ctx, ns, link, (local, back))));
        }
    }
    found
}

/// The device has a default route of its own that is not used: it loses to a rival, or no rule leads
/// to its table. Packets from other networks come in by it all the same.
fn own<'n>(ns: &'n Netns, link: &Link) -> Option<(IpAddr, &'n Route)> {
    let address = node::addresses(link, false).next()?.address;
    let back = node::default_from(ns, address)?;
    let used = back.nexthops.first()?.dev?;
    if node::leaves_by(back, link.ifindex) || !is_uplink(ns, used) {
        return None;
    }
    // with rules for pods nobody uses the device's own address
    let table = node::defaults_by(ns, link.ifindex, false).any(|r| r.table != 254)
        && !wrong_egress::has_source_rule(ns, link.ifindex, false);
    (table || duplicate_default::are_rivals(ns, false, link.ifindex, used))
        .then_some((address, back))
}

/// Rules send the pods' answers out by another device, and this one is where other networks reach
/// the node: what comes in here for such a pod (a `NodePort`) is refused.
fn of_pods<'n>(ctx: &Context<'_>, ns: &'n Netns, link: &Link) -> Option<(IpAddr, &'n Route)> {
    let main = node::defaults_by(ns, link.ifindex, false).any(|r| r.table == 254);
    let ruled = |pod: &IpAddr| {
        ns.rules.iter().any(|r| {
            !r.ipv6
                && r.action == RuleAction::Lookup
                && r.from.is_some_and(|p| !p.is_default() && p.contains(*pod))
        })
    };
    let pods = node::pods(ctx, ns).into_keys();
    pods.filter(|p| main && p.is_ipv4() && ruled(p))
        .find_map(|pod| {
            let back = node::default_from(ns, pod)?;
            let used = back.nexthops.first()?.dev?;
            (used != link.ifindex && is_uplink(ns, used)).then_some((pod, back))
        })
}

fn is_uplink(ns: &Netns, dev: Ifindex) -> bool {
    ns.links.get(&dev).is_some_and(|l| l.role == Role::Uplink)
}

fn finding(ctx: &Context<'_>, ns: &Netns, link: &Link, (local, back): (IpAddr, &Route)) -> Finding {
    let name = &link.name;
    let way = back.nexthops.first().and_then(|n| n.dev);
    let way = way.map_or(String::new(), |d| text::dev_name(ctx, ns.id, d));
    Finding {
        id: RpFilter::ID,
        severity: Severity::Warning,
        summary: format!(
            "{} drops packets from other networks for {local} that come in by {name}: its route back \
             to their sources is by {way} (`{}`), and rp_filter allows only the device of the route \
             back.",
            text::place(ctx, ns.id),
            text::route(ctx, ns.id, back),
        ),
        subject: Subject {
            dev: Some((ns.id, link.ifindex)),
            address: Some(local),
            ..Subject::default()
        },
        evidence: vec![rp_filter::in_force(name, STRICT)],
        next: rp_filter::next(ctx, ns.id, link.ifindex, &[local]),
    }
}
