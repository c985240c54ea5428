//! Gives drops, ICMP errors, failures and TCP notices to the directions they belong to.

use super::{
    Drop,
    chain::Chain,
    draft::Draft,
    explain::refusal,
    flow::Scope,
    record::{DropTotals, answer},
    topology::Topology,
    totals::Moments,
};
use crate::event::{
    Dir, Encap, EncapKind, IcmpSample, NetnsId, Proto, RouteFailure, TcpNotice, TcpWhat, Tuple,
};

/// Gives a drop to the direction it ended; returns it when it cannot be said which one.
pub(super) fn attach_drop(
    drafts: &mut Vec<Draft>,
    totals: &DropTotals,
    topology: &Topology,
) -> Option<Drop> {
    let drop = totals.shown();
    let Some(tuple) = totals.sample.tuple else {
        return Some(drop);
    };
    if let Some(netns) = drop.place.netns
        && let Some(i) = at_pod(drafts, &tuple, netns, topology)
    {
        drafts[i].drops.push(drop);
        return None;
    }
    let candidates: Vec<(u32, usize)> = drafts
        .iter()
        .enumerate()
        .filter(|(_, d)| d.tuple == tuple && d.chain.is_some())
        .filter_map(|(i, d)| Some((drop_score(d, totals, topology)?, i)))
        .collect();
    match best(&candidates) {
        Some(i) => drafts[i].drops.push(drop),
        // Several tenants, and nothing says which: wrong would be worse than homeless.
        None if !candidates.is_empty() => return Some(drop),
        None => own(drafts, tuple, scope_of(totals)).drops.push(drop),
    }
    None
}

/// The single candidate, or the one that fits better than all others.
fn best(candidates: &[(u32, usize)]) -> Option<usize> {
    let (top, i) = candidates.iter().max()?;
    (candidates.iter().filter(|(score, _)| score == top).count() == 1).then_some(*i)
}

/// How well a drop fits a direction; `None` when it cannot be of it.
fn drop_score(draft: &Draft, totals: &DropTotals, topology: &Topology) -> Option<u32> {
    let place = &totals.sample.place;
    let netns = draft.scope.netns;
    if place.netns.is_some_and(|n| n != netns) {
        return None;
    }
    let legs = || draft.chain.iter().flat_map(Chain::legs);
    let mut score = 0;
    if let Some(encap) = totals.encap_key() {
        let same = legs().any(|l| l.key.encap == Some(encap));
        let other = legs().any(|l| l.key.encap.is_some_and(|e| e != encap));
        let by_device = legs()
            .filter_map(|l| topology.vni(netns, l.key.dev))
            .collect::<Vec<_>>();
        let vni_fits = encap.vni.is_some_and(|v| by_device.contains(&v));
        if !same && !vni_fits && (other || !by_device.is_empty()) {
            return None;
        }
        score += 4 * u32::from(same || vni_fits);
    }
    let passes = |dev| draft.passes(netns, dev);
    let near = |dev| {
        let master = topology.master(netns, dev);
        master.is_some()
            && legs()
                .any(|l| topology.master(netns, l.key.dev) == master || Some(l.key.dev) == master)
    };
    for dev in [place.in_dev, place.dev].into_iter().flatten() {
        if passes(dev) {
            score += 2;
        } else if near(dev) {
            score += 1;
        } else if Some(dev) == place.in_dev && came_in_elsewhere(draft, dev, topology) {
            return None;
        }
    }
    Some(score)
}

/// All its packets came in by devices that have nothing to do with `dev`.
fn came_in_elsewhere(draft: &Draft, dev: crate::event::Ifindex, topology: &Topology) -> bool {
    let netns = draft.scope.netns;
    let mut ins = draft
        .chain
        .iter()
        .flat_map(Chain::legs)
        .filter(|l| l.key.dir == Dir::In)
        .peekable();
    ins.peek().is_some()
        && ins.all(|l| {
            !topology.carries(netns, l.key.dev, dev)
                && !topology.carries(netns, dev, l.key.dev)
                && !topology.is_tunnel(netns, dev)
        })
}

/// The direction that ends or begins at the pod of namespace `netns`.
fn at_pod(drafts: &[Draft], tuple: &Tuple, netns: NetnsId, topology: &Topology) -> Option<usize> {
    let devices = topology.pod_devices(netns);
    let find = |is: &dyn Fn(&Draft, crate::event::Ifindex) -> bool| {
        drafts.iter().position(|d| {
            d.tuple == *tuple
                && devices
                    .iter()
                    .any(|(n, dev)| d.scope.netns == *n && is(d, *dev))
        })
    };
    find(&|d, dev| d.exit_devs().any(|e| e == dev))
        .or_else(|| find(&|d, dev| d.entry_devs().any(|e| e == dev)))
}

fn scope_of(totals: &DropTotals) -> Scope {
    let place = &totals.sample.place;
    Scope {
        netns: place.netns.unwrap_or_default(),
        dev: place
            .in_dev
            .or(place.dev.filter(|_| !totals.sample.has_sock)),
        vni: totals.encap_key().and_then(|e| e.vni),
    }
}

/// The direction with this scope, made when there is none.
fn own(drafts: &mut Vec<Draft>, tuple: Tuple, scope: Scope) -> &mut Draft {
    let at = drafts
        .iter()
        .position(|d| d.tuple == tuple && d.scope == scope);
    let at = at.unwrap_or_else(|| {
        drafts.push(Draft::empty(tuple, scope));
        drafts.len() - 1
    });
    &mut drafts[at]
}

