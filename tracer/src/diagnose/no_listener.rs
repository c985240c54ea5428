//! Nobody listens on the port.

use super::{
    Context, Finding, Rule, Severity,
    drops::{self, Cause, Hit},
    text,
    trace::{ACK, RST, SYN},
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
        drops::grouped(hits, |h: &Hit<'_>| {
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
            summary += if proto == Proto::TCP { " and were refused with a reset." } else { "." };
            let exec = text::in_netns(ctx, netns);
            let kind = if proto == Proto::TCP { "t" } else { "u" };
            let next = format!(
                "{exec}ss -{kind}lnp sport = :{port}; a process that listens on 127.0.0.1 or on one \
                 address family only does not count; compare with the Service's targetPort"
            );
            let mut finding = drops::finding(ctx, Self::ID, &hits, (summary, next));
            finding.severity = Severity::Error;
            finding
        })
        .collect()
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
