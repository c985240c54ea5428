//! What a drop means: each drop has one cause, so that no two rules claim it.
//!
//! Reasons alone do not say it: kernels before 5.17 have none, IPv4 blackhole routes and IPv6
//! neighbour failures are `NOT_SPECIFIED` everywhere. The symbol and the errno that routing left
//! in the packet decide where the reason does not.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::{
    Context, Finding, Severity, Subject,
    lookup::{Query, route},
    trace::Trace,
};
use crate::{
    event::{Ifindex, NetnsId, RouteKind},
    inventory::Route,
    model::{Drop, FlowId},
};

/// Why packets ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    NoRoute,
    /// A route or rule of type blackhole, unreachable or prohibit.
    Refused,
    ReversePath,
    Martian,
    ForwardingOff,
    HopLimit,
    TooBig,
    NeighFailed,
    NoFdb,
    NoVni,
    Policy,
    NoSocket,
    RcvbufFull,
    Checksum,
    Other,
}

/// A drop with the direction it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit<'a> {
    pub(super) trace: Trace<'a>,
    pub(super) drop: &'a Drop,
}

impl Hit<'_> {
    pub(super) fn netns(&self) -> NetnsId {
        self.drop
            .place
            .netns
            .unwrap_or(self.trace.flow.id.scope.netns)
    }

    /// Device of the drop: `skb->dev`, or the one it came in by.
    pub(super) fn dev(&self) -> Option<Ifindex> {
        self.drop.place.dev.or(self.drop.place.in_dev)
    }

    /// Device it came in by.
    pub(super) fn in_dev(&self) -> Option<Ifindex> {
        self.drop.place.in_dev.or(self.drop.place.dev)
    }

    pub(super) fn ipv6(&self) -> bool {
        self.trace.tuple().is_ipv6()
    }
}

/// Functions that free a packet because of the route it got.
const ROUTE_ENDS: &[&str] = &[
    "ip_error",
    "dst_discard",
    "dst_discard_out",
    "ip6_pkt_drop",
    "ip6_pkt_discard",
    "ip6_pkt_discard_out",
    "ip6_pkt_prohibit",
    "ip6_pkt_prohibit_out",
];

/// `SOCKET_FILTER` and friends: a program or table said no.
const POLICY_REASONS: &[&str] = &[
    "NETFILTER_DROP",
    "TC_INGRESS",
    "TC_EGRESS",
    "XDP",
    "SOCKET_FILTER",
    "BPF_CGROUP_EGRESS",
    "XFRM_POLICY",
];

const POLICY_SYMBOLS: &[&str] = &[
    "nf_hook_slow",
    "nft_do_chain",
    "nf_hook_slow_list",
    "do_xdp_generic",
    "veth_xdp_rcv_skb",
    "veth_xdp_rcv_one",
];

/// The cause of a drop; `Other` when it is none that a rule knows.
pub(super) fn cause(ctx: &Context<'_>, hit: &Hit<'_>) -> Cause {
    let (reason, symbol) = (&*hit.drop.place.reason, &*hit.drop.place.symbol);
    match reason {
        "IP_RPFILTER" => Cause::ReversePath,
        "IP_LOCAL_SOURCE" | "IP_INVALID_SOURCE" | "IP_LOCALNET" => Cause::Martian,
        "PKT_TOO_BIG" => Cause::TooBig,
        "NEIGH_FAILED" | "NEIGH_QUEUEFULL" => Cause::NeighFailed,
        "NO_TX_TARGET" | "VXLAN_NO_REMOTE" => Cause::NoFdb,
        "VXLAN_VNI_NOT_FOUND" => Cause::NoVni,
        "NO_SOCKET" if !matches!(symbol, "ping_rcv" | "icmpv6_rcv" | "ip6_mc_input") => {
            Cause::NoSocket
        }
        "SOCKET_RCVBUFF" | "SOCKET_BACKLOG" | "PROTO_MEM" => Cause::RcvbufFull,
        "TCP_CSUM" | "UDP_CSUM" | "IP_CSUM" | "ICMP_CSUM" | "SKB_CSUM" => Cause::Checksum,
        "IP_INHDR" if matches!(symbol, "ip_forward" | "ip6_forward") => Cause::HopLimit,
        "IP_INADDRERRORS" if forwarding(ctx, hit) != Some(true) => Cause::ForwardingOff,
        r if POLICY_REASONS.contains(&r) => Cause::Policy,
        "IP_INNOROUTES" | "IP_OUTNOROUTES" => refusal(hit).unwrap_or(Cause::NoRoute),
        "NOT_SPECIFIED" => by_symbol(ctx, hit, symbol),
        _ => Cause::Other,
    }
}

