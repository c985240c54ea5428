//! Packets that a BPF program sent on, past routing.
//!
//! A redirect leaves no trace of its own. What tells it is the packet: one that came in and leaves
//! without a dst entry was not routed, and one whose dst entry names another device than it leaves
//! by was taken from that device. Which program did so is concluded from where programs are.

use std::sync::Arc;

use super::{
    chain::{Chain, ChainStep, Leg},
    topology::Topology,
};
use crate::{
    event::{Dir, How, Ifindex, RouteDecision},
    inventory::TcHook,
};

/// The programs that may have sent packets on to the device of `step`, whose decision is `route`;
/// empty when none is known, `None` when no program did.
pub(super) fn redirected(
    chain: &Chain,
    step: &ChainStep,
    route: &RouteDecision,
    topology: &Topology,
) -> Option<Vec<Arc<str>>> {
    let leg = &step.leg;
    let before = step.parent.and_then(|p| chain.steps.get(p)).map(|s| &s.leg);
    // the device below repeats what the one above shows
    if before.is_some_and(|b| !b.is_in() && is_below(leg, b.key.dev, topology)) {
        return None;
    }
    if !route.bypass {
        let from = taken_from(leg, topology)?;
        return Some(topology.programs(leg.key.netns, from, TcHook::Egress));
    }
    // a packet without dst entry that did not come in was made so: by a packet socket
    let in_dev = leg.key.in_dev?;
    let netns = leg.key.netns;
    let entered = before.filter(|b| b.is_in()).map(|b| b.key.dev);
    let names = [Some(in_dev), entered]
        .into_iter()
        .flatten()
        .map(|dev| topology.programs(netns, dev, TcHook::Ingress))
        .find(|names| !names.is_empty());
    Some(names.unwrap_or_default())
}

/// The device that routing had sent a packet to, when a program at its egress took it from there.
pub(super) fn taken_from(leg: &Leg, topology: &Topology) -> Option<Ifindex> {
    let route = leg.route.filter(|r| !r.bypass && r.how != How::Inferred)?;
    let meant = route.dev.filter(|dev| *dev != leg.key.dev)?;
    let netns = leg.key.netns;
    let taken = leg.key.dir == Dir::Out
        && !is_below(leg, meant, topology)
        && !topology.programs(netns, meant, TcHook::Egress).is_empty();
    taken.then_some(meant)
}

/// The device of `leg` carries the frames of `upper`.
fn is_below(leg: &Leg, upper: Ifindex, topology: &Topology) -> bool {
    topology.carries(leg.key.netns, leg.key.dev, upper)
}

/// The programs at the device by which packets came in that were not seen again.
pub(super) fn may_have_taken(
    chain: &Chain,
    topology: &Topology,
) -> Option<(Ifindex, Vec<Arc<str>>)> {
    let mut last = chain.steps.iter().filter(|s| s.leaf).map(|s| &s.leg.key);
    last.find_map(|key| {
        let names = topology.programs(key.netns, key.dev, TcHook::Ingress);
        (key.dir == Dir::In && !names.is_empty()).then_some((key.dev, names))
    })
}
