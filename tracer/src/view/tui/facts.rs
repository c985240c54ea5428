//! What the table orders, counts and filters flows by, worked out when a picture is made and not
//! where keys are answered.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use super::{
    flows::{Class, Place, class, drops, last},
    kinds::Kinds,
};
use crate::{
    diagnose::{Finding, Severity},
    event::{KtimeNs, Tuple},
    inventory::Inventory,
    model::{Direction, Flow, FlowId, Outcome, Snapshot},
};

/// So many flows further on an unchanged flow is looked for: the order changes little from one
/// picture to the next.
const WINDOW: usize = 8;

/// Of one flow. To take very many flows in is to wait for memory: these stand one after the other,
/// flows and their paths do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) id: FlowId,
    /// As the flow is named, and turned round; findings aside.
    class: [Class; 2],
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
    /// A finding about it is more than worth knowing.
    serious: bool,
    /// Number of its kind.
    pub(super) kind: u32,
    /// Place of its counts.
    pub(super) counts: u32,
    /// Place of what is known of headers around it and of its translation; `None` when only its
    /// addresses can tell a filter about headers anything.
    pub(super) beside: Option<u32>,
}

impl Facts {
    /// Of all flows, in their order. Flows that `before` has as well are not looked at again.
    pub(super) fn of(
        snapshot: &Arc<Snapshot>,
        findings: &[Finding],
        inventory: &Arc<Inventory>,
        before: Option<(&[Self], &Kinds)>,
    ) -> (Arc<[Self]>, Kinds) {
        let named = named(findings);
        let flows = &snapshot.flows;
        let mut kinds = Kinds::new(inventory, snapshot, before.map(|b| b.1));
        let mut before = Before {
            known: before.filter(|b| kinds.continues(b.1)),
            place: 0,
        };
        let facts = flows.iter().map(|f| {
            let mut facts = before.again(f, &mut kinds).unwrap_or_else(|| {
                let place = kinds.add(f);
                Self::one(f, place)
            });
            (facts.finding, facts.serious) = if named.is_empty() {
                (u32::MAX, false)
            } else {
                named.get(&f.id).copied().unwrap_or((u32::MAX, false))
            };
            facts
        });
        let facts = facts.collect();
        (facts, kinds)
    }

    fn one(f: &Flow, (kind, counts, beside): (u32, u32, Option<u32>)) -> Self {
        let drops = drops(f);
        let ways = [&f.forward, &f.reply];
        Self {
            id: f.id,
            class: [
                class(ways, f, drops),
                class([&f.reply, &f.forward], f, drops),
            ],
            last: last(f),
            packets: ways.map(|d| d.packets),
            drops,
            ends: ways.map(ends),
            outcome: ways.map(|d| rank(d.outcome.as_ref())),
            finding: u32::MAX,
            serious: false,
            kind,
            counts,
            beside,
        }
    }

    /// How much trouble it is in.
    pub(super) fn class(&self, turned: bool) -> Class {
        let class = self.class[usize::from(turned)];
        if self.serious {
            class.min(Class::Suspicious)
        } else {
            class
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

/// The picture before, gone through beside the new one.
struct Before<'a> {
    known: Option<(&'a [Facts], &'a Kinds)>,
    /// Behind the last flow that was found.
    place: usize,
}

impl Before<'_> {
    /// The facts of a flow that is still the same.
    fn again(&mut self, f: &Arc<Flow>, kinds: &mut Kinds) -> Option<Facts> {
        let (facts, old) = self.known?;
        let near = old.snapshot.flows.iter().zip(facts).enumerate();
        let mut near = near.skip(self.place).take(WINDOW);
        let (at, (same, facts)) = near.find(|(_, (_, facts))| facts.id == f.id)?;
        self.place = at + 1;
        if !Arc::ptr_eq(same, f) {
            return None;
        }
        let (counts, beside) = kinds.again(facts, old);
        Some(Facts {
            counts,
            beside,
            ..*facts
        })
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
