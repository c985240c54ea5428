//! Which hops packets passed just before a hop.

use std::collections::BTreeSet;

use super::{
    chain::Leg,
    redirect::taken_from,
    topology::{Fit, Topology},
};
use crate::event::{Dir, Ifindex};

/// The hops that packets seen at hop `i` passed just before, the outer legs of tunnels aside.
pub(super) fn feeders(legs: &[Leg], i: usize, topology: &Topology) -> Vec<usize> {
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
                        && l.key.tuple == hop.key.tuple
                        && l.key.encap == hop.key.encap
                        && topology.carries(hop.key.netns, hop.key.dev, l.key.dev)
                },
                true,
            );
            let taken = || -> Vec<usize> {
                let from = taken_from(hop, topology);
                let found = legs.iter().enumerate().filter(|(j, l)| {
                    *j != i
                        && !l.is_in()
                        && Some(l.key.dev) == from
                        && l.key.in_dev == in_dev
                        && l.key.encap == hop.key.encap
                });
                found.map(|(j, _)| j).collect()
            };
            match in_dev {
                _ if !stacked.is_empty() => stacked,
                _ if !taken().is_empty() => taken(),
                Some(in_dev) => came_in_by(legs, hop, in_dev, topology),
                None => Vec::new(),
            }
        }
    }
}

/// Of the hops that `is` picks those that no other one lies between: of devices above the
/// `lowest`, of devices below the highest.
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
                && l.key.tuple == hop.key.tuple
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
        Some(encap) if l.is_in() && l.key.dev != hop.key.dev && l.key.tuple == hop.key.tuple => {
            topology
                .tunnel_fit(netns, hop.key.dev, encap)
                .or(unknown.then_some(Fit::Kind))
                .and_then(|fit| same_key(fit, hop.key.tunnel_key, encap.vni))
        }
        _ => None,
    };
    one_tenant(legs, best(legs, fits))
}

/// The fit of an encapsulation with `vni` for a packet that carries `key`.
fn same_key(fit: Fit, key: Option<u32>, vni: Option<u32>) -> Option<Fit> {
    match (key, vni) {
        (Some(key), Some(vni)) => (key == vni).then_some(Fit::Exact),
        _ => Some(fit),
    }
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
            .filter(|(_, l)| l.is_in() && hop.came_as(&l.key.tuple) && is(l))
            .map(|(j, _)| j)
            .collect();
        let same: Vec<usize> = all
            .iter()
            .copied()
            .filter(|j| legs[*j].key.encap == hop.key.encap)
            .collect();
        // Other encapsulation than on arrival: an eBPF program added or removed it.
        let found = if same.is_empty() { all } else { same };
        let of_key: Vec<usize> = (found.iter().copied())
            .filter(|j| hop.key.tunnel_key.is_some() && legs[*j].vni() == hop.key.tunnel_key)
            .collect();
        if of_key.is_empty() {
            one_tenant(legs, found)
        } else {
            of_key
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
pub(super) fn outer_feeders(legs: &[Leg], i: usize, topology: &Topology) -> Vec<usize> {
    let hop = &legs[i];
    let (Dir::Out, None, Some(encap)) = (hop.key.dir, hop.key.in_dev, hop.key.encap) else {
        return Vec::new();
    };
    if legs.iter().enumerate().any(|(j, l)| {
        j != i
            && !l.is_in()
            && l.key.tuple == hop.key.tuple
            && l.key.encap == hop.key.encap
            && l.key.in_dev.is_none()
            && topology.carries(hop.key.netns, hop.key.dev, l.key.dev)
    }) {
        // Under another outer leg (the VLAN or bond that the tunnel sends by).
        return feeders(legs, i, topology);
    }
    let fits = |l: &Leg| {
        if l.is_in() || l.key.encap == hop.key.encap || l.key.tuple != hop.key.tuple {
            return None;
        }
        let netns = hop.key.netns;
        let fit = topology.tunnel_fit(netns, l.key.dev, encap)?;
        match l.key.tunnel_key.or(l.route.and_then(|r| r.lwtunnel)) {
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
