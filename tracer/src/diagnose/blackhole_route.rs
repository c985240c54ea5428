//! A route or rule of type blackhole, unreachable or prohibit ended the packets.

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause, configured},
    signs::Sign,
    text,
};
use crate::event::RouteKind;

/// See the module.
pub(super) struct BlackholeRoute;

impl Rule for BlackholeRoute {
    const ID: &'static str = "blackhole-route";
    const ABOUT: &'static str = "a blackhole, unreachable or prohibit route or rule ends packets";
    const HIDES: &'static [&'static str] = &["left-unanswered", "no-route"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let mut found: Vec<Finding> = drops::grouped(ctx.drops(Cause::Refused), |h| {
            let route = configured(ctx, h).filter(|r| refuses(r.kind));
            (
                h.netns(),
                h.ipv6(),
                errno(h),
                route.map(|r| text::route(ctx, h.netns(), r)),
            )
        })
        .into_iter()
        .filter_map(|((netns, ipv6, errno, route), hits)| {
            let trace = hits.first()?.trace;
            let what = route.as_ref().map_or_else(
                || format!("a route or rule of type {}", kind(errno)),
                |r| format!("the route `{r}`"),
            );
            let summary = format!(
                "{} discards {} to {}: {what} says so.",
                text::place(ctx, netns),
                text::count(drops::packets(&hits), "packet"),
                text::addresses(hits.iter().map(|h| h.trace.tuple().dst)),
            );
            let next = next(ctx, netns, ipv6, &text::route_get(ctx, &trace));
            Some(drops::finding(ctx, Self::ID, &hits, (summary, next)))
        })
        .collect();
        found.extend(local_senders(ctx));
        found
    }
}

fn refuses(kind: RouteKind) -> bool {
    matches!(
        kind,
        RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
    )
}

fn errno(hit: &drops::Hit<'_>) -> u32 {
    hit.drop.route.map_or(0, |r| r.errno)
}

fn kind(errno: u32) -> &'static str {
    match errno {
        13 => "prohibit",
        22 => "blackhole",
        113 => "unreachable",
        _ => "blackhole, unreachable or prohibit",
    }
}

fn next(ctx: &Context<'_>, netns: crate::event::NetnsId, ipv6: bool, get: &str) -> String {
    let ip = text::ip(ctx, netns, ipv6);
    format!(
        "{get}; {ip} rule; {ip} route show table all | grep -E 'blackhole|unreachable|prohibit'"
    )
}

/// Senders of this node that got the errno; no packet was made.
fn local_senders(ctx: &Context<'_>) -> Vec<Finding> {
    ctx.traces_with(Sign::Failed.into())
        .filter(|t| !t.is_reply)
        .flat_map(|t| t.flow.route_failures.iter().map(move |f| (t, f)))
        .filter(|(_, f)| matches!(f.errno, 13 | 22 | 113))
        .map(|(trace, f)| {
            let ipv6 = f.tuple.dst.is_ipv6();
            let ip = text::ip(ctx, f.netns, ipv6);
            Finding {
                id: BlackholeRoute::ID,
                severity: Severity::Error,
                summary: format!(
                    "{} cannot send to {}: a route or rule of type {} in table {} refuses it.",
                    text::place(ctx, f.netns),
                    f.tuple.dst,
                    kind(f.errno),
                    crate::inventory::table_name(f.table),
                ),
                subject: Subject {
                    flows: vec![trace.flow.id],
                    dev: None,
                    address: Some(f.tuple.dst),
                },
                evidence: vec![format!(
                    "{} of {} (pid {}): {}",
                    text::count(f.count, "failed lookup"),
                    f.comm,
                    f.pid,
                    text::errno(f.errno),
                )],
                next: next(
                    ctx,
                    f.netns,
                    ipv6,
                    &format!("{ip} route get {}", f.tuple.dst),
                ),
            }
        })
        .collect()
}
