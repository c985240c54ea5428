//! What became of one direction.

use std::net::IpAddr;

use super::{
    Outcome,
    chain::Chain,
    draft::Draft,
    path::{delivered_by, errno_name, to_several},
    redirect::may_have_taken,
    topology::Topology,
};
use crate::event::{Ifindex, KtimeNs, NetnsId, Proto, RouteKind, Tuple};

/// How long to wait for the first answer before saying that there is none, in nanoseconds: TCP's
/// first retransmission (RFC 6298, 1 s) would come now, and answers within a cluster take
/// milliseconds.
pub(super) const ANSWER_WAIT: u64 = 1_000_000_000;

/// Drops older than this before the last packet that left, in nanoseconds, are over: the sender
/// found another way (a smaller size after PMTU discovery, a repaired route).
const DROPS_OVER: u64 = 1_000_000_000;

/// Why nothing is known of multicast and broadcast that came in.
pub const SENT_TO_MANY: &str =
    "it is sent to many, and whether a socket of this node takes it is not visible";

/// Why what came in for an address of this node is not taken to be delivered. IPVS takes packets where
/// they would be delivered, and says nothing in the packet of where it sends them.
const NOT_DELIVERED: &str = "the address is this node's, but the answers came in from elsewhere: it was \
     passed on with other addresses, as IPVS does, and is a flow of its own from there";

const RST: u8 = 0x04;
const SYN: u8 = 0x02;

/// What is known of the answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    /// Packets of the other direction were seen.
    pub(super) seen: bool,
    /// Packets of the other direction came in by one device and left by another.
    pub(super) passed_on: bool,
    /// Time of the snapshot.
    pub(super) now: KtimeNs,
}

/// What became of a direction, and when this has to be asked again because time alone changes it.
pub(super) fn outcome(
    draft: &Draft,
    answers: Answers,
    topology: &Topology,
) -> (Option<Outcome>, Option<KtimeNs>) {
    if let Some(reason) = dropped(draft, topology) {
        return (Some(Outcome::Dropped(reason)), None);
    }
    let Some(chain) = &draft.chain else {
        return (seen_nowhere(draft), None);
    };
    if delivered_by(draft, topology).is_some() || is_anycast(draft, topology) {
        let outcome = if answers.passed_on {
            Outcome::Unknown(NOT_DELIVERED.into())
        } else {
            Outcome::Delivered
        };
        return (Some(outcome), None);
    }
    let Some(dev) = main_exit(chain) else {
        return (Some(Outcome::Unknown(stayed(draft, topology))), None);
    };
    if answers.seen || !expects_answer(draft, topology) {
        return (Some(Outcome::Forwarded(dev)), None);
    }
    if answers.now.since(draft.first()) >= ANSWER_WAIT {
        return (Some(Outcome::Unanswered(dev)), None);
    }
    let again = KtimeNs(draft.first().0.saturating_add(ANSWER_WAIT));
    (Some(Outcome::Forwarded(dev)), Some(again))
}

/// For an address that this node has in common with others; of those this one took them.
fn is_anycast(draft: &Draft, topology: &Topology) -> bool {
    to_several(draft, topology).is_some_and(|(kind, _)| kind == RouteKind::Anycast)
}

/// The reason that most packets ended for, when they account for the direction.
fn dropped(draft: &Draft, topology: &Topology) -> Option<std::sync::Arc<str>> {
    let drops = &draft.drops;
    let worst = drops
        .iter()
        .max_by_key(|d| (d.count, d.last, d.place.clone()))?;
    let count: u64 = drops.iter().map(|d| d.count).sum();
    let came = draft.packets();
    let left = draft
        .chain
        .iter()
        .flat_map(Chain::exits)
        .map(|l| l.counters.last)
        .max();
    let kept = delivered_by(draft, topology).is_some();
    let most = count.saturating_mul(2) >= came;
    // A part that is dropped all the time, not only in the beginning.
    let lasting = || {
        let last_drop = drops.iter().map(|d| d.last).max().unwrap_or_default();
        count >= 3
            && count.saturating_mul(4) >= came
            && left.is_none_or(|l| l.since(last_drop) < DROPS_OVER)
    };
    let all = left.is_none() && !kept;
    (all || most || lasting()).then(|| worst.place.reason.clone())
}

