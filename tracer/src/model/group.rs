//! One group of reports → its flows.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use thin_vec::ThinVec;

use super::{
    Decision, Direction, Drop, Flow, FlowId, Outcome,
    attach::{attach_drop, attach_failure, attach_icmp, attach_outer_icmp, attach_tcp},
    chain::{Chain, Leg},
    draft::Draft,
    explain::Explain,
    loss::{losses, take_late},
    nat::Owner,
    outcome::{Answers, outcome},
    pair::{Pair, pair},
    path::path,
    record::{Group, Groups, HopTotals, Rare, answer, group_key},
    recount::Recount,
    shared::Shared,
    stitch::stitch,
    topology::Topology,
};
use crate::event::{IcmpSample, KtimeNs, NetnsId, TcpNotice, Tuple};

/// How urgent a flow is, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Dropped,
    RouteFailure,
    Unanswered,
    Other,
}

/// A flow with what orders it.
#[derive(Clone, Debug)]
pub(super) struct BuiltFlow {
    pub(super) rank: Rank,
    pub(super) first: KtimeNs,
    pub(super) flow: Arc<Flow>,
}

/// What a group was made into.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked by itself")]
pub(super) struct Built {
    pub(super) flows: Vec<BuiltFlow>,
    /// Drops of which the flow cannot be told.
    pub(super) strays: ThinVec<Drop>,
    /// Drops that are no loss, because the connection was closed.
    pub(super) late: ThinVec<Drop>,
    /// It has to be made again at this time, when nothing happens before.
    pub(super) again: Option<KtimeNs>,
    /// The later fragments that were added.
    pub(super) fragments: bool,
    /// Tunnelled flows show its ICMP errors.
    pub(super) shown_elsewhere: bool,
    /// Where the counts are from, when nothing but them can change without the rest.
    pub(super) counts: Option<Recount>,
    /// The counts are out of date, the rest is not.
    pub(super) recount: bool,
    /// It has to be made again, though nothing was reported: most of it will be the same.
    pub(super) stale: bool,
}

impl Built {
    pub(super) fn in_trouble(&self) -> bool {
        self.flows.iter().any(|f| f.rank != Rank::Other)
    }
}

/// What making flows needs beside the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) topology: &'a Topology,
    pub(super) explain: &'a dyn Explain,
    pub(super) decisions: &'a RefCell<Shared<Decision>>,
    pub(super) now: KtimeNs,
    /// ICMP errors about outer headers of this group.
    pub(super) outer_icmp: &'a [&'a IcmpSample],
    /// Its own ICMP errors are shown by tunnelled flows.
    pub(super) shown_elsewhere: bool,
    /// Later fragments of its packets.
    pub(super) fragments: Option<&'a Group>,
    /// All groups: translation connects them.
    pub(super) groups: &'a Groups,
}

/// Makes the flows of the group of `key` (see `record::group_key`).
pub(super) fn build(key: &Tuple, group: &Group, context: Context<'_>) -> Built {
    let topology = context.topology;
    let mut drafts = chains(key, group, context);
    let mut strays = Vec::new();
    let fragments = context.fragments;
    let own = |t: &Tuple| group.taken(t, context.groups).is_none().then_some(*t);
    if let Some(rare) = &group.rare {
        strays.extend(attach(&mut drafts, rare, &own, context));
    }
    for part in group.parts(context.groups) {
        let taken = |t: &Tuple| {
            let tuple = part.taken(t, context.groups)?;
            (group_key(&tuple) == *key).then_some(tuple)
        };
        if let Some(rare) = &part.rare {
            strays.extend(attach(&mut drafts, rare, &taken, context));
        }
    }
    for icmp in context.outer_icmp {
        attach_outer_icmp(&mut drafts, icmp);
    }
    if let Some(rare) = fragments.and_then(|f| f.rare.as_ref()) {
        for drop in losses(&rare.drops) {
            let mut drop = drop.clone();
            drop.sample.tuple = drop.sample.tuple.map(|t| whole(&t, key));
            strays.extend(attach_drop(&mut drafts, &drop, topology));
        }
    }
    let late: Vec<Drop> = drafts.iter_mut().flat_map(take_late).collect();
    let mut built = Built {
        strays: strays.into(),
        late: late.into(),
        fragments: fragments.is_some(),
        shown_elsewhere: context.shown_elsewhere,
        ..Built::default()
    };
    let pairs = pairs(key, drafts, topology);
    built.flows.reserve_exact(pairs.len());
    if let ([pair], true) = (
        pairs.as_slice(),
        built.strays.is_empty() && built.late.is_empty(),
    ) {
        built.counts = Recount::of(pair, group, context);
    }
    for pair in pairs {
        let (flow, again) = finish(pair, context);
        built.again = built.again.into_iter().chain(again).min();
        built.flows.push(flow);
    }
    built
}

