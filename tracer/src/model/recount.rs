//! New counts for a flow that is already made.
//!
//! Most of what a busy flow reports is more of the same: packets, bytes, the time of the last one.
//! To make the flow again, with its way, its decisions and what explains them, would come to the
//! same in ten times the time. Which flows can be counted anew is decided when they are made: those
//! of which nothing else depends on how much was counted.

use super::{
    Direction, Flow, Step,
    chain::{Chain, ChainStep},
    draft::Draft,
    group::Context,
    pair::Pair,
    path::delivered_by,
    record::Group,
    topology::Topology,
};
use crate::event::KtimeNs;

/// Where the counts of a flow are from.
#[derive(Clone, Debug, Default)]
pub(super) struct Recount {
    forward: Way,
    reply: Way,
}

/// Where the counts of a direction are from.
#[derive(Clone, Debug, Default)]
struct Way {
    /// The hops of its path in their order, by number in the group; with [`ENTRY`] where packets came
    /// in.
    hops: Box<[u16]>,
    /// Its only drop, by number in the group.
    drop: Option<u16>,
}

/// Packets are counted there.
const ENTRY: u16 = 1 << 15;

impl Recount {
    /// `None` when more than the counts of the pair can change with them.
    pub(super) fn of(pair: &Pair, group: &Group, context: Context<'_>) -> Option<Self> {
        if !stands_alone(group, context) {
            return None;
        }
        Some(Self {
            forward: Way::of(&pair.forward, group, context.topology)?,
            reply: match &pair.reply {
                Some(draft) => Way::of(draft, group, context.topology)?,
                None => Way::default(),
            },
        })
    }

    /// Counts a flow of the group anew.
    pub(super) fn apply(&self, flow: &mut Flow, group: &Group) {
        self.forward.apply(&mut flow.forward, group);
        self.reply.apply(&mut flow.reply, group);
    }
}

/// All that its flow shows is of the group itself, and is hops and drops.
fn stands_alone(group: &Group, context: Context<'_>) -> bool {
    let rare = group.rare.as_ref();
    !group.is_linked()
        && context.fragments.is_none()
        && context.outer_icmp.is_empty()
        && rare.is_none_or(|r| r.icmp.is_empty() && r.tcp.is_empty() && r.failures.is_empty())
}

impl Way {
    fn of(draft: &Draft, group: &Group, topology: &Topology) -> Option<Self> {
        let exits = draft.chain.iter().flat_map(Chain::exits).count();
        let drop = match draft.drops.as_slice() {
            [] if exits < 2 => None,
            // all packets end there, however many they are
            [drop] if exits == 0 && delivered_by(draft, topology).is_none() => {
                let drops = &group.rare.as_ref()?.drops;
                let same = |d: &super::record::DropTotals| d.sample.loss && d.shown() == *drop;
                Some(u16::try_from(drops.iter().position(same)?).ok()?)
            }
            // what became of most packets depends on how many they are
            _ => return None,
        };
        let steps = draft.chain.iter().flat_map(|c| &c.steps);
        let hop = |s: &ChainStep| {
            let number = u16::try_from(s.leg.number).ok().filter(|n| *n < ENTRY)?;
            Some(if s.parent.is_none() {
                number | ENTRY
            } else {
                number
            })
        };
        Some(Self {
            hops: steps.map(hop).collect::<Option<_>>()?,
            drop,
        })
    }

    fn apply(&self, d: &mut Direction, group: &Group) {
        let (mut packets, mut bytes, mut last) = (0, 0, KtimeNs::default());
        let hops = d.path.iter_mut().filter_map(|s| match s {
            Step::Hop(h) => Some(h),
            Step::Route(_) => None,
        });
        for (hop, number) in hops.zip(&self.hops) {
            hop.counters = group.hops[usize::from(number & !ENTRY)].lives.total();
            if number & ENTRY != 0 {
                packets = u64::saturating_add(packets, hop.counters.packets);
                bytes = u64::saturating_add(bytes, hop.counters.bytes);
            }
            last = last.max(hop.counters.last);
        }
        let totals = self.drop.zip(group.rare.as_ref());
        if let (Some((number, rare)), Some(drop)) = (totals, d.drops.first_mut()) {
            *drop = rare.drops[usize::from(number)].shown();
            if self.hops.is_empty() {
                packets = drop.count;
            }
            last = last.max(drop.last);
        }
        (d.packets, d.bytes, d.last) = (packets, bytes, last);
    }
}
