//! Kinds of flows. Those that take the same way through this node differ in addresses and counts
//! alone: what filters ask for and panes add up is looked at once for each kind, and the counts of
//! all flows stand in one piece of memory. Flows and their paths lie far apart.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    facts::Facts,
    flows::Place,
    sums::{End, Sums, errno},
};
use crate::{
    event::{Dir, Encap, NetnsId, Tuple},
    inventory::Inventory,
    model::{Decision, Direction, Flow, Outcome, Snapshot, Step},
    view::{
        owners::Way,
        select::{self, Asked},
    },
};

/// What flows of one kind have in common.
#[derive(Debug)]
pub(super) struct Kind {
    /// What a filter can ask about it.
    pub(super) asked: Asked,
    /// Who can be at its ends.
    pub(super) way: Way,
    /// Why packets of the opening direction and of the answers end, as the outcomes say.
    pub(super) reasons: [Option<Arc<str>>; 2],
    /// Where the counts of its flows are from: device and direction of each hop, two counts each…
    hops: Box<[(Place, usize)]>,
    /// … and the place of each drop with its errno, a count each.
    ends: Box<[(End, u32)]>,
    /// With 1 for those of the answers.
    decisions: Box<[(Arc<Decision>, usize)]>,
    netns: NetnsId,
    failing: bool,
}

/// Headers around a flow that is encapsulated, and its other side when it is translated.
#[derive(Clone, Copy, Debug)]
struct Beside {
    /// Place of the headers.
    at: usize,
    /// How many, of the opening direction and of the answers.
    encaps: [usize; 2],
    far: Option<Tuple>,
}

/// The kinds of the flows of a picture, and what of them is no fact of all.
#[derive(Debug)]
pub(super) struct Kinds {
    inventory: Arc<Inventory>,
    /// Whose flows they are.
    pub(super) snapshot: Arc<Snapshot>,
    hasher: RandomState,
    all: Vec<Arc<Kind>>,
    /// By the hash of what makes a kind.
    numbers: HashMap<u64, u32, RandomState>,
    counts: Vec<u64>,
    beside: Vec<Beside>,
    encaps: Vec<Encap>,
}

impl Kinds {
    /// Those of `before` are known: a picture has nearly the same kinds as the one before it.
    pub(super) fn new(
        inventory: &Arc<Inventory>,
        snapshot: &Arc<Snapshot>,
        before: Option<&Self>,
    ) -> Self {
        let known = before.filter(|b| Arc::ptr_eq(&b.inventory, inventory));
        // those that no flow has any more go when they are many
        let known = known.filter(|b| b.all.len() <= snapshot.flows.len() + 1024);
        Self {
            inventory: inventory.clone(),
            snapshot: snapshot.clone(),
            hasher: known.map(|k| k.hasher.clone()).unwrap_or_default(),
            all: known.map(|k| k.all.clone()).unwrap_or_default(),
            numbers: known.map(|k| k.numbers.clone()).unwrap_or_default(),
            counts: Vec::with_capacity(before.map_or(0, |b| b.counts.len())),
            beside: Vec::new(),
            encaps: Vec::new(),
        }
    }

    /// The numbers of `before` hold here.
    pub(super) fn continues(&self, before: &Self) -> bool {
        let same = self.all.first().zip(before.all.first());
        same.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    }

    pub(super) fn all(&self) -> &[Arc<Kind>] {
        &self.all
    }

    pub(super) fn of(&self, facts: &Facts) -> &Kind {
        &self.all[facts.kind as usize]
    }

    /// Takes a flow in: its kind, the place of its counts, and of what is beside them.
    pub(super) fn add(&mut self, f: &Flow) -> (u32, u32, Option<u32>) {
        let hash = self.hash(f);
        let next = self.all.len() as u32;
        let kind = *self.numbers.entry(hash).or_insert(next);
        if kind == next {
            self.all.push(Arc::new(Kind::of(f, &self.inventory)));
        }
        let counts = self.counts.len() as u32;
        for h in f.hops() {
            self.counts.extend([h.counters.packets, h.counters.bytes]);
        }
        let drops = f.forward.drops.iter().chain(&f.reply.drops);
        self.counts.extend(drops.map(|d| d.count));
        (kind, counts, self.add_beside(f))
    }

    /// The same for a flow that did not change since `before`.
    pub(super) fn again(&mut self, facts: &Facts, before: &Self) -> (u32, Option<u32>) {
        let counts = self.counts.len() as u32;
        self.counts.extend(before.counts(facts));
        let beside = facts.beside.map(|i| {
            let old = before.beside[i as usize];
            let at = self.encaps.len();
            let n = old.encaps[0] + old.encaps[1];
            self.encaps.extend(&before.encaps[old.at..old.at + n]);
            self.beside.push(Beside { at, ..old });
            self.beside.len() as u32 - 1
        });
        (counts, beside)
    }

    fn add_beside(&mut self, f: &Flow) -> Option<u32> {
        let encapsulated = |d: &Direction| {
            d.hops().any(|h| h.encap.is_some()) || d.drops.iter().any(|x| x.encap.is_some())
        };
        if f.nat.is_none() && !encapsulated(&f.forward) && !encapsulated(&f.reply) {
            return None;
        }
        let at = self.encaps.len();
        let encaps = [&f.forward, &f.reply].map(|d| {
            let all = select::encaps(d);
            self.encaps.extend(&all);
            all.len()
        });
        let far = f.far();
        self.beside.push(Beside { at, encaps, far });
        Some(self.beside.len() as u32 - 1)
    }

