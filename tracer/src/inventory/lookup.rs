//! Route lookups in the configuration: what the kernel would choose, and which configuration
//! gives a decision that was seen.

use std::{cmp::Reverse, net::IpAddr};

use super::{LinkKind, Netns, Route, Rule, RuleAction};
use crate::event::{Ifindex, RouteKind};

/// What is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// IPv6.
    pub ipv6: bool,
    /// Source; `None` when it is not chosen yet.
    pub src: Option<IpAddr>,
    /// Destination.
    pub dst: IpAddr,
    /// Name of the device that the packet came in by; `None` for packets of this node.
    pub iif: Option<&'a str>,
    /// `skb->mark`.
    pub mark: u32,
}

/// A decision that was seen; what is `None` is not known, but for the gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Result type.
    pub kind: Option<RouteKind>,
    /// Table.
    pub table: Option<u32>,
    /// Next hop; `None` for on-link.
    pub gateway: Option<IpAddr>,
    /// Whatever the next hop is: it was not seen.
    pub any_gateway: bool,
    /// Egress device.
    pub dev: Option<Ifindex>,
}

/// The configuration behind a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained<'n> {
    /// Preference of the rule that leads to the table of the route; `None` when no rule does.
    pub rule: Option<u32>,
    /// The route.
    pub route: &'n Route,
}

/// What a rule says to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It applies.
    Yes,
    /// It does not.
    No,
    /// It asks for what a query does not know: socket owner, protocol, ports, TOS, tunnel id.
    Unknown,
}

/// Words of a rule that ask for what [`Rule`] has no field for.
const UNJUDGED: [&str; 5] = ["tos", "dscp", "sport", "dport", "tun_id"];
/// The input device of packets of this node.
const LOOPBACK: &str = "lo";

impl Rule {
    /// Whether the rule applies to a query. Never `Unknown` for a rule that does not match by what
    /// is known.
    pub fn matches(&self, q: &Query<'_>) -> Match {
        let known = self.ipv6 == q.ipv6
            && self.from.is_none_or(|p| {
                p.is_default() || q.src.is_some_and(|src| p.contains(src))
            })
            && self.to.is_none_or(|p| p.contains(q.dst))
            && self
                .iif
                .as_deref()
                .is_none_or(|dev| dev == q.iif.unwrap_or(LOOPBACK))
            // only sockets bound to a device ask for one
            && self.oif.is_none()
            && self
                .fwmark
                .is_none_or(|(mark, mask)| (q.mark ^ mark) & mask == 0);
        match (known, self.is_judged()) {
            _ if self.ipv6 != q.ipv6 => Match::No,
            (true, false) => Match::Unknown,
            (hit, _) if hit != self.invert => Match::Yes,
            _ => Match::No,
        }
    }

    /// Everything that the rule asks for is in a query.
    fn is_judged(&self) -> bool {
        // names of devices may be any word
        let mut words = self.text.split(' ');
        let mut asks = false;
        while let Some(word) = words.next() {
            match word {
                "iif" | "oif" => drop(words.next()),
                word => asks |= UNJUDGED.contains(&word),
            }
        }
        self.uid_range.is_none() && self.ip_proto.is_none() && !asks
    }
}

