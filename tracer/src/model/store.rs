//! Everything that was reported, by flow tuple, bounded.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    attach::may_be_outer,
    group::Built,
    totals::{Lives, Moments},
};
use crate::event::{
    Body, Counters, DropPlace, DropSample, Encap, EncapKey, Event, HopKey, HopSample, IcmpSample,
    KtimeNs, NeighFailure, RouteDecision, RouteFailure, TcpNotice, Tuple,
};

/// Most drops without a flow that are told apart. They differ by place only, so that a real node
/// has some tens.
const MAX_STRAYS: usize = 4096;

/// Part of the store that is evicted at once, so that eviction is not paid for by each new flow.
const EVICT_PART: usize = 16;

/// A flow at a device, all that is known.
#[derive(Clone, Debug)]
pub(super) struct HopTotals {
    pub(super) key: HopKey,
    pub(super) lives: Lives,
    /// Which sample the fields below are from: the newest one.
    version: (KtimeNs, u64, KtimeNs),
    pub(super) route: Option<Box<RouteDecision>>,
    pub(super) encap: Option<Box<Encap>>,
    pub(super) mark: u32,
    pub(super) vlan: u16,
    pub(super) max_len: u32,
    pub(super) tcp_flags: u8,
    pub(super) route_changes: u32,
    /// The kernel's entry was deleted.
    retired: bool,
}

impl HopTotals {
    fn new(sample: &HopSample, at: KtimeNs) -> Self {
        Self {
            key: sample.key,
            lives: Lives::new(sample.counters),
            version: (sample.counters.last, sample.counters.packets, at),
            route: sample.route.map(Box::new),
            encap: sample.encap.map(Box::new),
            mark: sample.mark,
            vlan: sample.vlan,
            max_len: sample.max_len,
            tcp_flags: sample.tcp_flags,
            route_changes: sample.route_changes,
            retired: false,
        }
    }

    fn apply(&mut self, sample: &HopSample, at: KtimeNs) -> bool {
        let mut changed = self.lives.apply(&sample.counters);
        let version = (sample.counters.last, sample.counters.packets, at);
        if version > self.version {
            self.version = version;
            changed |= self.route.as_deref().copied() != sample.route
                || self.encap.as_deref().copied() != sample.encap
                || (self.mark, self.vlan) != (sample.mark, sample.vlan);
            self.route = sample.route.map(Box::new).or(self.route.take());
            self.encap = sample.encap.map(Box::new).or(self.encap.take());
            self.mark = sample.mark;
            self.vlan = sample.vlan;
            self.retired = false;
        } else {
            changed |= (self.route.is_none() && sample.route.is_some())
                || (self.encap.is_none() && sample.encap.is_some());
            self.route = self.route.take().or(sample.route.map(Box::new));
            self.encap = self.encap.take().or(sample.encap.map(Box::new));
        }
        let max_len = self.max_len.max(sample.max_len);
        let flags = self.tcp_flags | sample.tcp_flags;
        let changes = self.route_changes.max(sample.route_changes);
        changed |= (max_len, flags, changes) != (self.max_len, self.tcp_flags, self.route_changes);
        (self.max_len, self.tcp_flags, self.route_changes) = (max_len, flags, changes);
        changed
    }
}

/// Packets that ended at one place, all that is known.
#[derive(Clone, Debug)]
pub(super) struct DropTotals {
    pub(super) lives: Lives,
    /// The newest sample; its counts are those of one life.
    pub(super) sample: DropSample,
    at: KtimeNs,
}

impl DropTotals {
    fn new(sample: &DropSample, at: KtimeNs) -> Self {
        Self {
            lives: Lives::new(drop_counters(sample)),
            sample: sample.clone(),
            at,
        }
    }

    fn is(&self, other: &DropSample) -> bool {
        self.sample.tuple == other.tuple
            && self.sample.encap.map(|e| e.key) == other.encap.map(|e| e.key)
            && self.sample.place == other.place
    }

