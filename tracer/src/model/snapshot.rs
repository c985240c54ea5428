//! The model: takes events, gives snapshots.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Decision, Flow, Loss, Snapshot,
    attach::outer_tuple,
    explain::{Explain, NoExplain},
    group::{Built, BuiltFlow, Context, build},
    record::{DropTotals, Group, group_key},
    shared::Shared,
    store::Store,
    topology::Topology,
};
use crate::{
    event::{Encap, Event, HopKey, IcmpSample, KtimeNs, Tuple},
    inventory::Inventory,
};

/// Limits of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// Most flows that are kept. Beyond it those that are healthy and were idle longest are
    /// dropped, and counted in [`Loss::evicted`].
    pub max_flows: usize,
    /// Time of the start.
    pub started: KtimeNs,
    /// Keep sums over all flows.
    pub sums: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            max_flows: 100_000,
            started: KtimeNs::default(),
            sums: false,
        }
    }
}

/// Everything that was reported, and the flows it makes.
///
/// Flows are made when a snapshot is taken, and kept until something about them changes.
#[derive(Debug)]
pub struct Model {
    started: KtimeNs,
    at: KtimeNs,
    store: Store,
    topology: Topology,
    explain: Arc<dyn Explain + Send + Sync>,
    /// Behind a cell because flows are made when somebody looks.
    decisions: RefCell<Shared<Decision>>,
    loss: Loss,
}

impl Model {
    /// A model that knows nothing yet.
    pub fn new(config: ModelConfig) -> Self {
        Self {
            started: config.started,
            at: config.started,
            store: Store::new(config.max_flows, config.sums),
            topology: Topology::default(),
            explain: Arc::new(NoExplain),
            decisions: RefCell::default(),
            loss: Loss::default(),
        }
    }

    /// Takes an event. Totals replace smaller ones, so that events may come twice and in any
    /// order.
    pub fn apply(&mut self, event: &Event) {
        let _news = self.learn(event);
    }

    /// The same, and says whether it may have told something that was not known: false for the total of
    /// a flow at a device that has not changed.
    pub fn learn(&mut self, event: &Event) -> bool {
        self.tick(event.at);
        self.store.apply(event)
    }

    /// Time passes without an event. What is still unanswered depends on it.
    pub fn tick(&mut self, now: KtimeNs) {
        self.at = self.at.max(now);
    }

    /// The kernel's map entry of `key` was deleted after ageing. Its total stays in the sum, and
    /// the entry may start again from 0.
    pub fn retire(&mut self, key: &HopKey) {
        self.store.retire(key);
    }

    /// Forgets flows that were idle since `before` and of which the kernel has no entry any more, and
    /// what else is older. Sums keep what they had.
    pub fn forget(&mut self, before: KtimeNs) {
        self.store.forget(before);
    }

    /// The node's configuration, as it is now.
    pub fn set_inventory(&mut self, inventory: Arc<Inventory>) {
        self.topology = Topology::new(inventory);
        self.store.forget_built();
    }

    /// What finds the configured rule and route behind decisions.
    pub fn set_explain(&mut self, explain: Arc<dyn Explain + Send + Sync>) {
        self.explain = explain;
        self.store.forget_built();
    }

    /// What was lost before events became such. Flows that the model itself had no room for are
    /// added to `evicted` in snapshots.
    pub fn set_loss(&mut self, loss: Loss) {
        self.loss = loss;
    }

