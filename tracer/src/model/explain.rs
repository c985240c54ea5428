//! What the node's configuration adds to a route decision.

use std::net::IpAddr;

use crate::{
    event::{How, Ifindex, NetnsId, RouteDecision},
    inventory::{Inventory, Query, Seen},
};

/// The lookup to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Namespace.
    pub netns: NetnsId,
    /// IPv6.
    pub ipv6: bool,
    /// Source address that was looked up.
    pub src: IpAddr,
    /// Destination address that was looked up.
    pub dst: IpAddr,
    /// Device that the packet came in by; `None` when it was made on this node.
    pub iif: Option<Ifindex>,
    /// `skb->mark`.
    pub mark: u32,
}

/// The configuration that makes a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Preference of the rule that led to the table.
    pub rule: Option<u32>,
    /// Preferred source of the route.
    pub prefsrc: Option<IpAddr>,
    /// Table.
    pub table: Option<u32>,
    /// Destination of the route, as `ip route` prints it.
    pub matched: Option<String>,
}

/// Finds the rule and the route behind a decision in the node's configuration.
pub trait Explain: std::fmt::Debug {
    /// `None` when no configured route gives this decision.
    fn explain(&self, lookup: &Lookup, decision: &RouteDecision) -> Option<Explanation>;
}

/// Explains nothing: decisions are shown as they were read from packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExplain;

impl Explain for NoExplain {
    fn explain(&self, _: &Lookup, _: &RouteDecision) -> Option<Explanation> {
        None
    }
}

impl Explain for Inventory {
    fn explain(&self, lookup: &Lookup, decision: &RouteDecision) -> Option<Explanation> {
        // a bridged packet was not routed, and neither was one that a program sent on
        let advised = decision.bypass && decision.how == How::Inferred;
        if decision.bridged || (advised && decision.table.is_none()) {
            return None;
        }
        let netns = self.netns.get(&lookup.netns)?;
        let iif = lookup.iif.and_then(|dev| netns.links.get(&dev));
        let query = Query {
            ipv6: lookup.ipv6,
            src: Some(lookup.src).filter(|a| !a.is_unspecified()),
            dst: lookup.dst,
            iif: iif.map(|l| l.name.as_str()),
            mark: lookup.mark,
        };
        let seen = Seen {
            kind: Some(decision.kind),
            table: decision.table,
            gateway: decision.gateway,
            // the event of a source check, or of a program's lookup, names the device alone
            any_gateway: decision.source_check || advised,
            dev: decision.dev,
        };
        let found = netns.explain(&query, &seen)?;
        Some(Explanation {
            rule: found.rule,
            prefsrc: found.route.prefsrc,
            table: Some(found.route.table),
            matched: Some(found.route.dst.to_string()),
        })
    }
}
