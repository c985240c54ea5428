//! Hops of one tuple in one namespace → chains: the ways that its packets take.
//!
//! Each hop has *feeders*, the hops that its packets passed just before. Hops without one are
//! entries, and what hangs together is a chain. Where several feeders are possible and they are
//! of different tenants (VNIs, bridge ports), the hop is made an entry of its own: a chain that
//! is too short is better than one that mixes tenants.

use std::collections::BTreeSet;

use super::{
    chain::{Chain, ChainStep, Leg},
    feeders::{feeders, outer_feeders},
    flow::Scope,
    topology::Topology,
};

/// Chains of the hops of one tuple in one namespace. Hops and chains are ordered by the time of
/// the first packet.
pub(super) fn stitch(legs: &[Leg], topology: &Topology) -> Vec<Chain> {
    let mut feeders: Vec<Vec<usize>> = (0..legs.len())
        .map(|i| feeders(legs, i, topology))
        .collect();
    let mut sets = Sets::new(legs.len());
    for (i, of) in feeders.iter().enumerate() {
        sets.join_all(i, of);
    }
    join_orphans(legs, &feeders, &mut sets);
    for (i, feeders) in feeders.iter_mut().enumerate() {
        let of = outer_feeders(legs, i, topology);
        // The outer leg of two chains cannot be split between them.
        if of
            .iter()
            .map(|f| sets.find(*f))
            .collect::<BTreeSet<_>>()
            .len()
            == 1
        {
            sets.join_all(i, &of);
            *feeders = of;
        }
    }
    join_orphans(legs, &feeders, &mut sets);
    let mut chains: Vec<(usize, Vec<usize>)> = Vec::new();
    for i in 0..legs.len() {
        let root = sets.find(i);
        if let Some((_, members)) = chains.iter_mut().find(|(r, _)| *r == root) {
            members.push(i);
        } else {
            chains.push((root, vec![i]));
        }
    }
    chains
        .iter()
        .map(|(_, members)| chain(legs, members, &feeders))
        .collect()
}

/// Outgoing hops whose beginning was not seen, but that have the same one.
fn join_orphans(legs: &[Leg], feeders: &[Vec<usize>], sets: &mut Sets) {
    let orphan = |i: usize| !legs[i].is_in() && feeders[i].is_empty();
    for i in (0..legs.len()).filter(|i| orphan(*i)) {
        for j in (0..i).filter(|j| orphan(*j)) {
            let (a, b) = (&legs[i].key, &legs[j].key);
            if (a.in_dev, a.encap, a.tunnel_key) == (b.in_dev, b.encap, b.tunnel_key) {
                sets.join(i, j);
            }
        }
    }
}

fn chain(legs: &[Leg], members: &[usize], feeders: &[Vec<usize>]) -> Chain {
    let mut steps: Vec<ChainStep> = Vec::with_capacity(members.len());
    let mut done = vec![false; legs.len()];
    // Members are ordered by time; a stack visits them depth first, earliest branch first.
    let mut stack: Vec<(usize, Option<usize>)> = members
        .iter()
        .rev()
        .filter(|m| feeders[**m].is_empty())
        .map(|m| (*m, None))
        .collect();
    let mut rest = members.iter();
    loop {
        let Some((i, parent)) = stack.pop() else {
            // Hops that feed each other in a circle have no entry: begin with the earliest.
            match rest.find(|m| !done[**m]) {
                Some(m) => stack.push((*m, None)),
                None => break,
            }
            continue;
        };
        if std::mem::replace(&mut done[i], true) {
            continue;
        }
        if let Some(parent) = parent {
            let parent: &mut ChainStep = &mut steps[parent];
            parent.leaf = false;
        }
        let at = steps.len();
        steps.push(ChainStep {
            leg: legs[i].clone(),
            parent,
            leaf: true,
        });
        for m in members.iter().rev().filter(|m| feeders[**m].contains(&i)) {
            stack.push((*m, Some(at)));
        }
    }
    mark_fed(legs, members, feeders, &mut steps);
    Chain {
        scope: scope(&steps),
        steps,
    }
}

/// A hop that feeds one which was reached by another feeder is no end of the way either.
fn mark_fed(legs: &[Leg], members: &[usize], feeders: &[Vec<usize>], steps: &mut [ChainStep]) {
    for f in members.iter().flat_map(|m| &feeders[*m]) {
        if let Some(step) = steps.iter_mut().find(|s| s.leg.key == legs[*f].key) {
            step.leaf = false;
        }
    }
}

fn scope(steps: &[ChainStep]) -> Scope {
    let first = steps
        .iter()
        .filter(|s| s.parent.is_none())
        .map(|s| &s.leg)
        .min_by_key(|l| (l.counters.first, l.key));
    match first {
        Some(leg) => Scope {
            netns: leg.key.netns,
            dev: if leg.is_in() {
                Some(leg.key.dev)
            } else {
                leg.key.in_dev
            },
            // what is sent with a VNI did not arrive with it
            vni: if leg.is_in() {
                leg.vni()
            } else {
                leg.key.encap.and_then(|e| e.vni)
            },
        },
        None => Scope::default(),
    }
}

/// Disjoint sets of hops.
struct Sets(Vec<usize>);

impl Sets {
    fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    fn find(&self, mut i: usize) -> usize {
        while self.0[i] != i {
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }

    fn join_all(&mut self, i: usize, others: &[usize]) {
        for other in others {
            self.join(i, *other);
        }
    }
}
