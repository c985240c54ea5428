//! What the table orders, counts and filters flows by, worked out when a picture is made and not
//! where keys are answered.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    sync::Arc,
};

use foldhash::fast::{FixedState, RandomState};

use super::flows::{Class, Place, class, drops, last};
use crate::{
    diagnose::{Finding, Severity},
    event::{KtimeNs, Tuple},
    model::{Direction, Flow, FlowId, Outcome, Snapshot, Step},
};

/// Of one flow. To take very many flows in is to wait for memory: these stand one after the other,
/// flows and their paths do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) id: FlowId,
    /// As the flow is named, and turned round.
    pub(super) class: [Class; 2],
    /// Time of the last packet, drop or failed lookup.
    pub(super) last: KtimeNs,
    /// Packets of the opening direction and of the answers.
    pub(super) packets: [u64; 2],
    /// Packets dropped, both directions, and lookups that failed.
    pub(super) drops: u64,
    /// The first and the last device of the opening direction and of the answers.
    pub(super) ends: [[Option<Place>; 2]; 2],
    /// Of the outcomes' names in their order; 0 for none.
    pub(super) outcome: [u8; 2],
    /// Number of the first finding about it; `u32::MAX` for none.
    pub(super) finding: u32,
    /// Only its addresses can tell a filter about headers anything.
    pub(super) plain: bool,
    /// A hash of all that a filter can ask for: while it is the same, so is the answer.
    pub(super) shape: u64,
}

impl Facts {
    /// Of all flows, in their order.
    pub(super) fn of(snapshot: &Snapshot, findings: &[Finding]) -> Arc<[Self]> {
        let named = named(findings);
        let none = (u32::MAX, false);
        let facts = |f: &Arc<Flow>| {
            let found = if named.is_empty() {
                none
            } else {
                named.get(&f.id).copied().unwrap_or(none)
            };
            Self::one(f, found)
        };
        snapshot.flows.iter().map(facts).collect()
    }

    fn one(f: &Flow, (finding, serious): (u32, bool)) -> Self {
        let drops = drops(f);
        let ways = [&f.forward, &f.reply];
        let encapsulated = |d: &Direction| {
            d.hops().any(|h| h.encap.is_some()) || d.drops.iter().any(|x| x.encap.is_some())
        };
        Self {
            id: f.id,
            class: [
                class(ways, f, drops, serious),
                class([&f.reply, &f.forward], f, drops, serious),
            ],
            last: last(f),
            packets: ways.map(|d| d.packets),
            drops,
            ends: ways.map(ends),
            outcome: ways.map(|d| rank(d.outcome.as_ref())),
            finding,
            plain: f.nat.is_none() && !ways.into_iter().any(encapsulated),
            shape: shape(f),
        }
    }

    /// Packets of both directions.
    pub(super) fn all_packets(&self) -> u64 {
        self.packets[0] + self.packets[1]
    }

    /// Addresses and ports as they are shown.
    pub(super) fn tuple(&self, turned: bool) -> Tuple {
        if turned {
            self.id.tuple.reversed()
        } else {
            self.id.tuple
        }
    }
}

/// The first and the last device of a path.
fn ends(d: &Direction) -> [Option<Place>; 2] {
    let mut hops = d.hops().map(|h| (h.netns, h.dev));
    let first = hops.next();
    [first, hops.next_back().or(first)]
}

fn rank(outcome: Option<&Outcome>) -> u8 {
    match outcome {
        None => 0,
        Some(Outcome::Delivered) => 1,
        Some(Outcome::Dropped(_)) => 2,
        Some(Outcome::Forwarded(_)) => 3,
        Some(Outcome::Unanswered(_)) => 4,
        Some(Outcome::Unknown(_)) => 5,
    }
}

/// Everything that `select` looks at.
fn shape(f: &Flow) -> u64 {
    let mut hash = FixedState::default().build_hasher();
    (f.id, f.nat, f.route_failures.is_empty()).hash(&mut hash);
    for d in [&f.forward, &f.reply] {
        for step in &d.path {
            match step {
                Step::Hop(h) => (h.netns, h.dev, h.mark, h.encap).hash(&mut hash),
                Step::Route(r) => r.decision.table.hash(&mut hash),
            }
        }
        for x in &d.drops {
            (&x.place, x.encap).hash(&mut hash);
        }
    }
    for r in &f.route_failures {
        r.table.hash(&mut hash);
    }
    hash.finish()
}

/// The flows that findings name: number of the first finding, and whether one is more than worth
/// knowing.
fn named(findings: &[Finding]) -> HashMap<FlowId, (u32, bool), RandomState> {
    let mut named = HashMap::default();
    for (number, finding) in (0_u32..).zip(findings) {
        let serious = finding.severity != Severity::Info;
        for id in &finding.subject.flows {
            let entry = named.entry(*id).or_insert((number, serious));
            entry.1 |= serious;
        }
    }
    named
}
