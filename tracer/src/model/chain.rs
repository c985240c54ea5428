//! The way of one tuple through one namespace.

use super::{flow::Scope, totals::sum};
use crate::event::{Counters, Dir, Encap, HopKey, Nat, RouteDecision, Tuple};

/// A hop as stitching and path making read it.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// Its number among the hops of the group that it is of.
    pub(super) number: usize,
    /// With the addresses that packets have here.
    pub(super) key: HopKey,
    /// The flow's tuple in this direction, as the client knows it.
    pub(super) flow: Tuple,
    /// The connection that it belongs to, when that is translated.
    pub(super) nat: Option<Nat>,
    /// Connections that its packets were translated for before they left here.
    pub(super) nats: Vec<Nat>,
    pub(super) counters: Counters,
    pub(super) route: Option<RouteDecision>,
    pub(super) encap: Option<Encap>,
    pub(super) mark: u32,
    pub(super) vlan: u16,
    pub(super) max_len: u32,
    pub(super) tcp_flags: u8,
    pub(super) route_changes: u32,
}

impl Leg {
    /// Adds packets of the same flow at the same place (later fragments).
    pub(super) fn add(&mut self, other: &Self) {
        self.counters = sum(&self.counters, &other.counters);
        self.max_len = self.max_len.max(other.max_len);
        self.tcp_flags |= other.tcp_flags;
        self.route = self.route.or(other.route);
        self.encap = self.encap.or(other.encap);
    }

    /// Its packets may have come in as `wire`.
    pub(super) fn came_as(&self, wire: &Tuple) -> bool {
        if self.nats.is_empty() {
            return self.key.tuple == *wire;
        }
        self.nats
            .iter()
            .any(|n| before(n, &self.key.tuple) == *wire)
    }

    /// The addresses that routing looked up: after the destination was translated, before the
    /// source is.
    pub(super) fn routed(&self) -> Tuple {
        let wire = self.key.tuple;
        let came = self.nats.last().map_or(wire, |n| before(n, &wire));
        Tuple {
            src: came.src,
            sport: came.sport,
            ..wire
        }
    }

    pub(super) fn is_in(&self) -> bool {
        self.key.dir == Dir::In
    }

    /// VNI of the encapsulation, or the one that the packet carries beside it.
    pub(super) fn vni(&self) -> Option<u32> {
        self.key.encap.and_then(|e| e.vni).or(self.key.tunnel_key)
    }
}

/// The tuple with which packets came in that leave as `wire`.
fn before(nat: &Nat, wire: &Tuple) -> Tuple {
    if *wire == nat.translated {
        nat.original
    } else {
        nat.translated.reversed()
    }
}

/// One way of one tuple through one namespace.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) scope: Scope,
    /// Hops in the order of the packets; branches (ECMP) one after the other.
    pub(super) steps: Vec<ChainStep>,
}

#[derive(Clone, Debug)]
pub(super) struct ChainStep {
    pub(super) leg: Leg,
    /// Came from this step.
    pub(super) parent: Option<usize>,
    /// Feeds no other step.
    pub(super) leaf: bool,
}

impl Chain {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Leg> {
        self.steps
            .iter()
            .filter(|s| s.parent.is_none())
            .map(|s| &s.leg)
    }

    /// Where its packets were seen last when leaving.
    pub(super) fn exits(&self) -> impl Iterator<Item = &Leg> {
        self.steps
            .iter()
            .filter(|s| s.leaf && s.leg.key.dir == Dir::Out)
            .map(|s| &s.leg)
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.steps.iter().map(|s| &s.leg)
    }
}
