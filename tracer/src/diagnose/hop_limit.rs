//! Packets whose TTL or hop limit ran out here.

use super::{
    Context, Finding, Rule,
    drops::{self, Cause, Hit},
    text,
    trace::SILENT_PACKETS,
};
use crate::event::Proto;

/// See the module.
pub(super) struct HopLimit;

/// Destination ports of `traceroute`, which lets its probes run out on purpose.
const TRACEROUTE_PORTS: std::ops::RangeInclusive<u16> = 33434..=33534;

impl Rule for HopLimit {
    const ID: &'static str = "hop-limit";
    const ABOUT: &'static str = "packets run out of hops: a routing loop, or too small a TTL";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let hits = ctx
            .drops(Cause::HopLimit)
            .into_iter()
            .filter(is_no_probe)
            .collect();
        drops::grouped(hits, |h| (h.netns(), h.ipv6(), h.in_dev()))
            .into_iter()
            .filter_map(|((netns, ipv6, dev), hits)| {
                let trace = hits.first()?.trace;
                let summary = format!(
                    "{} drops {} to {} because their {} ran out{}: {}.",
                    text::place(ctx, netns),
                    text::count(drops::packets(&hits), "packet"),
                    text::addresses(hits.iter().map(|h| h.trace.tuple().dst)),
                    if ipv6 { "hop limit" } else { "TTL" },
                    dev.map_or(String::new(), |d| format!(
                        " on {}",
                        text::dev_name(ctx, netns, d)
                    )),
                    if hits.iter().any(goes_round) {
                        "they pass the same device again and again, so two routers send them to \
                         each other"
                    } else {
                        "a routing loop, or a sender that gives them too few hops"
                    },
                );
                let next = format!(
                    "{}; the same on the next hop that it names",
                    text::route_get(ctx, &trace)
                );
                Some(drops::finding(ctx, Self::ID, &hits, (summary, next)))
            })
            .collect()
    }
}

/// Not `traceroute` or `mtr`: those let only a few packets of a flow run out here.
fn is_no_probe(hit: &Hit<'_>) -> bool {
    let t = hit.trace.tuple();
    let probe = t.proto == Proto::UDP && TRACEROUTE_PORTS.contains(&t.dport);
    !probe && hit.drop.count >= SILENT_PACKETS && hit.drop.count * 2 >= hit.trace.dir().packets
}

/// Some device saw the packets several times as often as they entered.
fn goes_round(hit: &Hit<'_>) -> bool {
    let entered = hit.trace.dir().packets;
    hit.trace
        .hops()
        .any(|h| h.counters.packets >= entered.saturating_mul(4) && entered > 0)
}
