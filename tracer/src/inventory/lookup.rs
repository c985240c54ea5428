//! Route lookups in the configuration: what the kernel would choose.

use std::{cmp::Reverse, net::IpAddr};

use super::{LinkKind, Match, Netns, Route, Rule, RuleAction};
use crate::event::RouteKind;

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
    /// Protocol and ports; `None` when they are not known, or not those of the header looked up.
    pub transport: Option<Transport>,
    /// What only a lookup that was seen tells. The input lookup of others' packets asks for user 0
    /// and no output device.
    pub asked: Option<AskedFor<'a>>,
}

/// Protocol and ports of a lookup.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// IP protocol number.
    pub proto: u8,
    /// Source and destination port; `None` where the protocol has none.
    pub ports: Option<(u16, u16)>,
}

/// What a lookup asked for beside addresses, mark and ports. By default what a plain socket of root
/// that is bound to its source asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedFor<'a> {
    /// User of the socket.
    pub uid: u32,
    /// Name of the device that the socket is bound to.
    pub oif: Option<&'a str>,
    /// The DS field without the ECN bits.
    pub tos: u8,
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

    /// The rule that surely refuses a query, and how, when no rule before it may decide otherwise.
    pub fn refused_by(&self, q: &Query<'_>) -> Option<(&Rule, RouteKind)> {
        let mut from = 0;
        for rule in self.rules.iter().filter(|r| r.ipv6 == q.ipv6) {
            let applies = rule.matches(q);
            if rule.preference < from || applies == Match::No {
                continue;
            }
            if let Some(kind) = rule.refuses() {
                return (applies == Match::Yes).then_some((rule, kind));
            }
            match (rule.action, applies) {
                (RuleAction::Goto(preference), Match::Yes) => from = preference,
                (RuleAction::Goto(_), _) => return None,
                (RuleAction::Lookup, _) => {
                    let table = self.table_of(rule, q)?;
                    let found = self.best(table, q, &|_| true);
                    if found.is_some_and(|r| accepts(rule, r)) {
                        return None;
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The rules that may apply to a query, but ask for what it does not say.
    pub fn unjudged(&self, q: &Query<'_>) -> impl Iterator<Item = &Rule> {
        let unknown = |r: &&Rule| r.matches(q) == Match::Unknown;
        self.rules.iter().filter(unknown)
    }

    /// The table of a lookup rule. One without table is an `l3mdev` rule: that of the VRF that the
    /// input device is in.
    pub(super) fn table_of(&self, rule: &Rule, q: &Query<'_>) -> Option<u32> {
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
    pub(super) fn best(
        &self,
        table: u32,
        q: &Query<'_>,
        wanted: &dyn Fn(&Route) -> bool,
    ) -> Option<&Route> {
        self.routes
            .iter()
            .filter(|r| r.table == table && r.dst.contains(q.dst) && wanted(r))
            .min_by_key(|r| (Reverse(r.dst.len), r.metric))
    }
}

/// A lookup ends with this route: it does not throw and is not suppressed.
pub(super) fn accepts(rule: &Rule, route: &Route) -> bool {
    let suppressed = rule
        .suppress_prefix_len
        .is_some_and(|len| u32::from(route.dst.len) <= len);
    route.kind != RouteKind::Throw && !suppressed
}