    /// Everything known now.
    pub fn snapshot(&self) -> Snapshot {
        self.refresh();
        let mut flows: Vec<BuiltFlow> = Vec::with_capacity(self.store.groups.len());
        let mut stray_drops: Vec<_> = self
            .store
            .strays
            .iter()
            .filter(|d| d.sample.loss && d.sample.tuple.is_none())
            .map(DropTotals::shown)
            .collect();
        let mut no_loss = self.store.no_loss.clone();
        for group in self.store.groups.values() {
            if let Some(built) = &*group.built.borrow() {
                flows.extend(built.flows.iter().cloned());
                stray_drops.extend(built.strays.iter().cloned());
                for late in &built.late {
                    let key = (late.place.reason.clone(), late.place.symbol.clone());
                    let known = no_loss.entry(key).or_default();
                    *known = known.saturating_add(late.count);
                }
            }
        }
        flows.sort_unstable_by(|a, b| {
            (a.rank, a.first)
                .cmp(&(b.rank, b.first))
                .then_with(|| a.flow.id.cmp(&b.flow.id))
        });
        stray_drops.sort_by(|a, b| (a.first, &a.place).cmp(&(b.first, &b.place)));
        let mut neigh_failures: Vec<_> = self
            .store
            .neighbours
            .iter()
            .map(|(f, m)| (*f, m.count()))
            .collect();
        neigh_failures.sort_by_key(|(f, _)| (f.netns, f.dev, f.address));
        Snapshot {
            at: self.at,
            started: self.started,
            flows: flows.into_iter().map(|b| b.flow).collect(),
            gone: self.store.gone.take(),
            stray_drops,
            no_loss: no_loss
                .into_iter()
                .map(|((reason, symbol), n)| (reason, symbol, n))
                .collect(),
            neigh_failures,
            loss: Loss {
                evicted: self.loss.evicted + self.store.evicted,
                ..self.loss
            },
            sums: self.store.sums.clone(),
        }
    }

    /// Makes the flows that are not up to date.
    fn refresh(&self) {
        let joins = Joins::new(&self.store);
        for (key, group) in &self.store.groups {
            if self.is_current(key, group, &joins) {
                recount(group);
                continue;
            }
            let mut built = if joins.absorbed.contains_key(key) {
                Built {
                    fragments: true,
                    ..Built::default()
                }
            } else {
                self.build(key, group, &joins)
            };
            let mut place = group.built.borrow_mut();
            if let Some(before) = &*place {
                self.store.gone.borrow_mut().extend(gone(&built, before));
                keep(&mut built, before);
            }
            *place = Some(built);
        }
        self.store.outer_changed.borrow_mut().clear();
    }

    fn is_current(&self, key: &Tuple, group: &Group, joins: &Joins<'_>) -> bool {
        let built = group.built.borrow();
        let Some(built) = &*built else {
            return false;
        };
        let fragments = joins.fragments.get(key);
        let changed = self.store.outer_changed.borrow();
        !built.stale
            && built.again.is_none_or(|again| self.at < again)
            && built.fragments == (fragments.is_some() || joins.absorbed.contains_key(key))
            && fragments.is_none_or(|f| joins.absorbed.get(f) != Some(&true))
            && built.shown_elsewhere == joins.outer_used.contains(key)
            && (changed.is_empty()
                || !self
                    .outers(group)
                    .any(|e| changed.contains(&outer_tuple(e))))
    }

    /// Outer headers around the packets of a group and of what it takes over.
    fn outers<'s>(&'s self, group: &'s Group) -> impl Iterator<Item = &'s Encap> {
        let parts = group.parts(&self.store.groups);
        group.outers().chain(parts.flat_map(Group::outers))
    }

    fn build(&self, key: &Tuple, group: &Group, joins: &Joins<'_>) -> Built {
        let mut outer_icmp: Vec<&IcmpSample> = Vec::new();
        if !joins.outer_errors.is_empty() {
            let tuples: HashSet<Tuple> = self.outers(group).map(outer_tuple).collect();
            outer_icmp.extend(
                tuples
                    .iter()
                    .filter_map(|t| joins.outer_errors.get(t))
                    .flatten(),
            );
            outer_icmp.sort_by_key(|i| (i.first, i.about, i.dev, i.dir, i.from));
        }
        let context = Context {
            topology: &self.topology,
            explain: &*self.explain,
            decisions: &self.decisions,
            now: self.at,
            outer_icmp: &outer_icmp,
            shown_elsewhere: joins.outer_used.contains(key),
            fragments: joins
                .fragments
                .get(key)
                .and_then(|f| self.store.groups.get(f).map(|g| &**g)),
            groups: &self.store.groups,
        };
        build(key, group, context)
    }
}