/// Gives the reports to the directions that they are about; returns drops of which the direction
/// cannot be told. `tuple` is the flow's tuple of a report, `None` for what another flow shows.
fn attach(
    drafts: &mut Vec<Draft>,
    rare: &Rare,
    tuple: &dyn Fn(&Tuple) -> Option<Tuple>,
    context: Context<'_>,
) -> Vec<Drop> {
    let topology = context.topology;
    let mut strays = Vec::new();
    for drop in losses(&rare.drops) {
        let wire = drop.sample.tuple;
        let Some(flow) = wire.as_ref().map_or(Some(None), |t| tuple(t).map(Some)) else {
            continue;
        };
        if flow == wire {
            strays.extend(attach_drop(drafts, drop, topology));
        } else {
            let mut drop = drop.clone();
            drop.sample.tuple = flow;
            strays.extend(attach_drop(drafts, &drop, topology));
        }
    }
    for failure in sorted(&rare.failures, |f| {
        (f.first, f.tuple, f.table, f.errno, f.pid)
    }) {
        attach_failure(drafts, failure, topology);
    }
    for icmp in sorted(&rare.icmp, |i| (i.first, i.dev, i.dir, i.from)) {
        if let Some(about) = tuple(&icmp.about) {
            let icmp = IcmpSample { about, ..*icmp };
            attach_icmp(drafts, &icmp, context.shown_elsewhere);
        }
    }
    for (notice, moments) in &rare.tcp {
        if let Some(tuple) = tuple(&notice.tuple) {
            let notice = TcpNotice { tuple, ..*notice };
            attach_tcp(drafts, &notice, moments, topology);
        }
    }
    strays
}

fn sorted<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut items: Vec<&T> = items.iter().collect();
    items.sort_by_key(|t| key(t));
    items
}

/// The directions that hops were seen of.
fn chains(key: &Tuple, group: &Group, context: Context<'_>) -> Vec<Draft> {
    let mut legs: Vec<Leg> = Vec::with_capacity(group.hops.len());
    for hop in group.hops.iter().enumerate() {
        if group.owner(hop.1, context.groups) == Owner::Own {
            legs.push(leg(hop));
        }
    }
    for part in group.parts(context.groups) {
        legs.extend(part.hops.iter().enumerate().filter_map(|(number, hop)| {
            let Owner::Of(nat) = part.owner(hop, context.groups) else {
                return None;
            };
            let flow = nat.on_client_side(&hop.key.tuple)?;
            (group_key(&flow) == *key).then(|| Leg {
                flow,
                nat: Some(nat),
                ..leg((number, hop))
            })
        }));
    }
    let fragments = context.fragments.into_iter().flat_map(|f| &f.hops);
    for hop in fragments.enumerate() {
        let mut leg = leg(hop);
        leg.key.tuple = whole(&leg.key.tuple, key);
        leg.flow = leg.key.tuple;
        match legs.iter_mut().find(|l| l.key == leg.key) {
            Some(known) => known.add(&leg),
            None => legs.push(leg),
        }
    }
    legs.sort_by_key(|l| (l.key.netns, l.flow, l.counters.first, l.key));
    let mut drafts = Vec::new();
    while let Some(first) = legs.first().map(|l| (l.key.netns, l.flow)) {
        let others = legs.split_off(legs.partition_point(|l| (l.key.netns, l.flow) == first));
        let chains = stitch(&legs, context.topology);
        drafts.extend(
            chains
                .into_iter()
                .map(|chain| Draft::of_chain(first.1, chain)),
        );
        legs = others;
    }
    translate(&mut drafts, key, group, context.groups);
    drafts
}

/// Tells directions that did not leave translated (they were delivered here, or are not yet seen to
/// leave) which connection they are of, when there is a single one.
fn translate(drafts: &mut [Draft], key: &Tuple, group: &Group, groups: &Groups) {
    for draft in drafts.iter_mut().filter(|d| d.nats.is_empty()) {
        let parts = group.parts(groups);
        let here: BTreeSet<_> = parts
            .flat_map(|p| p.connections(key))
            .filter(|s| s.netns == draft.scope.netns)
            .map(|s| s.nat)
            .collect();
        if here.len() == 1 {
            draft.nats.extend(here);
        }
    }
}

/// The tuple of the whole packets that a later fragment is of: `key` or its answer.
fn whole(fragment: &Tuple, key: &Tuple) -> Tuple {
    match answer(key) {
        Some(answer) if answer.src == fragment.src && answer.dst == fragment.dst => answer,
        _ => *key,
    }
}