impl Netns {
    /// The rule and the route that the kernel would choose: rules by preference, the longest
    /// prefix of a table, the lowest metric. `None` when there is no route, or a rule refuses.
    ///
    /// Rules that cannot be judged ([`Match::Unknown`]) are skipped: see [`Netns::unjudged`].
    pub fn lookup(&self, q: &Query<'_>) -> Option<(&Rule, &Route)> {
        let mut from = 0;
        for rule in self.rules.iter().filter(|r| r.ipv6 == q.ipv6) {
            if rule.preference < from || rule.matches(q) != Match::Yes {
                continue;
            }
            match rule.action {
                RuleAction::Lookup => {
                    let table = self.table_of(rule, q);
                    let found = table.and_then(|t| self.best(t, q, &|_| true));
                    if let Some(route) = found.filter(|r| accepts(rule, r)) {
                        return Some((rule, route));
                    }
                }
                RuleAction::Goto(preference) => from = preference,
                RuleAction::Nop => {}
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                    return None;
                }
            }
        }
        None
    }

    /// The rules that may apply to a query, but ask for what it does not say.
    pub fn unjudged(&self, q: &Query<'_>) -> impl Iterator<Item = &Rule> {
        let unknown = |r: &&Rule| r.matches(q) == Match::Unknown;
        self.rules.iter().filter(unknown)
    }

    /// The configured route that agrees with a decision that was seen, and the first rule that
    /// leads to its table: one that surely applies before one that may.
    pub fn explain(&self, q: &Query<'_>, seen: &Seen) -> Option<Explained<'_>> {
        let agrees = |route: &Route| agrees(route, seen);
        [Match::Yes, Match::Unknown]
            .into_iter()
            .find_map(|sure| self.explain_by(q, seen, sure))
            .or_else(|| {
                // a table that no rule leads to (any more): a VRF's, or one chosen by a program
                let route = self.best(seen.table?, q, &agrees)?;
                Some(Explained { rule: None, route })
            })
    }

    fn explain_by(&self, q: &Query<'_>, seen: &Seen, sure: Match) -> Option<Explained<'_>> {
        let lookups = self
            .rules
            .iter()
            .filter(|r| r.action == RuleAction::Lookup && r.ipv6 == q.ipv6 && r.matches(q) == sure);
        lookups
            .filter_map(|rule| Some((rule, self.table_of(rule, q)?)))
            .filter(|(_, table)| seen.table.is_none_or(|t| t == *table))
            .find_map(|(rule, table)| {
                let route = self.best(table, q, &|r| agrees(r, seen))?;
                accepts(rule, route).then_some(Explained {
                    rule: Some(rule.preference),
                    route,
                })
            })
    }

    /// The table of a lookup rule. One without table is an `l3mdev` rule: that of the VRF that the
    /// input device is in.
    fn table_of(&self, rule: &Rule, q: &Query<'_>) -> Option<u32> {
        if rule.table != 0 {
            return Some(rule.table);
        }
        let dev = self.link_named(q.iif?)?;
        let master = dev.master.and_then(|m| self.links.get(&m));
        [Some(dev), master]
            .into_iter()
            .flatten()
            .find_map(|l| match l.kind {
                LinkKind::Vrf { table } => Some(table),
                _ => None,
            })
    }

    /// The longest prefix of a table among the routes that are wanted, the lowest metric among
    /// equals, then the first in the dump. A route whose device has no carrier is chosen all the
    /// same, as the kernel does by default.
    fn best(&self, table: u32, q: &Query<'_>, wanted: &dyn Fn(&Route) -> bool) -> Option<&Route> {
        self.routes
            .iter()
            .filter(|r| r.table == table && r.dst.contains(q.dst) && wanted(r))
            .min_by_key(|r| (Reverse(r.dst.len), r.metric))
    }
}

/// A lookup ends with this route: it does not throw and is not suppressed.
fn accepts(rule: &Rule, route: &Route) -> bool {
    let suppressed = rule
        .suppress_prefix_len
        .is_some_and(|len| u32::from(route.dst.len) <= len);
    route.kind != RouteKind::Throw && !suppressed
}

/// The route gives this decision.
fn agrees(route: &Route, seen: &Seen) -> bool {
    let same_kind = match seen.kind {
        None | Some(RouteKind::Unknown) => true,
        Some(RouteKind::None) => false,
        Some(kind) => kind == route.kind,
    };
    if !same_kind {
        return false;
    }
    // what is not sent on is delivered by lo or nowhere, whatever device the route names
    if route.kind != RouteKind::Unicast {
        return seen.any_gateway || seen.gateway.is_none();
    }
    route.nexthops.iter().any(|n| {
        (seen.any_gateway || n.gateway == seen.gateway)
            && seen.dev.is_none_or(|dev| n.dev == Some(dev))
    })
}
