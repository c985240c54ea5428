//! Everything that was reported, by flow tuple, bounded.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    mem,
    sync::Arc,
};

use super::{
    Flow,
    attach::may_be_outer,
    record::{DropTotals, Group, Groups, HopTotals, group_key, push, same_icmp},
    shared::Shared,
    sums::Sums,
    totals::{Changed, Moments},
};
use crate::event::{
    Body, Counters, DropSample, Event, HopKey, HopSample, IcmpSample, KtimeNs, Nat, NeighFailure,
    NetnsId, RouteDecision, RouteFailure, TcpNotice, Tuple,
};

/// Most drops without a flow that are told apart. They differ by place only, so that a real node
/// has some tens.
const MAX_STRAYS: usize = 4096;

/// Part of the store that is evicted at once, so that eviction is not paid for by each new flow.
const EVICT_PART: usize = 16;

/// Reports by flow, with a limit.
#[derive(Debug)]
pub(super) struct Store {
    max: usize,
    /// Decisions of hops.
    routes: Shared<RouteDecision>,
    pub(super) groups: Groups,
    /// Drops without addresses, and of the link's housekeeping.
    pub(super) strays: Vec<DropTotals>,
    pub(super) no_loss: BTreeMap<(Arc<str>, Arc<str>), u64>,
    pub(super) neighbours: Vec<(NeighFailure, Moments)>,
    /// Tuples of later fragments that have a group.
    pub(super) fragments: Vec<Tuple>,
    /// Groups with ICMP errors about what may be outer headers of tunnels.
    pub(super) outer_errors: Vec<Tuple>,
    /// Tuples of such errors that came since the last snapshot.
    pub(super) outer_changed: RefCell<HashSet<Tuple>>,
    /// Flows of the last snapshot that are none of the next.
    pub(super) gone: RefCell<Vec<Arc<Flow>>>,
    /// Flows and drops that found no room.
    pub(super) evicted: u64,
    /// When they were asked for.
    pub(super) sums: Option<Sums>,
}

impl Store {
    pub(super) fn new(max: usize, sums: bool) -> Self {
        Self {
            max: max.max(1),
            routes: Shared::default(),
            groups: Groups::default(),
            strays: Vec::new(),
            no_loss: BTreeMap::new(),
            neighbours: Vec::new(),
            fragments: Vec::new(),
            outer_errors: Vec::new(),
            outer_changed: RefCell::default(),
            gone: RefCell::default(),
            evicted: 0,
            sums: sums.then(Sums::default),
        }
    }

    /// False when it is known that it told nothing new.
    pub(super) fn apply(&mut self, event: &Event) -> bool {
        let at = event.at;
        match &event.body {
            Body::Hop(sample) => return self.hop(sample, at),
            Body::Drop(sample) => self.drop(sample, at),
            Body::Icmp(sample) => self.icmp(sample),
            Body::RouteFailure(failure) => self.failure(failure),
            Body::Neigh(failure) => self.neighbour(failure, at),
            Body::Tcp(notice) => self.tcp(notice, at),
            Body::Packet(_) => {}
        }
        true
    }

    /// The kernel's entry of `key` was deleted: its total stays, and a flow of which all entries
    /// are gone is evicted before others.
    pub(super) fn retire(&mut self, key: &HopKey) {
        if let Some(group) = self.groups.get_mut(&group_key(&key.tuple))
            && let Some(hop) = group.hops.iter_mut().find(|h| h.key == *key)
        {
            hop.retired = true;
        }
    }

    /// False when nothing of it changed.
    fn hop(&mut self, sample: &HopSample, at: KtimeNs) -> bool {
        if sample.key.tuple.is_housekeeping() {
            return true;
        }
        let mut routes = mem::take(&mut self.routes);
        let group = self.group(&sample.key.tuple, sample.counters.last);
        let known = group.hops.iter_mut().find(|h| h.key == sample.key);
        let (mut before, mut after) = (Counters::default(), sample.counters);
        let changed = if let Some(hop) = known {
            before = hop.lives.total();
            let changed = hop.apply(sample, at, &mut routes);
            after = hop.lives.total();
            changed
        } else {
            push(&mut group.hops, HopTotals::new(sample, at, &mut routes));
            Changed::More
        };
        let linked = group.is_linked();
        if changed == Changed::Counts && !linked {
            // nearly all reports are such: the group is not looked for again
            group.count();
        }
        self.routes = routes;
        if let Some(sums) = &mut self.sums {
            let key = &sample.key;
            sums.passed((key.netns, key.dev, key.dir), &before, &after);
        }
        if changed == Changed::More || linked {
            self.changed(&sample.key.tuple, changed);
        }
        if let Some(nat) = &sample.nat {
            self.link(nat, sample.key.netns, sample.counters.last);
        }
        changed != Changed::Nothing
    }