fn by_symbol(ctx: &Context<'_>, hit: &Hit<'_>, symbol: &str) -> Cause {
    match symbol {
        "neigh_invalidate" => Cause::NeighFailed,
        "vxlan_xmit" => Cause::NoFdb,
        "ip_fragment" | "ip6_fragment" => Cause::TooBig,
        "ip_rcv_finish_core" => source_refused(ctx, hit),
        "__udp4_lib_rcv" | "__udp6_lib_rcv" if is_port_unreachable(hit) => Cause::NoSocket,
        // those that fit were taken
        "udp_queue_rcv_one_skb" | "udpv6_queue_rcv_one_skb"
            if hit.drop.count < hit.trace.dir().packets =>
        {
            Cause::RcvbufFull
        }
        "ip_forward" | "ip6_forward" => forward_refused(ctx, hit),
        s if POLICY_SYMBOLS.contains(&s) => Cause::Policy,
        // before 6.1 a host that does not forward ends packets like an unreachable route
        "ip_error" if errno(hit) == 113 && forwarding(ctx, hit) == Some(false) => {
            Cause::ForwardingOff
        }
        s if ROUTE_ENDS.contains(&s) => refusal(hit).unwrap_or(match errno(hit) {
            101 => Cause::NoRoute,
            _ => Cause::Other,
        }),
        _ => Cause::Other,
    }
}

/// The receiver said that nobody listens. Without that a wrong checksum ends a datagram in the same
/// function.
fn is_port_unreachable(hit: &Hit<'_>) -> bool {
    let said = if hit.ipv6() { (1, 4) } else { (3, 3) };
    let mut errors = hit.trace.dir().icmp.iter();
    errors.any(|i| (i.icmp_type, i.code) == said)
}

fn errno(hit: &Hit<'_>) -> u32 {
    hit.drop.route.map_or(0, |r| r.errno)
}

fn refusal(hit: &Hit<'_>) -> Option<Cause> {
    let kind = hit.drop.route.map(|r| r.kind);
    let refused = matches!(errno(hit), 13 | 22 | 113)
        || matches!(kind, Some(RouteKind::Blackhole | RouteKind::Prohibit))
        || &*hit.drop.place.symbol == "ip6_pkt_prohibit";
    refused.then_some(Cause::Refused)
}

/// A kernel without reasons: the configuration tells why the source was refused.
fn source_refused(ctx: &Context<'_>, hit: &Hit<'_>) -> Cause {
    let (netns, source) = (hit.netns(), hit.trace.tuple().src);
    let own = ctx.netns(netns).is_some_and(|n| n.owner(source).is_some());
    if own || source.is_loopback() || source.is_multicast() {
        return Cause::Martian;
    }
    let strict = hit
        .in_dev()
        .is_some_and(|d| super::rp_filter::mode(ctx, netns, d) > 0);
    if strict {
        Cause::ReversePath
    } else {
        Cause::Other
    }
}

/// A kernel without reasons: too big, hop limit or forwarding off.
fn forward_refused(ctx: &Context<'_>, hit: &Hit<'_>) -> Cause {
    let time_exceeded = if hit.ipv6() { 3 } else { 11 };
    if hit.drop.mtu.is_some_and(|mtu| hit.drop.max_len > mtu) {
        Cause::TooBig
    } else if hit
        .trace
        .dir()
        .icmp
        .iter()
        .any(|i| i.local && i.icmp_type == time_exceeded)
    {
        Cause::HopLimit
    } else if forwarding(ctx, hit) == Some(false) {
        Cause::ForwardingOff
    } else {
        Cause::Other
    }
}

