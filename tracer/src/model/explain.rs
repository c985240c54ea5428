//! What the node's configuration adds to a route decision.

use std::net::IpAddr;

use crate::{
    event::{How, Ifindex, NetnsId, Proto, RouteDecision, RouteFailure, RouteKind, Tuple},
    inventory::{AskedFor, Inventory, Query, Seen, Transport},
};

/// Errnos of `ip route` types and of no route.
pub(super) const EACCES: u32 = 13;
pub(super) const EINVAL: u32 = 22;
pub(super) const ENETUNREACH: u32 = 101;
pub(super) const EHOSTUNREACH: u32 = 113;

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
    /// Protocol and ports of the header that was looked up.
    pub transport: Option<Transport>,
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
    /// Why something of it is not known.
    pub why: Option<String>,
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
        // a bridged packet was not routed, and neither was one that a program sent on; of an unknown
        // decision there is nothing to find the configuration by
        let advised = decision.bypass && decision.how == How::Inferred;
        if decision.bridged || decision.how == How::Unknown || (advised && decision.table.is_none())
        {
            return None;
        }
        let netns = self.netns.get(&lookup.netns)?;
        let name = |dev| netns.links.get(&dev).map(|l| l.name.as_str());
        let iif = lookup.iif.and_then(name);
        // the reverse lookup of a source check asks for less than the packet's own
        let asked = decision.asked.filter(|_| !decision.source_check);
        let open = asked.is_some_and(|a| a.any_source) || lookup.src.is_unspecified();
        let query = Query {
            ipv6: lookup.ipv6,
            src: Some(lookup.src).filter(|_| !open),
            dst: lookup.dst,
            iif,
            mark: asked.map_or(lookup.mark, |a| a.mark),
            transport: lookup.transport,
            asked: asked.map(|a| AskedFor {
                uid: a.uid,
                oif: a.oif.and_then(name),
                tos: a.tos,
            }),
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
            prefsrc: found.route.and_then(|r| r.prefsrc),
            table: found.route.map(|r| r.table),
            matched: found.route.map(|r| r.dst.to_string()),
            why: found.why,
        })
    }
}

/// The rule that refused a lookup of which only the misses in tables were seen: how, as an errno.
pub(super) fn refusal(inventory: &Inventory, failure: &RouteFailure) -> Option<u32> {
    if failure.errno != ENETUNREACH {
        return None;
    }
    let netns = inventory.netns.get(&failure.netns)?;
    let name = |dev| netns.links.get(&dev).map(|l| l.name.as_str());
    let query = Query {
        ipv6: failure.tuple.is_ipv6(),
        src: Some(failure.tuple.src).filter(|_| !failure.asked.any_source),
        dst: failure.tuple.dst,
        iif: None,
        mark: failure.asked.mark,
        transport: transport(&failure.tuple),
        asked: Some(AskedFor {
            uid: failure.asked.uid,
            oif: failure.asked.oif.and_then(name),
            tos: failure.asked.tos,
        }),
    };
    match netns.refused_by(&query)?.1 {
        RouteKind::Blackhole => Some(EINVAL),
        RouteKind::Unreachable => Some(EHOSTUNREACH),
        RouteKind::Prohibit => Some(EACCES),
        _ => None,
    }
}

/// What rules can ask about the header of a packet.
pub(super) fn transport(tuple: &Tuple) -> Option<Transport> {
    let with_ports = matches!(tuple.proto, Proto::TCP | Proto::UDP | Proto::SCTP);
    (!tuple.later_fragment).then(|| Transport {
        proto: tuple.proto.0,
        ports: with_ports.then_some((tuple.sport, tuple.dport)),
    })
}