    /// A report changed something about the group of `tuple`.
    fn changed(&mut self, tuple: &Tuple, changed: Changed) {
        match changed {
            Changed::Nothing => {}
            Changed::More => self.touch(tuple),
            Changed::Counts => match self.groups.get_mut(&group_key(tuple)) {
                Some(group) if !group.is_linked() => group.count(),
                _ => self.touch(tuple),
            },
        }
    }

    /// What was made of the group of `tuple` is out of date, and so are the flows that take parts
    /// of it.
    fn touch(&mut self, tuple: &Tuple) {
        let key = group_key(tuple);
        let Some(group) = self.groups.get_mut(&key) else {
            return;
        };
        group.outdate();
        if !group.is_linked() {
            return;
        }
        let takers: Vec<Tuple> = group.takers().collect();
        for taker in takers {
            if let Some(group) = self.groups.get_mut(&taker) {
                group.outdate();
            }
        }
    }

    /// Connects the groups of both sides of a translated connection.
    fn link(&mut self, nat: &Nat, netns: NetnsId, at: KtimeNs) {
        let (from, to) = (group_key(&nat.translated), group_key(&nat.original));
        if from == to {
            return;
        }
        let taker = self.group(&nat.original, at).links();
        let known = taker.parts.contains(&from);
        if !known {
            taker.parts.push(from);
        }
        let links = self.group(&nat.translated, at).links();
        let known = known && links.knows(nat, netns);
        links.add(nat, netns, at);
        if !known {
            self.touch(&nat.original);
            self.touch(&nat.translated);
        }
    }

    fn drop(&mut self, sample: &DropSample, at: KtimeNs) {
        if sample.original.is_some() && sample.original != sample.tuple {
            // by the addresses of its flow, however far translation had come
            let sample = DropSample {
                tuple: sample.original,
                ..sample.clone()
            };
            return self.drop(&sample, at);
        }
        let flow = sample.tuple.filter(|t| !t.is_housekeeping());
        let drops = match flow {
            Some(tuple) => &mut self.group(&tuple, sample.last).rare().drops,
            None => &mut self.strays,
        };
        let full = flow.is_none() && drops.len() >= MAX_STRAYS;
        let slot = drops.iter_mut().find(|d| d.is(sample));
        let before = slot.as_ref().map_or(0, |d| d.lives.total().packets);
        let (changed, after) = match slot {
            Some(drop) => (drop.apply(sample, at), drop.lives.total().packets),
            None if full => {
                self.evicted += 1;
                return;
            }
            None => {
                push(drops, DropTotals::new(sample, at));
                (Changed::More, sample.count)
            }
        };
        if let Some(tuple) = flow
            && sample.loss
        {
            self.changed(&tuple, changed);
        }
        if !sample.loss || sample.tuple.is_some_and(|t| t.is_housekeeping()) {
            let key = (sample.place.reason.clone(), sample.place.symbol.clone());
            let known = self.no_loss.entry(key).or_default();
            // a file may say anything
            *known = known.saturating_add(after.saturating_sub(before));
        } else if let Some(sums) = &mut self.sums {
            sums.dropped(&sample.place, after.saturating_sub(before));
        }
    }

    fn icmp(&mut self, sample: &IcmpSample) {
        if sample.about.is_housekeeping() {
            return;
        }
        let group = self.group(&sample.about, sample.last);
        let known = group.rare().icmp.iter_mut().find(|k| same_icmp(k, sample));
        match known {
            Some(known) => {
                known.count = known.count.max(sample.count);
                known.first = known.first.min(sample.first);
                if (sample.last, sample.mtu) > (known.last, known.mtu) {
                    known.mtu = sample.mtu.or(known.mtu);
                }
                known.last = known.last.max(sample.last);
            }
            None => push(&mut group.rare().icmp, *sample),
        }
        self.touch(&sample.about);
        if may_be_outer(&sample.about) {
            let key = group_key(&sample.about);
            if !self.outer_errors.contains(&key) {
                self.outer_errors.push(key);
            }
            self.outer_changed.get_mut().insert(sample.about);
        }
    }

