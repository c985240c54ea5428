//! Nobody listens on the port.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause, Hit},
    signs::Sign,
    text,
    trace::{ACK, RST, SYN, Trace},
};
use crate::event::Proto;

/// See the module.
pub(super) struct NoListener;

/// `traceroute` counts on nobody listening there.
const TRACEROUTE_PORTS: std::ops::RangeInclusive<u16> = 33434..=33534;

impl Rule for NoListener {
    const ID: &'static str = "no-listener";
    const ABOUT: &'static str = "packets arrive where no socket listens";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let hits = ctx
            .drops(Cause::NoSocket)
            .into_iter()
            .filter(|h| wanted(ctx, h))
            .collect();
        let mut found = refused(ctx);
        found.extend(drops::grouped(hits, |h: &Hit<'_>| {
            let t = h.trace.tuple();
            (h.netns(), t.proto, t.dst, t.dport)
        })
        .into_iter()
        .map(|((netns, proto, address, port), hits)| {
            let outer = hits.iter().find_map(|h| h.drop.encap);
            let port = outer.map_or(port, |e| e.dport);
            let proto = if outer.is_some() { Proto::UDP } else { proto };
            let at = outer.map_or(address, |e| e.dst);
            let mut summary = format!(
                "Nobody in {} listens on {proto} port {port} of {at}: {} arrived for it",
                text::place(ctx, netns),
                text::count(drops::packets(&hits), "packet"),
            );
            summary += match (proto, drops::packets(&hits)) {
                (Proto::TCP, 1) => " and was refused with a reset.",
                (Proto::TCP, _) => " and were refused with a reset.",
                _ => ".",
            };
            let exec = text::in_netns(ctx, netns);
            let kind = if proto == Proto::TCP { "t" } else { "u" };
            let next = format!(
                "{exec}ss -{kind}lnp sport = :{port}; a process that listens on 127.0.0.1 or on one \
                 address family only does not count; compare with the Service's targetPort"
            );
            drops::finding(ctx, Self::ID, &hits, (summary, next))
        })
        );
        found
    }
}

/// Opening packets only: answers that come too late for a client that went away, and the last
/// segments of closed connections, end the same way in a healthy network.
fn wanted(ctx: &Context<'_>, hit: &Hit<'_>) -> bool {
    let (t, d, b) = (hit.trace.tuple(), hit.trace.dir(), hit.trace.back());
    if hit.trace.is_reply || ctx.is_for_many(hit.netns(), t.dst) {
        return false;
    }
    match t.proto {
        Proto::TCP => d.tcp_flags & (SYN | ACK) == SYN && b.tcp_flags & (SYN | RST) != SYN,
        Proto::UDP => !TRACEROUTE_PORTS.contains(&t.dport) && b.packets == 0,
        Proto::ICMP | Proto::ICMPV6 => false,
        _ => true,
    }
}

/// Resets from this node or its pods to an opening SYN, where no drop says so: kernels without
/// reasons end such segments like any other.
fn refused(ctx: &Context<'_>) -> Vec<Finding> {
    let mut cases: BTreeMap<(IpAddr, u16), Vec<Trace<'_>>> = BTreeMap::new();
    let reset = ctx.traces_with(Sign::Reset.into());
    for trace in reset.filter(|t| !t.is_reply && t.is_tcp()) {
        let (d, b) = (trace.dir(), trace.back());
        let opening = d.tcp_flags & (SYN | ACK) == SYN && b.tcp_flags & SYN == 0;
        let reset = d.resets > 0 || b.tcp_flags & RST != 0;
        let here = b.packets > 0 && ctx.is_from_here(&trace.opposite()) && trace.entry().is_some();
        if opening && reset && here && d.drops.is_empty() {
            let t = trace.tuple();
            cases.entry((t.dst, t.dport)).or_default().push(trace);
        }
    }
    cases
        .into_iter()
        .map(|((address, port), traces)| Finding {
            id: NoListener::ID,
            severity: Severity::Error,
            summary: format!(
                "Connections to tcp port {port} of {address} behind {} are refused with a reset: \
                 nobody listens there.",
                text::place(ctx, ctx.inventory.home),
            ),
            subject: Subject {
                flows: drops::ranked(traces.iter().map(|t| (t.dir().packets, t.flow.id))),
                dev: None,
                address: Some(address),
            },
            evidence: traces
                .iter()
                .take(3)
                .map(|t| format!("SYN, then RST: {}", text::scoped(ctx, &t.flow.id)))
                .collect(),
            next: format!(
                "in the pod or on the node with {address}: ss -tlnp sport = :{port}; compare with \
                 the Service's targetPort"
            ),
        })
        .collect()
}
