//! What the node's configuration adds to a route decision.

use std::net::IpAddr;

use crate::event::{Ifindex, NetnsId, RouteDecision};

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