    fn apply(&mut self, sample: &DropSample, at: KtimeNs) -> bool {
        let mut changed = self.lives.apply(&drop_counters(sample));
        let max_len = self.sample.max_len.max(sample.max_len);
        changed |= max_len != self.sample.max_len;
        if (sample.last, sample.count, at) > (self.sample.last, self.sample.count, self.at) {
            let (route, mtu) = (self.sample.route, self.sample.mtu);
            self.sample = sample.clone();
            self.sample.route = sample.route.or(route);
            self.sample.mtu = sample.mtu.or(mtu);
            self.at = at;
            changed = true;
        } else {
            self.sample.route = self.sample.route.or(sample.route);
            self.sample.mtu = self.sample.mtu.or(sample.mtu);
        }
        self.sample.max_len = max_len;
        changed
    }
}

fn drop_counters(s: &DropSample) -> Counters {
    Counters {
        packets: s.count,
        bytes: s.bytes,
        skbs: 0,
        first: s.first,
        last: s.last,
    }
}

/// What most flows do not have.
#[derive(Clone, Debug, Default)]
pub(super) struct Rare {
    pub(super) drops: Vec<DropTotals>,
    pub(super) icmp: Vec<IcmpSample>,
    pub(super) tcp: Vec<(TcpNotice, Moments)>,
    pub(super) failures: Vec<RouteFailure>,
}

/// All reports about a tuple and its answer, in all namespaces.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) hops: Vec<HopTotals>,
    pub(super) rare: Option<Box<Rare>>,
    /// Time of the last packet or report.
    last: KtimeNs,
    /// The flows made of it, until something changes. Behind a cell because they are made when
    /// somebody looks.
    pub(super) built: RefCell<Option<Built>>,
}

impl Group {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn in_trouble(&self) -> bool {
        match &*self.built.borrow() {
            Some(built) => built.in_trouble(),
            None => self
                .rare
                .as_ref()
                .is_some_and(|r| !r.failures.is_empty() || r.drops.iter().any(|d| d.sample.loss)),
        }
    }

    /// Outer headers around its packets.
    pub(super) fn outers(&self) -> impl Iterator<Item = &Encap> {
        self.hops.iter().filter_map(|h| h.encap.as_deref())
    }
}

/// The key of a [`Group`]: the same for a tuple and its answer.
pub(super) fn group_key(tuple: &Tuple) -> Tuple {
    match answer(tuple) {
        Some(answer) => answer.min(*tuple),
        None => *tuple,
    }
}

/// The tuple of the answer; `None` for what has none (most ICMP messages).
pub(super) fn answer(tuple: &Tuple) -> Option<Tuple> {
    if tuple.later_fragment {
        // No ports and no ICMP type to be exchanged.
        return Some(Tuple {
            src: tuple.dst,
            dst: tuple.src,
            ..*tuple
        });
    }
    let reversed = tuple.reversed();
    (reversed.reversed() == *tuple).then_some(reversed)
}

/// Reports by flow, with a limit.
#[derive(Debug)]
pub(super) struct Store {
    max: usize,
    pub(super) groups: HashMap<Tuple, Group>,
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
    /// Flows and drops that found no room.
    pub(super) evicted: u64,
}