/// Whether the node forwards packets that come in by the drop's device; `None` when not known.
pub(super) fn forwarding(ctx: &Context<'_>, hit: &Hit<'_>) -> Option<bool> {
    let netns = hit.netns();
    if hit.ipv6() {
        return ctx
            .sysctl(netns, "ipv6/conf/all/forwarding")
            .map(|n| n != 0);
    }
    let all = ctx
        .sysctl(netns, "ipv4/ip_forward")
        .or(ctx.sysctl(netns, "ipv4/conf/all/forwarding"));
    let dev = hit
        .in_dev()
        .and_then(|d| ctx.link(netns, d))
        .and_then(|l| ctx.sysctl(netns, &format!("ipv4/conf/{}/forwarding", l.name)));
    dev.or(all).map(|n| n != 0)
}

/// The configured route of the drop's packets towards their destination, in its namespace.
pub(super) fn configured<'a>(ctx: &Context<'a>, hit: &Hit<'_>) -> Option<&'a Route> {
    let ns = ctx.netns(hit.netns())?;
    let t = hit.trace.tuple();
    let iif = hit
        .in_dev()
        .and_then(|d| ns.links.get(&d))
        .map(|l| l.name.as_str());
    route(
        ns,
        &Query {
            src: Some(t.src),
            iif,
            ..Query::to(t.dst)
        },
    )
}

/// The configured route back to their source, as reverse path filtering looks it up: with the
/// addresses exchanged.
pub(super) fn reverse<'a>(ctx: &Context<'a>, hit: &Hit<'_>) -> Option<&'a Route> {
    let t = hit.trace.tuple();
    route(
        ctx.netns(hit.netns())?,
        &Query {
            src: Some(t.dst),
            ..Query::to(t.src)
        },
    )
}

/// Groups drops, keeping the groups in the order of their keys.
pub(super) fn grouped<'a, K: Ord>(
    hits: Vec<Hit<'a>>,
    key: impl Fn(&Hit<'a>) -> K,
) -> BTreeMap<K, Vec<Hit<'a>>> {
    let mut groups: BTreeMap<K, Vec<Hit<'a>>> = BTreeMap::new();
    for hit in hits {
        groups.entry(key(&hit)).or_default().push(hit);
    }
    groups
}

/// Packets of all hits.
pub(super) fn packets(hits: &[Hit<'_>]) -> u64 {
    hits.iter().map(|h| h.drop.count).sum()
}

/// Flows of the hits, the one with the most drops first.
pub(super) fn flows(hits: &[Hit<'_>]) -> Vec<FlowId> {
    ranked(hits.iter().map(|h| (h.drop.count, h.trace.flow.id)))
}

/// Flows by descending weight, each once.
pub(super) fn ranked(weights: impl IntoIterator<Item = (u64, FlowId)>) -> Vec<FlowId> {
    let mut sums: HashMap<FlowId, u64, RandomState> = HashMap::default();
    for (weight, id) in weights {
        let sum = sums.entry(id).or_default();
        *sum = sum.saturating_add(weight);
    }
    let mut all: Vec<(u64, FlowId)> = sums.into_iter().map(|(id, n)| (n, id)).collect();
    all.sort_unstable_by(|(n, a), (m, b)| m.cmp(n).then_with(|| a.cmp(b)));
    all.into_iter().map(|(_, id)| id).collect()
}

/// A finding about drops: an error, with the flows and the places as evidence.
pub(super) fn finding(
    ctx: &Context<'_>,
    id: &'static str,
    hits: &[Hit<'_>],
    said: (String, String),
) -> Finding {
    let first = hits.first();
    let flows = flows(hits);
    let mut evidence = super::text::places(ctx, hits);
    evidence.extend(super::text::samples(ctx, &flows));
    Finding {
        id,
        severity: Severity::Error,
        summary: said.0,
        subject: Subject {
            flows,
            dev: first.and_then(|h| Some((h.netns(), h.dev()?))),
            address: first.map(|h| h.trace.tuple().dst),
        },
        evidence,
        next: said.1,
    }
}