/// A direction without hops and drops: errors or failures only.
fn seen_nowhere(draft: &Draft) -> Option<Outcome> {
    if let Some(failure) = draft.failures.iter().max_by_key(|f| (f.last, f.errno)) {
        return Some(Outcome::Dropped(errno_name(failure.errno).as_str().into()));
    }
    (!draft.icmp.is_empty())
        .then(|| Outcome::Unknown("only ICMP errors about it were seen, no packet of it".into()))
}

/// The device by which most packets left.
fn main_exit(chain: &Chain) -> Option<Ifindex> {
    chain
        .exits()
        .max_by_key(|l| {
            (
                l.counters.packets,
                std::cmp::Reverse((l.counters.first, l.key.dev)),
            )
        })
        .map(|l| l.key.dev)
}

/// Why nothing is known of packets that came in and were not seen again.
fn stayed(draft: &Draft, topology: &Topology) -> String {
    if is_to_many(draft, topology) {
        return SENT_TO_MANY.into();
    }
    if draft
        .chain
        .iter()
        .flat_map(Chain::legs)
        .all(|l| l.key.encap.is_some())
    {
        return "it came in encapsulated, no tunnel device took it and no drop was reported".into();
    }
    if let Some((dev, names)) = draft
        .chain
        .as_ref()
        .and_then(|c| may_have_taken(c, topology))
    {
        let dev = topology.inventory.dev_name(draft.scope.netns, dev);
        let s = if names.len() == 1 { "" } else { "s" };
        return format!(
            "device {dev} carries the tc program{s} {}, which may have taken the packet: what is \
             redirected into a pod's own device is not seen again on the node",
            names.join(", ")
        );
    }
    "no packet of it was seen leaving, no drop was reported, and the address is not this node's"
        .into()
}

/// TCP, UDP and echo requests to a single receiver are answered.
fn expects_answer(draft: &Draft, topology: &Topology) -> bool {
    let tuple = &draft.tuple;
    let answered = match tuple.proto {
        // A lone reset ends something; nobody answers it.
        Proto::TCP => draft.tcp_flags() & (RST | SYN) != RST,
        Proto::UDP => !tuple.later_fragment,
        Proto::ICMP | Proto::ICMPV6 => {
            matches!(tuple.icmp_type(), Some(8 | 128)) && tuple.is_echo() && !tuple.later_fragment
        }
        _ => false,
    };
    answered && !is_to_many(draft, topology)
}

fn is_to_many(draft: &Draft, topology: &Topology) -> bool {
    let by_route = draft
        .chain
        .iter()
        .flat_map(Chain::legs)
        .filter_map(|l| l.route)
        .any(|r| {
            r.lwtunnel.is_none() && matches!(r.kind, RouteKind::Multicast | RouteKind::Broadcast)
        });
    // The outer packet of a flooding tunnel is multicast, the flow inside need not be.
    let inner = draft
        .chain
        .iter()
        .flat_map(Chain::legs)
        .all(|l| l.key.encap.is_none());
    (by_route && inner) || is_group_address(&draft.tuple, draft.scope.netns, topology)
}

fn is_group_address(tuple: &Tuple, netns: NetnsId, topology: &Topology) -> bool {
    let dst = match tuple.dst {
        IpAddr::V6(a) => return a.is_multicast(),
        IpAddr::V4(a) => a,
    };
    let subnet_broadcast = |netns: &crate::inventory::Netns| {
        netns.addresses().any(|(_, a)| match a.address {
            IpAddr::V4(own) if a.prefix_len < 31 => {
                let host = u32::MAX.checked_shr(u32::from(a.prefix_len)).unwrap_or(0);
                u32::from(own) | host == u32::from(dst)
            }
            _ => false,
        })
    };
    dst.is_multicast()
        || dst.is_broadcast()
        || topology
            .inventory
            .netns
            .get(&netns)
            .is_some_and(subnet_broadcast)
}