/// Gives a failed lookup to the local sender's direction.
pub(super) fn attach_failure(drafts: &mut Vec<Draft>, failure: &RouteFailure, topology: &Topology) {
    let refused = refusal(&topology.inventory, failure);
    let failure = &RouteFailure {
        errno: refused.unwrap_or(failure.errno),
        by_rule: refused.is_some(),
        ..failure.clone()
    };
    let scope = Scope {
        netns: failure.netns,
        dev: None,
        vni: None,
    };
    let at = drafts
        .iter()
        .position(|d| d.tuple == failure.tuple && d.scope == scope)
        .or_else(|| sent_by(drafts, &failure.tuple, failure.netns, topology));
    match at {
        Some(i) => drafts[i].failures.push(failure.clone()),
        None => own(drafts, failure.tuple, scope)
            .failures
            .push(failure.clone()),
    }
}

/// The direction that a socket in `netns` sends.
fn sent_by(drafts: &[Draft], tuple: &Tuple, netns: NetnsId, topology: &Topology) -> Option<usize> {
    let devices = topology.pod_devices(netns);
    drafts.iter().position(|d| {
        d.tuple == *tuple
            && if devices.is_empty() {
                d.scope.netns == netns && d.scope.dev.is_none()
            } else {
                devices
                    .iter()
                    .any(|(n, dev)| d.scope.netns == *n && d.entry_devs().any(|e| e == *dev))
            }
    })
}

/// The direction that a socket in `netns` receives.
fn received_by(
    drafts: &[Draft],
    tuple: &Tuple,
    netns: NetnsId,
    topology: &Topology,
) -> Option<usize> {
    let devices = topology.pod_devices(netns);
    drafts.iter().position(|d| {
        d.tuple == *tuple
            && if devices.is_empty() {
                d.scope.netns == netns && d.exit_devs().next().is_none()
            } else {
                devices
                    .iter()
                    .any(|(n, dev)| d.scope.netns == *n && d.exit_devs().any(|e| e == *dev))
            }
    })
}

/// Counts a TCP notice at the direction it is about. A notice alone makes no flow: it is of a
/// socket whose packets are not traced.
pub(super) fn attach_tcp(
    drafts: &mut [Draft],
    notice: &TcpNotice,
    moments: &Moments,
    topology: &Topology,
) {
    let (tuple, netns) = (notice.tuple, notice.netns);
    let at = match notice.what {
        // Both are about what the socket sent.
        TcpWhat::Retransmit | TcpWhat::ReceiveReset => sent_by(drafts, &tuple, netns, topology),
        // The socket answers what it received.
        TcpWhat::SendReset => answer(&tuple).and_then(|t| received_by(drafts, &t, netns, topology)),
    };
    if let Some(i) = at {
        match notice.what {
            TcpWhat::Retransmit => drafts[i].retransmits += moments.count(),
            TcpWhat::SendReset | TcpWhat::ReceiveReset => drafts[i].resets += moments.count(),
        }
    }
}

/// Gives an ICMP error to the direction it complains about. Without one, it makes a direction of
/// its own, unless `outer`: it complained about a tunnel's packets, and their flows show it.
pub(super) fn attach_icmp(drafts: &mut Vec<Draft>, icmp: &IcmpSample, outer: bool) {
    let candidates: Vec<(u32, usize)> = drafts
        .iter()
        .enumerate()
        .filter(|(_, d)| d.tuple == icmp.about && d.scope.netns == icmp.netns)
        .map(|(i, d)| {
            // It goes back to where its cause came from, and comes from where that went.
            let agrees = match icmp.dir {
                Dir::Out => d.entry_devs().any(|dev| dev == icmp.dev),
                Dir::In => d.exit_devs().any(|dev| dev == icmp.dev),
            };
            (
                2 * u32::from(agrees) + u32::from(d.passes(icmp.netns, icmp.dev)),
                i,
            )
        })
        .collect();
    if let Some(i) = best(&candidates) {
        drafts[i].icmp.push(*icmp);
    } else if candidates.is_empty() && !outer {
        let scope = Scope {
            netns: icmp.netns,
            dev: None,
            vni: None,
        };
        own(drafts, icmp.about, scope).icmp.push(*icmp);
    }
}

/// Gives an ICMP error about a tunnel's packet to the directions that use this outer header.
pub(super) fn attach_outer_icmp(drafts: &mut [Draft], icmp: &IcmpSample) {
    for draft in drafts.iter_mut().filter(|d| d.scope.netns == icmp.netns) {
        if draft.outers().any(|e| outer_tuple(e) == icmp.about) {
            draft.icmp.push(*icmp);
        }
    }
}

/// UDP ports of VXLAN (IANA, Linux) and Geneve.
const TUNNEL_PORTS: [u16; 3] = [4789, 8472, 6081];

/// The tuple may be that of a tunnel's outer packets.
pub(super) fn may_be_outer(tuple: &Tuple) -> bool {
    match tuple.proto {
        Proto::UDP => TUNNEL_PORTS.contains(&tuple.dport),
        Proto(4 | 41 | 47) => true,
        _ => false,
    }
}

/// The tuple of packets with this outer header.
pub(super) fn outer_tuple(encap: &Encap) -> Tuple {
    let proto = match encap.key.kind {
        EncapKind::Vxlan | EncapKind::Geneve => Proto::UDP,
        EncapKind::Ipip => Proto(4),
        EncapKind::Ip6 => Proto(41),
        EncapKind::Gre => Proto(47),
    };
    let (sport, dport) = if proto == Proto::UDP {
        (encap.sport, encap.dport)
    } else {
        (0, 0)
    };
    Tuple {
        proto,
        src: encap.src,
        dst: encap.dst,
        sport,
        dport,
        later_fragment: false,
    }
}
