//! Which configuration gives a decision that was seen.

use std::net::IpAddr;

use super::{LinkKind, Match, Netns, Query, Route, Rule, RuleAction, lookup::accepts};
use crate::event::{Ifindex, RouteKind};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained<'n> {
    /// Preference of the rule that made the decision, or that leads to the table of the route;
    /// `None` when it cannot be told.
    pub rule: Option<u32>,
    /// The route; `None` when a rule decided without one, or it cannot be told.
    pub route: Option<&'n Route>,
    /// Why something of it cannot be told.
    pub why: Option<String>,
}

impl Netns {
    /// What in the configuration makes a decision that was seen: the rules are walked as the kernel
    /// walks them, and those that lead to the decision are its candidates. `None` when nothing leads
    /// there.
    pub fn explain(&self, q: &Query<'_>, seen: &Seen) -> Option<Explained<'_>> {
        let walk = self.walk(q, seen);
        let Some(first) = walk.candidates.first() else {
            return self.explain_by_table(q, seen);
        };
        if walk.overtaken && seen.table.is_none() {
            return Some(Explained {
                rule: None,
                route: first.route,
                why: Some("by the rules as they are now another route comes first".to_owned()),
            });
        }
        if walk.candidates.len() == 1 {
            return Some(first.explained());
        }
        let preferences: Vec<String> = walk
            .candidates
            .iter()
            .map(|c| c.rule.preference.to_string())
            .collect();
        let one_route = walk.candidates.iter().all(|c| c.route == first.route);
        Some(Explained {
            rule: None,
            route: first.route.filter(|_| one_route),
            why: Some(format!(
                "rules {} lead there, and which applied depends on what was not seen",
                preferences.join(" and ")
            )),
        })
    }

    /// A table with a route that is no more, or that no rule leads to (any more): a VRF's, or one
    /// chosen by a program.
    fn explain_by_table(&self, q: &Query<'_>, seen: &Seen) -> Option<Explained<'_>> {
        let table = seen.table?;
        let route = self.best(table, q, &|r| agrees(r, seen));
        let mut rules = self.rules.iter().filter(|rule| {
            rule.action == RuleAction::Lookup
                && rule.matches(q) != Match::No
                && self
                    .table_of(rule, q)
                    .or_else(|| self.vrf_table(rule, seen))
                    == Some(table)
        });
        let only = rules.next().filter(|_| rules.next().is_none());
        // a rule that suppresses the route did not lead to it
        let only = only.filter(|rule| route.is_none_or(|route| accepts(rule, route)));
        (route.is_some() || only.is_some()).then(|| Explained {
            rule: only.map(|rule| rule.preference),
            route,
            why: None,
        })
    }

    /// The table of an `l3mdev` rule for a socket of a VRF: which one that is, is told by the device
    /// that was chosen (the kernel clears it in the lookup that tracer sees).
    fn vrf_table(&self, rule: &Rule, seen: &Seen) -> Option<u32> {
        let master = self.links.get(&seen.dev?)?.master?;
        match self.links.get(&master)?.kind {
            LinkKind::Vrf { table } if rule.table == 0 => Some(table),
            _ => None,
        }
    }

    fn walk(&self, q: &Query<'_>, seen: &Seen) -> Walk<'_> {
        let mut walk = Walk::default();
        let mut from = 0;
        for rule in self.rules.iter().filter(|r| r.ipv6 == q.ipv6) {
            let sure = match rule.matches(q) {
                _ if rule.preference < from => continue,
                Match::No => continue,
                Match::Yes => true,
                Match::Unknown => false,
            };
            let end = match rule.action {
                RuleAction::Lookup => self.end(rule, q, seen),
                RuleAction::Goto(preference) => {
                    from = if sure { preference } else { from };
                    continue;
                }
                RuleAction::Nop => continue,
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit
                    if seen.table.is_none() && seen.kind == rule.refuses() =>
                {
                    End::Here(None)
                }
                _ => End::Elsewhere,
            };
            match end {
                End::Here(route) => {
                    walk.candidates.push(Candidate { rule, route });
                    if sure {
                        break;
                    }
                }
                End::Elsewhere if sure && walk.candidates.is_empty() => walk.overtaken = true,
                End::Elsewhere | End::Nowhere => {}
            }
        }
        walk
    }

    /// How a lookup rule ends the walk, if it applies.
    fn end(&self, rule: &Rule, q: &Query<'_>, seen: &Seen) -> End<'_> {
        let Some(table) = self.table_of(rule, q) else {
            return End::Nowhere;
        };
        let found = |wanted: &dyn Fn(&Route) -> bool| {
            self.best(table, q, wanted).filter(|r| accepts(rule, r))
        };
        let right_table = seen.table.is_none_or(|t| t == table);
        match found(&|r| agrees(r, seen)).filter(|_| right_table) {
            Some(route) => End::Here(Some(route)),
            None if found(&|_| true).is_some() => End::Elsewhere,
            None => End::Nowhere,
        }
    }
}

/// Rules that lead to a decision, in the order in which they are tried; the last one applies surely,
/// or none does.
#[derive(Default)]
struct Walk<'n> {
    candidates: Vec<Candidate<'n>>,
    /// A rule before the first candidate surely ends the walk with another decision.
    overtaken: bool,
}

/// How a rule ends the walk.
enum End<'n> {
    /// With the decision that was seen; a rule that refuses has no route.
    Here(Option<&'n Route>),
    /// With another one.
    Elsewhere,
    /// It does not.
    Nowhere,
}

struct Candidate<'n> {
    rule: &'n Rule,
    route: Option<&'n Route>,
}

impl<'n> Candidate<'n> {
    fn explained(&self) -> Explained<'n> {
        Explained {
            rule: Some(self.rule.preference),
            route: self.route,
            why: None,
        }
    }
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
