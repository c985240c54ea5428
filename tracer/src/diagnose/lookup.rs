//! A route lookup in the inventory: what the configuration says about an address.
//!
//! Only for explanations. What was really decided is in the packet's own decision.

use std::net::IpAddr;

use crate::{
    event::RouteKind,
    inventory::{Netns, Route, Rule, RuleAction},
};

/// What is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) src: Option<IpAddr>,
    pub(super) dst: IpAddr,
    /// Name of the input device; `None` for packets of the node.
    pub(super) iif: Option<&'a str>,
    pub(super) mark: u32,
}

impl Query<'_> {
    /// Only the destination.
    pub(super) fn to(dst: IpAddr) -> Self {
        Self {
            src: None,
            dst,
            iif: None,
            mark: 0,
        }
    }
}

/// The local and main tables, for an inventory without rules.
const DEFAULT_TABLES: [u32; 2] = [255, 254];

/// The route that the rules and tables give; a route of any type. `None` when nothing matches.
pub(super) fn route<'n>(ns: &'n Netns, query: &Query<'_>) -> Option<&'n Route> {
    let rules: Vec<&Rule> = ns
        .rules
        .iter()
        .filter(|r| r.ipv6 == query.dst.is_ipv6())
        .collect();
    if rules.is_empty() {
        return DEFAULT_TABLES
            .iter()
            .find_map(|t| in_table(ns, *t, query.dst));
    }
    let mut from = 0;
    for rule in rules {
        if rule.preference < from || !matches(rule, query) {
            continue;
        }
        match rule.action {
            RuleAction::Lookup => {
                let found = in_table(ns, rule.table, query.dst).filter(|r| {
                    r.kind != RouteKind::Throw
                        && rule
                            .suppress_prefix_len
                            .is_none_or(|n| u32::from(r.dst.len) > n)
                });
                if found.is_some() {
                    return found;
                }
            }
            RuleAction::Goto(preference) => from = preference,
            RuleAction::Nop => {}
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => return None,
        }
    }
    None
}

/// The longest prefix in one table, the lowest metric among equals, then the first in the dump (as
/// the kernel does).
pub(super) fn in_table(ns: &Netns, table: u32, dst: IpAddr) -> Option<&Route> {
    ns.routes
        .iter()
        .filter(|r| r.table == table && r.dst.contains(dst))
        .filter(|r| r.nexthops.is_empty() || r.nexthops.iter().any(|n| !n.dead))
        .min_by_key(|r| (std::cmp::Reverse(r.dst.len), r.metric))
}

/// Rules that ask for what a query does not know (socket, protocol, output device) do not match.
fn matches(rule: &Rule, query: &Query<'_>) -> bool {
    if rule.oif.is_some() || rule.uid_range.is_some() || rule.ip_proto.is_some() {
        return false;
    }
    let hit = rule
        .from
        .is_none_or(|p| query.src.is_some_and(|s| p.contains(s)) || p.is_default())
        && rule.to.is_none_or(|p| p.contains(query.dst))
        && rule.iif.as_deref().is_none_or(|d| query.iif == Some(d))
        && rule
            .fwmark
            .is_none_or(|(mark, mask)| query.mark & mask == mark & mask);
    hit != rule.invert
}

/// Number of leading bits that two addresses share; 0 across families.
pub(super) fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros(),
        _ => 0,
    }
}

/// A global unicast address (private ones included): no loopback, link-local, multicast.
pub(super) fn is_global(address: IpAddr) -> bool {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(a) => !a.is_link_local() && !a.is_broadcast(),
        IpAddr::V6(a) => !a.is_unicast_link_local(),
    }
}