/// Brings the counts of a flow up to date, when nothing else of it changed.
fn recount(group: &Group) {
    let mut built = group.built.borrow_mut();
    let Some(built) = built.as_mut().filter(|b| b.recount) else {
        return;
    };
    built.recount = false;
    if let (Some(counts), [one]) = (&built.counts, built.flows.as_mut_slice()) {
        counts.apply(Arc::make_mut(&mut one.flow), group);
    }
}

/// Flows of `before` that there are no more.
fn gone(built: &Built, before: &Built) -> impl Iterator<Item = Arc<Flow>> {
    let has = |f: &BuiltFlow| built.flows.iter().any(|new| new.flow.id == f.flow.id);
    let gone = before.flows.iter().filter(move |old| !has(old));
    gone.map(|old| old.flow.clone())
}

/// Keeps those flows of `before` that are the same. Whoever holds them goes on with them: when the
/// configuration changes, all flows are made again, and would be there twice for a moment.
fn keep(built: &mut Built, before: &Built) {
    for new in &mut built.flows {
        let same = before.flows.iter().find(|old| old.flow == new.flow);
        if let Some(old) = same {
            new.flow = old.flow.clone();
        }
    }
}

/// What connects groups with each other. Empty, and free, unless there are later fragments or
/// ICMP errors about tunnels.
#[derive(Debug, Default)]
struct Joins<'a> {
    /// Group → the group of its later fragments.
    fragments: HashMap<Tuple, Tuple>,
    /// Groups of later fragments that another one shows, and whether they changed.
    absorbed: HashMap<Tuple, bool>,
    /// ICMP errors about outer headers.
    outer_errors: HashMap<Tuple, Vec<&'a IcmpSample>>,
    /// Groups that are such outer headers of other groups.
    outer_used: HashSet<Tuple>,
}

impl<'a> Joins<'a> {
    fn new(store: &'a Store) -> Self {
        let mut joins = Self::default();
        joins.find_fragments(store);
        joins.find_outer_errors(store);
        joins
    }

    /// Later fragments have no ports: they belong to a flow when there is a single one between
    /// their addresses.
    fn find_fragments(&mut self, store: &Store) {
        let mut owners: HashMap<Tuple, Vec<Tuple>> =
            store.fragments.iter().map(|f| (*f, Vec::new())).collect();
        if owners.is_empty() {
            return;
        }
        for (key, group) in &store.groups {
            let later = Tuple {
                sport: 0,
                dport: 0,
                later_fragment: true,
                ..*key
            };
            if !key.later_fragment
                && !group.hops.is_empty()
                && let Some(owners) = owners.get_mut(&group_key(&later))
            {
                owners.push(*key);
            }
        }
        for (fragment, owners) in owners {
            if let ([owner], Some(group)) = (owners.as_slice(), store.groups.get(&fragment)) {
                self.fragments.insert(*owner, fragment);
                self.absorbed.insert(
                    fragment,
                    group.built.borrow().as_ref().is_none_or(|b| b.stale),
                );
            }
        }
    }

    fn find_outer_errors(&mut self, store: &'a Store) {
        for about in &store.outer_errors {
            let errors = store.groups.get(about).and_then(|g| g.rare.as_ref());
            for icmp in errors.into_iter().flat_map(|r| &r.icmp) {
                self.outer_errors.entry(icmp.about).or_default().push(icmp);
            }
        }
        if self.outer_errors.is_empty() {
            return;
        }
        for group in store.groups.values() {
            for tuple in group.outers().map(outer_tuple) {
                if self.outer_errors.contains_key(&tuple) {
                    self.outer_used.insert(group_key(&tuple));
                }
            }
        }
    }
}

/// Which way round a flow is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// As it was opened.
    Keep,
    /// Its replies first.
    Reverse,
}

impl Snapshot {
    /// The same flows, those turned round for which `orientation` says so.
    #[must_use]
    pub fn oriented_by(mut self, orientation: impl Fn(&Flow) -> Orientation) -> Self {
        for flow in &mut self.flows {
            if orientation(flow) == Orientation::Reverse {
                *flow = Arc::new(flow.reversed());
            }
        }
        self
    }
}