    fn counts(&self, facts: &Facts) -> &[u64] {
        let kind = self.of(facts);
        let at = facts.counts as usize;
        &self.counts[at..at + kind.counted()]
    }

    /// Headers around the flow in both directions, and its other side.
    pub(super) fn beside(&self, facts: &Facts) -> ([&[Encap]; 2], Option<&Tuple>) {
        let Some(beside) = facts.beside.map(|i| &self.beside[i as usize]) else {
            return ([&[], &[]], None);
        };
        let (at, [way, back]) = (beside.at, beside.encaps);
        let encaps = [
            &self.encaps[at..at + way],
            &self.encaps[at + way..at + way + back],
        ];
        (encaps, beside.far.as_ref())
    }

    /// Everything that makes a kind.
    fn hash(&self, f: &Flow) -> u64 {
        let mut hash = self.hasher.build_hasher();
        (f.id.scope.netns, f.id.scope.dev).hash(&mut hash);
        for d in [&f.forward, &f.reply] {
            hash.write_u8(0);
            for step in &d.path {
                match step {
                    Step::Hop(h) => (h.netns, h.dev, h.dir, h.mark).hash(&mut hash),
                    Step::Route(r) => {
                        let d = &r.decision;
                        (r.ipv6, r.rule, d.table, d.gateway, d.dev).hash(&mut hash);
                        r.matched.hash(&mut hash);
                    }
                }
            }
            for x in &d.drops {
                (&x.place, errno(x)).hash(&mut hash);
            }
            outcome(d).hash(&mut hash);
        }
        for r in &f.route_failures {
            (r.netns, r.table).hash(&mut hash);
        }
        hash.finish()
    }

    /// What flows come to together, by their numbers in the snapshot.
    pub(super) fn sum(&self, facts: &[Facts], flows: impl Iterator<Item = u32>) -> Sums {
        let mut sums = Sums::default();
        // the places of the sums of each kind in one list
        let mut next = 0;
        let starts: Vec<usize> = self
            .all
            .iter()
            .map(|k| {
                let start = next;
                next += 3 + k.counted();
                start
            })
            .collect();
        let mut all = vec![0_u64; next];
        for number in flows {
            let facts = &facts[number as usize];
            let kind = self.of(facts);
            let start = starts[facts.kind as usize];
            let own = &mut all[start..start + 3 + kind.counted()];
            own[0] += 1;
            own[1] += facts.packets[0].max(1);
            own[2] += facts.packets[1].max(1);
            for (sum, n) in own[3..].iter_mut().zip(self.counts(facts)) {
                *sum += n;
            }
            if kind.failing {
                sums.failing.push(number);
            }
        }
        for (kind, start) in self.all.iter().zip(starts) {
            let own = &all[start..start + 3 + kind.counted()];
            if own[0] > 0 {
                kind.add(own, self.inventory.home, &mut sums);
            }
        }
        sums
    }
}

impl Kind {
    fn of(f: &Flow, inventory: &Inventory) -> Self {
        let ways = [&f.forward, &f.reply];
        let drops = f.forward.drops.iter().chain(&f.reply.drops);
        let decisions = ways.iter().enumerate().flat_map(|(i, d)| {
            d.path.iter().filter_map(move |s| match s {
                Step::Route(r) => Some((r.clone(), i)),
                Step::Hop(_) => None,
            })
        });
        Self {
            asked: Asked::of(f),
            way: Way::of_flow(inventory, f),
            reasons: ways.map(|d| outcome(d).cloned()),
            hops: f
                .hops()
                .map(|h| ((h.netns, h.dev), usize::from(h.dir == Dir::Out)))
                .collect(),
            ends: drops.map(|d| (End::of(d), errno(d))).collect(),
            decisions: decisions.collect(),
            netns: f.id.scope.netns,
            failing: !f.route_failures.is_empty(),
        }
    }

    /// Counts of a flow.
    fn counted(&self) -> usize {
        2 * self.hops.len() + self.ends.len()
    }

    /// Adds the sum of its flows: how many they are, packets of both directions, and the counts.
    fn add(&self, own: &[u64], home: NetnsId, sums: &mut Sums) {
        let (head, counts) = own.split_at(3);
        let (passed, ended) = counts.split_at(2 * self.hops.len());
        for ((place, dir), count) in self.hops.iter().zip(passed.chunks_exact(2)) {
            let traffic = sums.devices.entry(*place).or_default();
            traffic.packets[*dir] += count[0];
            traffic.bytes[*dir] += count[1];
        }
        for ((end, errno), count) in self.ends.iter().zip(ended) {
            sums.ended(end, (*count, *errno), home);
        }
        if self.netns == home {
            let hits = |way: usize| (head[0], head[1 + way]);
            let decisions = self.decisions.iter();
            sums.decisions
                .extend(decisions.map(|(d, way)| (d.clone(), hits(*way))));
        }
    }

    /// Why packets of its flows end, those of the direction that is shown first first.
    pub(super) fn reason(&self, turned: bool) -> Option<&Arc<str>> {
        let [way, back] = &self.reasons;
        let (first, second) = if turned { (back, way) } else { (way, back) };
        let dropped = self.ends.first().map(|(end, _)| &end.reason);
        first.as_ref().or(second.as_ref()).or(dropped)
    }
}

/// The reason for which most packets of a direction end.
fn outcome(d: &Direction) -> Option<&Arc<str>> {
    match &d.outcome {
        Some(Outcome::Dropped(reason)) => Some(reason),
        _ => None,
    }
}
