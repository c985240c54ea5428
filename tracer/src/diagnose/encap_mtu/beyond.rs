//! Tunnelled packets that leave the node and are too large for a link on the way.

use std::collections::BTreeMap;

use super::{
    super::{
        Context, Finding, Rule as _, Severity, Subject,
        drops::{self, Cause, Hit},
        text,
        trace::Trace,
        tunnel_in_native_mode::is_overlay,
    },
    EncapMtu, adapted, is_too_big, overhead,
};
use crate::event::{Dir, Ifindex, NetnsId};

/// Healthy bulk TCP repeats a few segments in a thousand; where every large segment is lost, a
/// quarter and more are repeats.
const REPEATED_SHARE: u64 = 4;

/// TCP repeats what is not acknowledged after this time at the earliest (`TCP_RTO_MIN`).
const SHORTEST_RTO_NS: u64 = 200_000_000;

/// Fewer repeats can be chance.
const REPEATS: u64 = 3;

/// Three repeats in a row that nobody answers: each waits twice as long as the one before.
const THREE_TIMEOUTS_NS: u64 = SHORTEST_RTO_NS + 2 * SHORTEST_RTO_NS;

/// The most packets that TCP sends before the first of its data is acknowledged: SYN, ACK, the
/// initial window of 10 segments (RFC 6928), each cut in two when the path is found to carry less,
/// and FIN.
const FIRST_FLIGHT: u64 = 2 + 2 * 10 + 1;

/// Tunnelled flows whose large packets vanish beyond the node: an error from the network that the
/// sender did not act on, or nothing but repeats while small packets are answered.
pub(super) fn swallowed(ctx: &Context<'_>) -> Vec<Finding> {
    let mut cases: BTreeMap<(NetnsId, Ifindex), Vec<(Trace<'_>, String)>> = BTreeMap::new();
    for trace in ctx.traces().filter(|t| fits_here(ctx, t)) {
        let Some(exit) = trace.exit().filter(|h| h.encap.is_some()) else {
            continue;
        };
        if let Some(sign) = refused(ctx, &trace).or_else(|| repeats(ctx, &trace)) {
            cases
                .entry((exit.netns, exit.dev))
                .or_default()
                .push((trace, sign));
        }
    }
    cases
        .into_iter()
        .filter_map(|(at, flows)| finding(ctx, at, &flows))
        .collect()
}

/// This node dropped nothing of it, or only what was too large for the tunnel before the sender
/// heard of that and went on with less. Then many repeats are due to that, and only those count that
/// nobody answered in the end.
fn fits_here(ctx: &Context<'_>, trace: &Trace<'_>) -> bool {
    let silent = || trace.dir().last.since(trace.back().last) >= SHORTEST_RTO_NS;
    trace.dir().drops.iter().all(|drop| {
        let hit = Hit {
            trace: *trace,
            drop,
        };
        drops::cause(ctx, &hit) == Cause::TooBig && adapted(ctx, trace, drop.last) && silent()
    })
}

fn refused(ctx: &Context<'_>, trace: &Trace<'_>) -> Option<String> {
    let icmp = trace
        .dir()
        .icmp
        .iter()
        .find(|i| is_too_big(i) && !i.local && !adapted(ctx, trace, i.last))?;
    let mtu = icmp.mtu.map_or(String::new(), |m| format!(", MTU {m}"));
    Some(format!(
        "{} says \"too big\" {}{mtu}",
        icmp.from,
        text::count(icmp.count, "time")
    ))
}

/// Answered at first, then repeats of packets about as large as the tunnel allows: most of what
/// leaves, or all since the connection was opened, with no answer to any.
fn repeats(ctx: &Context<'_>, trace: &Trace<'_>) -> Option<String> {
    let d = trace.dir();
    let tunnel = trace.hops().find(|h| {
        h.dir == Dir::Out
            && ctx
                .link(h.netns, h.dev)
                .is_some_and(|l| is_overlay(&l.kind))
    })?;
    let mtu = ctx.link(tunnel.netns, tunnel.dev)?.mtu;
    let full_size = tunnel.max_len.saturating_mul(10) >= mtu.saturating_mul(9);
    // what this node refused for its size does not count: it was sent again, smaller
    let left = trace.exit()?.counters.packets;
    let mostly = d.retransmits.saturating_mul(REPEATED_SHARE) >= left;
    let stuck = d.retransmits >= REPEATS && (mostly || never_got_going(trace, left));
    (full_size && stuck && trace.is_connected()).then(|| {
        format!(
            "TCP repeats {} of {} that left, the largest has {} bytes",
            d.retransmits,
            text::count(left, "packet"),
            tunnel.max_len
        )
    })
}

/// The connection was opened, and none of its data was acknowledged. A repeat of several segments in
/// one socket buffer is told once, so that few repeats among many packets mean nothing here.
fn never_got_going(trace: &Trace<'_>, left: u64) -> bool {
    let (d, b) = (trace.dir(), trace.back());
    let silence = d.last.since(b.last);
    left.saturating_sub(d.retransmits) <= FIRST_FLIGHT && silence >= THREE_TIMEOUTS_NS
}

fn finding(
    ctx: &Context<'_>,
    (netns, dev): (NetnsId, Ifindex),
    flows: &[(Trace<'_>, String)],
) -> Option<Finding> {
    let (first, _) = flows.first()?;
    let encap = *first.exit()?.encap.as_deref()?;
    let name = text::dev_name(ctx, netns, dev);
    let ids = drops::ranked(flows.iter().map(|(t, _)| (t.dir().packets, t.flow.id)));
    let extra = overhead(encap.key.kind, encap.dst.is_ipv6());
    let size = first.exit().map_or(0, |h| h.max_len);
    let mut evidence: Vec<String> = flows.iter().take(3).map(|(_, sign)| sign.clone()).collect();
    evidence.push(format!(
        "{} adds {extra} bytes to each packet",
        encap.key.kind
    ));
    evidence.extend(text::samples(ctx, &ids));
    let probe = size.saturating_sub(if encap.dst.is_ipv6() { 48 } else { 28 });
    Some(Finding {
        id: EncapMtu::ID,
        severity: Severity::Error,
        summary: format!(
            "Encapsulated packets of {size} bytes leave {} by {name} for {} and get lost while small \
             ones are answered: a link on the way carries less than this.",
            text::place(ctx, netns),
            encap.dst,
        ),
        subject: Subject {
            flows: ids,
            dev: Some((netns, dev)),
            address: Some(encap.dst),
        },
        evidence,
        next: format!(
            "ping -M do -s {probe} {} (lower -s until it is answered; add {} for the path MTU), then \
             set the tunnel's and the pods' MTU {extra} below the path's",
            encap.dst,
            if encap.dst.is_ipv6() { 48 } else { 28 },
        ),
    })
}
