//! One group of reports → its flows.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Direction, Drop, Flow, FlowId, Outcome,
    attach::{attach_drop, attach_failure, attach_icmp, attach_outer_icmp, attach_tcp},
    chain::Leg,
    draft::Draft,
    explain::Explain,
    outcome::{Answers, outcome},
    pair::{Pair, pair},
    path::path,
    record::{DropTotals, Group, HopTotals, answer},
    stitch::stitch,
    topology::Topology,
};
use crate::event::{IcmpSample, KtimeNs, NetnsId, Tuple};

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
pub(super) struct Built {
    pub(super) flows: Vec<BuiltFlow>,
    /// Drops of which the flow cannot be told.
    pub(super) strays: Vec<Drop>,
    /// It has to be made again at this time, when nothing happens before.
    pub(super) again: Option<KtimeNs>,
    /// The later fragments that were added.
    pub(super) fragments: bool,
    /// Tunnelled flows show its ICMP errors.
    pub(super) shown_elsewhere: bool,
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
    pub(super) now: KtimeNs,
    /// ICMP errors about outer headers of this group.
    pub(super) outer_icmp: &'a [&'a IcmpSample],
    /// Its own ICMP errors are shown by tunnelled flows.
    pub(super) shown_elsewhere: bool,
    /// Later fragments of its packets.
    pub(super) fragments: Option<&'a Group>,
}

/// Makes the flows of the group of `key` (see `record::group_key`).
pub(super) fn build(key: &Tuple, group: &Group, context: Context<'_>) -> Built {
    let topology = context.topology;
    let mut drafts = chains(key, group, context);
    let mut strays = Vec::new();
    let fragments = context.fragments;
    if let Some(rare) = &group.rare {
        for drop in losses(&rare.drops) {
            strays.extend(attach_drop(&mut drafts, drop, topology));
        }
        for failure in sorted(&rare.failures, |f| {
            (f.first, f.tuple, f.table, f.errno, f.pid)
        }) {
            attach_failure(&mut drafts, failure, topology);
        }
        for icmp in sorted(&rare.icmp, |i| (i.first, i.dev, i.dir, i.from)) {
            attach_icmp(&mut drafts, icmp, context.shown_elsewhere);
        }
        for (notice, moments) in &rare.tcp {
            attach_tcp(&mut drafts, notice, moments, topology);
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
    let mut built = Built {
        strays,
        fragments: fragments.is_some(),
        shown_elsewhere: context.shown_elsewhere,
        ..Built::default()
    };
    for pair in pairs(key, drafts, topology) {
        let (flow, again) = finish(pair, context);
        built.again = built.again.into_iter().chain(again).min();
        built.flows.push(flow);
    }
    built
}

/// Losses in an order that does not depend on that of their reports.
fn losses(drops: &[DropTotals]) -> Vec<&DropTotals> {
    let mut drops: Vec<&DropTotals> = drops.iter().filter(|d| d.sample.loss).collect();
    drops.sort_by_key(|d| {
        let total = d.lives.total();
        (
            total.first,
            d.sample.tuple,
            d.sample.place.clone(),
            d.encap_key(),
        )
    });
    drops
}

fn sorted<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut items: Vec<&T> = items.iter().collect();
    items.sort_by_key(|t| key(t));
    items
}

/// The directions that hops were seen of.
fn chains(key: &Tuple, group: &Group, context: Context<'_>) -> Vec<Draft> {
    let mut legs: Vec<Leg> = group.hops.iter().map(leg).collect();
    for hop in context.fragments.into_iter().flat_map(|f| &f.hops) {
        let mut leg = leg(hop);
        leg.key.tuple = whole(&leg.key.tuple, key);
        match legs.iter_mut().find(|l| l.key == leg.key) {
            Some(known) => known.add(&leg),
            None => legs.push(leg),
        }
    }
    legs.sort_by_key(|l| (l.key.netns, l.key.tuple, l.counters.first, l.key));
    let mut drafts = Vec::new();
    while let Some(first) = legs.first().map(|l| (l.key.netns, l.key.tuple)) {
        let others = legs.split_off(legs.partition_point(|l| (l.key.netns, l.key.tuple) == first));
        let chains = stitch(&legs, context.topology);
        drafts.extend(
            chains
                .into_iter()
                .map(|chain| Draft::of_chain(first.1, chain)),
        );
        legs = others;
    }
    drafts
}

/// The tuple of the whole packets that a later fragment is of: `key` or its answer.
fn whole(fragment: &Tuple, key: &Tuple) -> Tuple {
    match answer(key) {
        Some(answer) if answer.src == fragment.src && answer.dst == fragment.dst => answer,
        _ => *key,
    }
}

fn leg(hop: &HopTotals) -> Leg {
    Leg {
        key: hop.key,
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
    let answers = |seen| Answers {
        seen: seen || answered_elsewhere,
        now: context.now,
    };
    let (forward_seen, reply_seen) = (forward.packets() > 0, seen(&reply));
    let id = FlowId {
        tuple: forward.tuple,
        scope: forward.scope,
    };
    let mut route_failures = std::mem::take(&mut forward.failures);
    // Kept for the path and outcome of a direction that consists of nothing else.
    forward.failures.clone_from(&route_failures);
    if let Some(reply) = &mut reply {
        route_failures.extend(reply.failures.iter().cloned());
    }
    let first = std::iter::once(forward.first())
        .chain(reply.iter().map(Draft::first))
        .min();
    let (forward, again) = direction(&forward, answers(reply_seen), context);
    let (reply, reply_again) = match &reply {
        Some(reply) => direction(reply, answers(forward_seen), context),
        None => (Direction::default(), None),
    };
    let flow = Flow {
        id,
        forward,
        reply,
        route_failures,
    };
    let built = BuiltFlow {
        rank: rank(&flow),
        first: first.unwrap_or_default(),
        flow: Arc::new(flow),
    };
    (built, again.into_iter().chain(reply_again).min())
}

fn direction(
    draft: &Draft,
    answers: Answers,
    context: Context<'_>,
) -> (Direction, Option<KtimeNs>) {
    let (outcome, again) = outcome(draft, answers, context.topology);
    let direction = Direction {
        path: path(draft, context.topology, context.explain),
        drops: draft.drops.clone(),
        packets: draft.packets(),
        bytes: draft.bytes(),
        first: draft.first(),
        last: draft.last(),
        tcp_flags: draft.tcp_flags(),
        icmp: draft.icmp.clone(),
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
