//! Pairs each direction with its answers.

use super::{chain::Chain, draft::Draft, topology::Topology};
use crate::event::{Ifindex, Proto};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Both directions of a flow, the opening one first.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) forward: Draft,
    pub(super) reply: Option<Draft>,
    /// Answers exist that are another flow's: the same packets are answered once, however many
    /// ways they came by.
    pub(super) answered_elsewhere: bool,
}

/// Pairs the directions of one tuple with those of its answer, in one namespace.
pub(super) fn pair(ways: Vec<Draft>, backs: Vec<Draft>, topology: &Topology) -> Vec<Pair> {
    let matched = matches(&ways, &backs, topology);
    let elsewhere = |draft: &Draft, others: &[Draft]| {
        others
            .iter()
            .any(|o| score(draft, o, topology).is_some() && o.packets() > 0)
    };
    let lonely_way = |i: usize| matched.iter().all(|(w, _)| *w != i);
    let lonely_back = |j: usize| matched.iter().all(|(_, b)| *b != j);
    let way_elsewhere: Vec<bool> = (ways.iter().enumerate())
        .map(|(i, way)| lonely_way(i) && elsewhere(way, &backs))
        .collect();
    let back_elsewhere: Vec<bool> = (backs.iter().enumerate())
        .map(|(j, back)| lonely_back(j) && elsewhere(back, &ways))
        .collect();
    let mut backs: Vec<Option<Draft>> = backs.into_iter().map(Some).collect();
    let mut pairs = Vec::with_capacity(ways.len());
    for (i, way) in ways.into_iter().enumerate() {
        let found = matched
            .iter()
            .find(|(w, _)| *w == i)
            .and_then(|(_, b)| backs[*b].take());
        pairs.push(match found {
            Some(back) if opens(&back, &way) => Pair {
                forward: back,
                reply: Some(way),
                answered_elsewhere: false,
            },
            Some(back) => Pair {
                forward: way,
                reply: Some(back),
                answered_elsewhere: false,
            },
            None => Pair {
                forward: way,
                reply: None,
                answered_elsewhere: way_elsewhere[i],
            },
        });
    }
    for (back, elsewhere) in backs.into_iter().zip(back_elsewhere) {
        if let Some(back) = back {
            pairs.push(Pair {
                forward: back,
                reply: None,
                answered_elsewhere: elsewhere,
            });
        }
    }
    pairs
}

/// Index pairs (way, back): best device and VNI agreement first; without any agreement only when
/// there is no other candidate on either side.
fn matches(ways: &[Draft], backs: &[Draft], topology: &Topology) -> Vec<(usize, usize)> {
    let mut scored: Vec<(u32, usize, usize)> = Vec::new();
    for (i, way) in ways.iter().enumerate() {
        for (j, back) in backs.iter().enumerate() {
            if let Some(score) = score(way, back, topology) {
                scored.push((score, i, j));
            }
        }
    }
    scored.sort_by_key(|(score, i, j)| (std::cmp::Reverse(*score), *i, *j));
    let mut found: Vec<(usize, usize)> = Vec::new();
    let free = |found: &[(usize, usize)], i: usize, j: usize| {
        found.iter().all(|(w, b)| *w != i && *b != j)
    };
    for (_, i, j) in scored.iter().filter(|(score, ..)| *score > 0) {
        if free(&found, *i, *j) {
            found.push((*i, *j));
        }
    }
    let rest: Vec<(usize, usize)> = scored
        .iter()
        .filter(|(score, i, j)| *score == 0 && free(&found, *i, *j))
        .map(|(_, i, j)| (*i, *j))
        .collect();
    for (i, j) in &rest {
        if rest.iter().filter(|(w, b)| w == i || b == j).count() == 1 {
            found.push((*i, *j));
        }
    }
    found
}

/// How well two directions agree; `None` when they are of different tenants.
fn score(way: &Draft, back: &Draft, topology: &Topology) -> Option<u32> {
    if way.scope.netns != back.scope.netns {
        return None;
    }
    if !way.nats.is_empty() && !back.nats.is_empty() && !meet(&way.nats, &back.nats) {
        return None;
    }
    let netns = way.scope.netns;
    let pods = |devs: &[Ifindex]| -> Vec<Ifindex> {
        devs.iter()
            .copied()
            .filter(|d| topology.is_pod_device(netns, *d))
            .collect()
    };
    let way_entries: Vec<_> = way.entry_devs().collect();
    let way_exits: Vec<_> = way.exit_devs().collect();
    let back_entries: Vec<_> = back.entry_devs().collect();
    let back_exits: Vec<_> = back.exit_devs().collect();
    // A pod's packets come in by its device and the answers leave by it, without exception.
    let ends = [
        (pods(&way_entries), pods(&back_exits)),
        (pods(&way_exits), pods(&back_entries)),
    ];
    if ends
        .iter()
        .any(|(a, b)| !a.is_empty() && !b.is_empty() && !meet(a, b))
    {
        return None;
    }
    let (way_vnis, back_vnis) = (vnis(way, topology), vnis(back, topology));
    let vnis_agree = meet(&way_vnis, &back_vnis);
    if !way_vnis.is_empty() && !back_vnis.is_empty() && !vnis_agree {
        return None;
    }
    let local = way.scope.dev.is_none() && back.exit_devs().next().is_none()
        || back.scope.dev.is_none() && way.exit_devs().next().is_none();
    Some(
        4 * u32::from(meet(&way_entries, &back_exits))
            + 3 * u32::from(vnis_agree)
            + 2 * u32::from(meet(&way_exits, &back_entries))
            + u32::from(local),
    )
}

/// The two have something in common. They are as short as the way through a node.
fn meet<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.iter().any(|x| b.contains(x))
}

/// VNIs that the packets were seen with, or that devices on the way put on them.
fn vnis(draft: &Draft, topology: &Topology) -> Vec<u32> {
    let netns = draft.scope.netns;
    let legs = draft.chain.iter().flat_map(Chain::legs);
    legs.filter_map(|l| l.vni().or(topology.vni(netns, l.key.dev)))
        .chain(draft.scope.vni)
        .collect()
}

/// `a` opened the conversation that `b` is part of.
fn opens(a: &Draft, b: &Draft) -> bool {
    if let Some(opens) = a.opens_nat().or(b.opens_nat().map(|o| !o)) {
        return opens;
    }
    if a.tuple.is_echo() {
        return matches!(a.tuple.icmp_type(), Some(8 | 128));
    }
    if a.tuple.proto == Proto::TCP
        && let Some(opens) = opens_tcp(a.tcp_flags(), b.tcp_flags())
    {
        return opens;
    }
    (a.first(), a.tuple) < (b.first(), b.tuple)
}

/// From the flags that the two directions were seen with; `None` when these do not tell.
fn opens_tcp(a: u8, b: u8) -> Option<bool> {
    let only_syn = |f: u8| f & (SYN | ACK) == SYN;
    // A SYN|ACK whose SYN was not seen.
    let answered =
        |f: u8, other: u8| f & (SYN | ACK) == SYN | ACK && other != 0 && other & SYN == 0;
    match (only_syn(a), only_syn(b)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ if answered(b, a) => Some(true),
        _ if answered(a, b) => Some(false),
        _ => None,
    }
}