    fn failure(&mut self, failure: &RouteFailure) {
        let group = self.group(&failure.tuple, failure.last);
        let known = group.rare().failures.iter_mut().find(|k| {
            (k.tuple, k.netns, k.table, k.errno, k.pid)
                == (
                    failure.tuple,
                    failure.netns,
                    failure.table,
                    failure.errno,
                    failure.pid,
                )
        });
        match known {
            Some(known) => {
                known.count = known.count.max(failure.count);
                known.first = known.first.min(failure.first);
                known.last = known.last.max(failure.last);
            }
            None => push(&mut group.rare().failures, failure.clone()),
        }
        group.outdate();
    }

    fn tcp(&mut self, notice: &TcpNotice, at: KtimeNs) {
        let group = self.group(&notice.tuple, at);
        let tcp = &mut group.rare().tcp;
        let at_known = tcp
            .iter_mut()
            .find(|(k, _)| k == notice)
            .map(|(_, m)| m.add(at));
        if at_known.is_none() {
            push(tcp, (*notice, Moments::new(at)));
        }
        if at_known != Some(false) {
            self.touch(&notice.tuple);
        }
    }

    fn neighbour(&mut self, failure: &NeighFailure, at: KtimeNs) {
        let same = |k: &NeighFailure| {
            (k.address, k.netns, k.dev) == (failure.address, failure.netns, failure.dev)
        };
        if let Some((known, moments)) = self.neighbours.iter_mut().find(|(k, _)| same(k)) {
            if at >= moments.last() {
                known.queued = failure.queued;
            }
            moments.add(at);
        } else if self.neighbours.len() < MAX_STRAYS {
            self.neighbours.push((*failure, Moments::new(at)));
        } else {
            self.evicted += 1;
        }
    }

    /// The group of `tuple`, made when it is new.
    fn group(&mut self, tuple: &Tuple, at: KtimeNs) -> &mut Group {
        let key = group_key(tuple);
        if !self.groups.contains_key(&key) {
            if self.groups.len() >= self.max {
                self.evict();
            }
            if key.later_fragment {
                self.fragments.push(key);
            }
        }
        let group = self.groups.entry(key).or_default();
        group.last = group.last.max(at);
        group
    }

    /// Makes room: flows in trouble go last, those that the kernel has forgotten go first, and
    /// of equals the one that was idle longest.
    fn evict(&mut self) {
        let mut order: Vec<_> = self
            .groups
            .iter()
            .map(|(key, g)| {
                (
                    g.in_trouble(),
                    g.is_linked() || g.hops.iter().any(|h| !h.retired),
                    g.last,
                    *key,
                )
            })
            .collect();
        let count = (self.max / EVICT_PART).max(1).min(order.len());
        order.select_nth_unstable(count - 1);
        let evicted: Vec<Tuple> = order[..count].iter().map(|(.., key)| *key).collect();
        self.remove(&evicted);
        self.evicted += count as u64;
    }

    fn remove(&mut self, keys: &[Tuple]) {
        if keys.is_empty() {
            return;
        }
        for key in keys {
            // what it had taken is shown by its own group again
            let Some(group) = self.groups.remove(key) else {
                continue;
            };
            let built = group.built.into_inner();
            self.gone
                .get_mut()
                .extend(built.into_iter().flat_map(|b| b.flows).map(|b| b.flow));
            let parts = group.links;
            for part in parts.iter().flat_map(|l| &l.parts) {
                if let Some(group) = self.groups.get_mut(part) {
                    group.outdate();
                }
            }
        }
        self.fragments.retain(|t| self.groups.contains_key(t));
        self.outer_errors.retain(|t| self.groups.contains_key(t));
    }

    /// Takes out what was idle since `before` and has no entry in the kernel any more, which would
    /// be counted again otherwise.
    pub(super) fn forget(&mut self, before: KtimeNs) {
        let idle: Vec<Tuple> = self
            .groups
            .iter()
            .filter(|(_, g)| g.last < before && g.hops.iter().all(|h| h.retired))
            .map(|(key, _)| *key)
            .collect();
        self.remove(&idle);
        self.strays.retain(|d| d.sample.last >= before);
        self.neighbours.retain(|(_, m)| m.last() >= before);
    }

    /// All flows have to be made again: what they were made with has changed.
    pub(super) fn forget_built(&mut self) {
        for group in self.groups.values_mut() {
            group.outdate();
        }
    }
}