impl Store {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            groups: HashMap::new(),
            strays: Vec::new(),
            no_loss: BTreeMap::new(),
            neighbours: Vec::new(),
            fragments: Vec::new(),
            outer_errors: Vec::new(),
            outer_changed: RefCell::default(),
            evicted: 0,
        }
    }

    pub(super) fn apply(&mut self, event: &Event) {
        let at = event.at;
        match &event.body {
            Body::Hop(sample) => self.hop(sample, at),
            Body::Drop(sample) => self.drop(sample, at),
            Body::Icmp(sample) => self.icmp(sample),
            Body::RouteFailure(failure) => self.failure(failure),
            Body::Neigh(failure) => self.neighbour(failure, at),
            Body::Tcp(notice) => self.tcp(notice, at),
            Body::Packet(_) => {}
        }
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

    fn hop(&mut self, sample: &HopSample, at: KtimeNs) {
        if sample.key.tuple.is_housekeeping() {
            return;
        }
        let group = self.group(&sample.key.tuple, sample.counters.last);
        let changed = match group.hops.iter_mut().find(|h| h.key == sample.key) {
            Some(hop) => hop.apply(sample, at),
            None => {
                group.hops.push(HopTotals::new(sample, at));
                true
            }
        };
        if changed {
            *group.built.get_mut() = None;
        }
    }

    fn drop(&mut self, sample: &DropSample, at: KtimeNs) {
        let flow = sample.tuple.filter(|t| !t.is_housekeeping());
        let (drops, built) = match flow {
            Some(tuple) => {
                let group = self.group(&tuple, sample.last);
                let Group { rare, built, .. } = group;
                (&mut rare.get_or_insert_default().drops, Some(built))
            }
            None => (&mut self.strays, None),
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
                drops.push(DropTotals::new(sample, at));
                (true, sample.count)
            }
        };
        if let Some(built) = built
            && changed
            && sample.loss
        {
            *built.get_mut() = None;
        }
        if !sample.loss || sample.tuple.is_some_and(|t| t.is_housekeeping()) {
            let key = (sample.place.reason.clone(), sample.place.symbol.clone());
            *self.no_loss.entry(key).or_default() += after.saturating_sub(before);
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
            None => group.rare().icmp.push(*sample),
        }
        *group.built.get_mut() = None;
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
            None => group.rare().failures.push(failure.clone()),
        }
        *group.built.get_mut() = None;
    }

    fn tcp(&mut self, notice: &TcpNotice, at: KtimeNs) {
        let group = self.group(&notice.tuple, at);
        let tcp = &mut group.rare().tcp;
        let new = match tcp.iter_mut().find(|(k, _)| k == notice) {
            Some((_, moments)) => moments.add(at),
            None => {
                let mut moments = Moments::default();
                moments.add(at);
                tcp.push((*notice, moments));
                true
            }
        };
        if new {
            *group.built.get_mut() = None;
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
            let mut moments = Moments::default();
            moments.add(at);
            self.neighbours.push((*failure, moments));
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
                    g.hops.iter().any(|h| !h.retired),
                    g.last,
                    *key,
                )
            })
            .collect();
        let count = (self.max / EVICT_PART).max(1).min(order.len());
        order.select_nth_unstable(count - 1);
        for (.., key) in &order[..count] {
            self.groups.remove(key);
        }
        self.fragments.retain(|t| self.groups.contains_key(t));
        self.outer_errors.retain(|t| self.groups.contains_key(t));
        self.evicted += count as u64;
    }

    /// All flows have to be made again: what they were made with has changed.
    pub(super) fn forget_built(&mut self) {
        for group in self.groups.values_mut() {
            *group.built.get_mut() = None;
        }
    }
}

fn same_icmp(a: &IcmpSample, b: &IcmpSample) -> bool {
    (
        a.about,
        a.from,
        a.netns,
        a.dev,
        a.dir,
        a.icmp_type,
        a.code,
        a.local,
    ) == (
        b.about,
        b.from,
        b.netns,
        b.dev,
        b.dir,
        b.icmp_type,
        b.code,
        b.local,
    )
}

impl DropTotals {
    /// As it is shown.
    pub(super) fn shown(&self) -> super::Drop {
        let total = self.lives.total();
        super::Drop {
            place: DropPlace::clone(&self.sample.place),
            count: total.packets,
            first: total.first,
            last: total.last,
            route: self.sample.route,
            mtu: self.sample.mtu,
            max_len: self.sample.max_len,
            encap: self.sample.encap,
        }
    }

    pub(super) fn encap_key(&self) -> Option<EncapKey> {
        self.sample.encap.map(|e| e.key)
    }
}
