//! Hops of one tuple in one namespace → chains: the ways that its packets take.
//!
//! Each hop has *feeders*, the hops that its packets passed just before. Hops without one are
//! entries, and what hangs together is a chain. Where several feeders are possible and they are
//! of different tenants (VNIs, bridge ports), the hop is made an entry of its own: a chain that
//! is too short is better than one that mixes tenants.

use std::collections::BTreeSet;

use super::{
    flow::Scope,
    topology::{Fit, Topology},
    totals::sum,
};
use crate::event::{Counters, Dir, Encap, HopKey, Ifindex, RouteDecision};

/// A hop as stitching and path making read it.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) key: HopKey,
    pub(super) counters: Counters,
    pub(super) route: Option<RouteDecision>,
    pub(super) encap: Option<Encap>,
    pub(super) mark: u32,
    pub(super) vlan: u16,
    pub(super) max_len: u32,
    pub(super) tcp_flags: u8,
    pub(super) route_changes: u32,
}

impl Leg {
    /// Adds packets of the same flow at the same place (later fragments).
    pub(super) fn add(&mut self, other: &Self) {
        self.counters = sum(&self.counters, &other.counters);
        self.max_len = self.max_len.max(other.max_len);
        self.tcp_flags |= other.tcp_flags;
        self.route = self.route.or(other.route);
        self.encap = self.encap.or(other.encap);
    }

    fn is_in(&self) -> bool {
        self.key.dir == Dir::In
    }

    fn vni(&self) -> Option<u32> {
        self.key.encap.and_then(|e| e.vni)
    }
}

/// One way of one tuple through one namespace.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) scope: Scope,
    /// Hops in the order of the packets; branches (ECMP) one after the other.
    pub(super) steps: Vec<ChainStep>,
}

#[derive(Clone, Debug)]
pub(super) struct ChainStep {
    pub(super) leg: Leg,
    /// Came from this step.
    pub(super) parent: Option<usize>,
    /// Feeds no other step.
    pub(super) leaf: bool,
}

impl Chain {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Leg> {
        self.steps
            .iter()
            .filter(|s| s.parent.is_none())
            .map(|s| &s.leg)
    }

    /// Where its packets were seen last when leaving.
    pub(super) fn exits(&self) -> impl Iterator<Item = &Leg> {
        self.steps
            .iter()
            .filter(|s| s.leaf && s.leg.key.dir == Dir::Out)
            .map(|s| &s.leg)
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.steps.iter().map(|s| &s.leg)
    }
}

/// Chains of the hops of one tuple in one namespace, by time of the first packet.
pub(super) fn stitch(mut legs: Vec<Leg>, topology: &Topology) -> Vec<Chain> {
    legs.sort_by_key(|l| (l.counters.first, l.key));
    let mut feeders: Vec<Vec<usize>> = (0..legs.len())
        .map(|i| feeders(&legs, i, topology))
        .collect();
    let mut sets = Sets::new(legs.len());
    for (i, of) in feeders.iter().enumerate() {
        of.iter().for_each(|f| sets.join(i, *f));
    }
    join_orphans(&legs, &feeders, &mut sets);
    for i in 0..legs.len() {
        let of = outer_feeders(&legs, i, topology);
        // The outer leg of two chains cannot be split between them.
        if of
            .iter()
            .map(|f| sets.find(*f))
            .collect::<BTreeSet<_>>()
            .len()
            == 1
        {
            of.iter().for_each(|f| sets.join(i, *f));
            feeders[i] = of;
        }
    }
    join_orphans(&legs, &feeders, &mut sets);
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut root_of: Vec<usize> = Vec::new();
    for i in 0..legs.len() {
        let root = sets.find(i);
        match root_of.iter().position(|r| *r == root) {
            Some(at) => chains[at].push(i),
            None => {
                root_of.push(root);
                chains.push(vec![i]);
            }
        }
    }
    chains
        .iter()
        .map(|members| chain(&legs, members, &feeders))
        .collect()
}

/// The hops that packets seen at hop `i` passed just before, the outer legs of tunnels aside.
fn feeders(legs: &[Leg], i: usize, topology: &Topology) -> Vec<usize> {
    let hop = &legs[i];
    match (hop.key.dir, hop.key.in_dev) {
        (Dir::In, _) => in_feeders(legs, i, topology),
        (Dir::Out, in_dev) => {
            let stacked = nearest(
                legs,
                topology,
                |(j, l)| {
                    j != i
                        && !l.is_in()
                        && l.key.in_dev == in_dev
                        && l.key.encap == hop.key.encap
                        && topology.carries(hop.key.netns, hop.key.dev, l.key.dev)
                },
                true,
            );
            match in_dev {
                _ if !stacked.is_empty() => stacked,
                Some(in_dev) => came_in_by(legs, hop, in_dev, topology),
                None => Vec::new(),
            }
        }
    }
}

/// Of the hops that `is` picks those that are directly above (`top` false: below) the others.
fn nearest(
    legs: &[Leg],
    topology: &Topology,
    is: impl Fn((usize, &Leg)) -> bool,
    lowest: bool,
) -> Vec<usize> {
    let all: Vec<usize> = legs
        .iter()
        .enumerate()
        .filter(|(j, l)| is((*j, l)))
        .map(|(j, _)| j)
        .collect();
    let beyond = |j: usize, k: usize| {
        let (a, b) = (&legs[j].key, &legs[k].key);
        if lowest {
            topology.carries(a.netns, b.dev, a.dev)
        } else {
            topology.carries(a.netns, a.dev, b.dev)
        }
    };
    all.iter()
        .copied()
        .filter(|j| !all.iter().any(|k| k != j && beyond(*j, *k)))
        .collect()
}