fn leg((number, hop): (usize, &HopTotals)) -> Leg {
    Leg {
        number,
        key: hop.key,
        flow: hop.key.tuple,
        nat: None,
        nats: hop.nats.to_vec(),
        counters: hop.lives.total(),
        route: hop.route.as_deref().copied(),
        encap: hop.encap.as_deref().copied(),
        mark: hop.mark,
        vlan: hop.vlan,
        max_len: hop.max_len,
        tcp_flags: hop.tcp_flags,
        route_changes: hop.route_changes,
    }
}

fn pairs(key: &Tuple, drafts: Vec<Draft>, topology: &Topology) -> Vec<Pair> {
    let namespaces: BTreeSet<NetnsId> = drafts.iter().map(|d| d.scope.netns).collect();
    let mut drafts = drafts;
    let mut pairs = Vec::new();
    for netns in namespaces {
        let (here, others): (Vec<_>, Vec<_>) =
            drafts.into_iter().partition(|d| d.scope.netns == netns);
        drafts = others;
        let (ways, backs) = here.into_iter().partition(|d| d.tuple == *key);
        pairs.extend(pair(ways, backs, topology));
    }
    pairs
}

fn finish(pair: Pair, context: Context<'_>) -> (BuiltFlow, Option<KtimeNs>) {
    let Pair {
        mut forward,
        mut reply,
        answered_elsewhere,
    } = pair;
    let seen = |d: &Option<Draft>| d.as_ref().is_some_and(|d| d.packets() > 0);
    let answers = |seen, passed_on| Answers {
        seen: seen || answered_elsewhere,
        passed_on,
        now: context.now,
    };
    let (forward_seen, reply_seen) = (forward.packets() > 0, seen(&reply));
    let (forward_on, reply_on) = (passed_on(&forward), reply.as_ref().is_some_and(passed_on));
    let id = FlowId {
        tuple: forward.tuple,
        scope: forward.scope,
    };
    let nats = forward
        .nats
        .last()
        .or(reply.as_ref().and_then(|r| r.nats.last()));
    let nat = nats.copied().map(Box::new);
    let mut route_failures = std::mem::take(&mut forward.failures);
    // Kept for the path and outcome of a direction that consists of nothing else.
    forward.failures.clone_from(&route_failures);
    if let Some(reply) = &mut reply {
        route_failures.extend(reply.failures.iter().cloned());
    }
    let first = std::iter::once(forward.first())
        .chain(reply.iter().map(Draft::first))
        .min();
    let (forward, again) = direction(&forward, answers(reply_seen, reply_on), context);
    let (reply, reply_again) = match &reply {
        Some(reply) => direction(reply, answers(forward_seen, forward_on), context),
        None => (Direction::default(), None),
    };
    let flow = Flow {
        id,
        forward,
        reply,
        route_failures: route_failures.into(),
        nat,
    };
    let built = BuiltFlow {
        rank: rank(&flow),
        first: first.unwrap_or_default(),
        flow: Arc::new(flow),
    };
    (built, again.into_iter().chain(reply_again).min())
}

/// Packets of it left that had come in: they were not made here.
fn passed_on(draft: &Draft) -> bool {
    let mut exits = draft.chain.iter().flat_map(Chain::exits);
    exits.any(|leg| leg.key.in_dev.is_some())
}

fn direction(
    draft: &Draft,
    answers: Answers,
    context: Context<'_>,
) -> (Direction, Option<KtimeNs>) {
    let (outcome, again) = outcome(draft, answers, context.topology);
    let direction = Direction {
        path: path(draft, context),
        drops: draft.drops.as_slice().into(),
        packets: draft.packets(),
        bytes: draft.bytes(),
        first: draft.first(),
        last: draft.last(),
        tcp_flags: draft.tcp_flags(),
        icmp: draft.icmp.as_slice().into(),
        retransmits: draft.retransmits,
        resets: draft.resets,
        outcome,
    };
    (direction, again)
}

fn rank(flow: &Flow) -> Rank {
    let has = |is: fn(&Outcome) -> bool| {
        [&flow.forward, &flow.reply]
            .iter()
            .any(|d| d.outcome.as_ref().is_some_and(is))
    };
    if has(|o| matches!(o, Outcome::Dropped(_))) && seen_any(flow) {
        Rank::Dropped
    } else if !flow.route_failures.is_empty() {
        Rank::RouteFailure
    } else if has(|o| matches!(o, Outcome::Unanswered(_))) {
        Rank::Unanswered
    } else {
        Rank::Other
    }
}

fn seen_any(flow: &Flow) -> bool {
    flow.forward.packets + flow.reply.packets > 0
}
