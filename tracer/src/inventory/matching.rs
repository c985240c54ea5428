//! Whether a policy rule applies to a lookup.

use super::{Query, Rule, RuleAction};
use crate::event::RouteKind;

/// What a rule says to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It applies.
    Yes,
    /// It does not.
    No,
    /// It asks for what the query does not know.
    Unknown,
}

impl Match {
    fn of(hit: Option<bool>) -> Self {
        match hit {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Unknown,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            _ => Self::Yes,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// The input device of packets of this node.
const LOOPBACK: &str = "lo";

impl Rule {
    /// Whether the rule applies to a query (`fib_rule_match()` of `net/core/fib_rules.c`). Never
    /// `Unknown` for a rule that does not match by what is known.
    pub fn matches(&self, q: &Query<'_>) -> Match {
        if self.ipv6 != q.ipv6 {
            return Match::No;
        }
        let all = [
            self.addresses(q),
            self.devices(q),
            self.socket(q),
            self.transport(q),
        ];
        let hit = all.into_iter().fold(Match::Yes, Match::and);
        if self.invert { hit.not() } else { hit }
    }

    fn addresses(&self, q: &Query<'_>) -> Match {
        let from = self
            .from
            .is_none_or(|p| p.is_default() || q.src.is_some_and(|src| p.contains(src)));
        let to = self.to.is_none_or(|p| p.contains(q.dst));
        // A socket may have left its source open; rules by source did not apply then.
        let open = self.from.is_some_and(|p| !p.is_default())
            && q.iif.is_none()
            && q.asked.is_none()
            && q.src.is_some();
        match (from && to, open) {
            (true, true) => Match::Unknown,
            (hit, _) => Match::of(Some(hit)),
        }
    }

    fn devices(&self, q: &Query<'_>) -> Match {
        let iif = self
            .iif
            .as_deref()
            .is_none_or(|dev| dev == q.iif.unwrap_or(LOOPBACK));
        let oif = match (self.oif.as_deref(), q.asked) {
            (None, _) => Some(true),
            (Some(dev), Some(asked)) => Some(asked.oif == Some(dev)),
            // only sockets bound to a device ask for one
            (Some(_), None) => q.iif.map(|_| false),
        };
        Match::of(Some(iif)).and(Match::of(oif))
    }

    fn socket(&self, q: &Query<'_>) -> Match {
        let mark = self
            .fwmark
            .is_none_or(|(mark, mask)| (q.mark ^ mark) & mask == 0);
        let uid = q.asked.map(|asked| asked.uid).or(q.iif.map(|_| 0));
        let user = match self.uid_range {
            None => Some(true),
            Some((first, last)) => uid.map(|uid| (first..=last).contains(&uid)),
        };
        let tos = match self.tos {
            None => Some(true),
            Some(tos) => q.asked.map(|asked| asked.tos == tos),
        };
        Match::of(Some(mark))
            .and(Match::of(user))
            .and(Match::of(tos))
    }

    fn transport(&self, q: &Query<'_>) -> Match {
        let proto = match self.ip_proto {
            None => Some(true),
            Some(proto) => q.transport.map(|t| t.proto == proto),
        };
        let ports = q.transport.and_then(|t| t.ports);
        let within = |range: Option<(u16, u16)>, port: Option<u16>| match range {
            None => Some(true),
            Some((first, last)) => port.map(|port| (first..=last).contains(&port)),
        };
        let sport = within(self.sport, ports.map(|(sport, _)| sport));
        let dport = within(self.dport, ports.map(|(_, dport)| dport));
        // the key of a collect-metadata tunnel is in no query
        let tunnel = (!self.asks_for_tunnel()).then_some(true);
        [proto, sport, dport, tunnel]
            .into_iter()
            .map(Match::of)
            .fold(Match::Yes, Match::and)
    }

    fn asks_for_tunnel(&self) -> bool {
        // names of devices may be any word
        let mut words = self.text.split(' ');
        while let Some(word) = words.next() {
            match word {
                "iif" | "oif" => drop(words.next()),
                "tun_id" => return true,
                _ => {}
            }
        }
        false
    }

    /// What a rule without a lookup makes of a packet.
    pub(super) fn refuses(&self) -> Option<RouteKind> {
        match self.action {
            RuleAction::Blackhole => Some(RouteKind::Blackhole),
            RuleAction::Unreachable => Some(RouteKind::Unreachable),
            RuleAction::Prohibit => Some(RouteKind::Prohibit),
            RuleAction::Lookup | RuleAction::Goto(_) | RuleAction::Nop => None,
        }
    }
}