fn in_feeders(legs: &[Leg], i: usize, topology: &Topology) -> Vec<usize> {
    let hop = &legs[i];
    let netns = hop.key.netns;
    let below = nearest(
        legs,
        topology,
        |(j, l)| {
            j != i
                && l.is_in()
                && l.key.encap == hop.key.encap
                && topology.carries(netns, l.key.dev, hop.key.dev)
        },
        false,
    );
    if !below.is_empty() {
        // Two ports of a bridge are two origins; the slaves of a bond are one.
        let ports = below.len() > 1 && topology.is_bridge(netns, hop.key.dev);
        return if ports { Vec::new() } else { below };
    }
    if hop.key.encap.is_some() {
        return Vec::new();
    }
    let unknown = topology.is_unknown(netns, hop.key.dev);
    let fits = |l: &Leg| match l.key.encap {
        Some(encap) if l.is_in() && l.key.dev != hop.key.dev => topology
            .tunnel_fit(netns, hop.key.dev, encap)
            .or(unknown.then_some(Fit::Kind)),
        _ => None,
    };
    one_tenant(legs, best(legs, fits))
}

/// The hops with the best fit.
fn best(legs: &[Leg], fits: impl Fn(&Leg) -> Option<Fit>) -> Vec<usize> {
    let found: Vec<(usize, Fit)> = legs
        .iter()
        .enumerate()
        .filter_map(|(j, l)| Some((j, fits(l)?)))
        .collect();
    let top = found.iter().map(|(_, fit)| *fit).max();
    found
        .into_iter()
        .filter(|(_, fit)| Some(*fit) == top)
        .map(|(j, _)| j)
        .collect()
}

/// Nothing when the hops are of several VNIs.
fn one_tenant(legs: &[Leg], hops: Vec<usize>) -> Vec<usize> {
    let vnis: BTreeSet<_> = hops.iter().map(|j| legs[*j].vni()).collect();
    if vnis.len() > 1 { Vec::new() } else { hops }
}

/// The receiving hops of an outgoing one that came in by `in_dev`.
fn came_in_by(legs: &[Leg], hop: &Leg, in_dev: Ifindex, topology: &Topology) -> Vec<usize> {
    let pick = |is: &dyn Fn(&Leg) -> bool| -> Vec<usize> {
        let all: Vec<usize> = legs
            .iter()
            .enumerate()
            .filter(|(_, l)| l.is_in() && is(l))
            .map(|(j, _)| j)
            .collect();
        let same: Vec<usize> = all
            .iter()
            .copied()
            .filter(|j| legs[*j].key.encap == hop.key.encap)
            .collect();
        // Other encapsulation than on arrival: an eBPF program added or removed it.
        if same.is_empty() {
            one_tenant(legs, all)
        } else {
            same
        }
    };
    let direct = pick(&|l| l.key.dev == in_dev);
    if !direct.is_empty() {
        return direct;
    }
    // VLAN and bond devices are not seen receiving; their lower devices are.
    let below = pick(&|l| topology.carries(hop.key.netns, l.key.dev, in_dev));
    let ports = below.len() > 1 && topology.is_bridge(hop.key.netns, in_dev);
    if ports { Vec::new() } else { below }
}

/// The tunnel hops of which hop `i` is the outer leg.
fn outer_feeders(legs: &[Leg], i: usize, topology: &Topology) -> Vec<usize> {
    let hop = &legs[i];
    let (Dir::Out, None, Some(encap)) = (hop.key.dir, hop.key.in_dev, hop.key.encap) else {
        return Vec::new();
    };
    if legs.iter().enumerate().any(|(j, l)| {
        j != i
            && !l.is_in()
            && l.key.encap == hop.key.encap
            && l.key.in_dev.is_none()
            && topology.carries(hop.key.netns, hop.key.dev, l.key.dev)
    }) {
        // Under another outer leg (the VLAN or bond that the tunnel sends by).
        return feeders(legs, i, topology);
    }
    let fits = |l: &Leg| {
        if l.is_in() || l.key.encap == hop.key.encap {
            return None;
        }
        let netns = hop.key.netns;
        let fit = topology.tunnel_fit(netns, l.key.dev, encap)?;
        match l.route.and_then(|r| r.lwtunnel) {
            Some(vni) if fit == Fit::Kind && encap.vni == Some(vni) => Some(Fit::Exact),
            Some(vni) if fit == Fit::Kind && vni != 0 && encap.vni.is_some() => None,
            _ => Some(fit),
        }
    };
    let found = best(legs, fits);
    let by_kind_only = found.iter().any(|j| fits(&legs[*j]) == Some(Fit::Kind));
    // Without a VNI to compare, only the single candidate is taken.
    let rivals = legs.iter().any(|l| {
        !l.is_in()
            && l.key.in_dev.is_none()
            && l.key
                .encap
                .is_some_and(|e| e.kind == encap.kind && e.vni != encap.vni)
    });
    if by_kind_only && rivals && encap.vni.is_some() {
        Vec::new()
    } else {
        found
    }
}

/// Outgoing hops whose beginning was not seen, but that have the same one.
fn join_orphans(legs: &[Leg], feeders: &[Vec<usize>], sets: &mut Sets) {
    let orphan = |i: usize| !legs[i].is_in() && feeders[i].is_empty();
    for i in (0..legs.len()).filter(|i| orphan(*i)) {
        for j in (0..i).filter(|j| orphan(*j)) {
            let (a, b) = (&legs[i].key, &legs[j].key);
            if a.in_dev == b.in_dev && a.encap == b.encap {
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
            vni: leg.vni(),
        },
        None => Scope {
            netns: crate::event::NetnsId::default(),
            dev: None,
            vni: None,
        },
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
}
