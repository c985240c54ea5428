//! Reverse path filtering refused the source.

use std::net::IpAddr;

use super::{
    Context, Finding, Rule,
    drops::{self, Cause, reverse},
    text, wrong_egress,
};
use crate::event::{Ifindex, NetnsId};

/// See the module.
pub(super) struct RpFilter;

/// `rp_filter=2`: the source needs any route, not one by the device it came in by.
const LOOSE: u32 = 2;

/// The mode in force on a device: the larger of its own and `all`; 0 when neither was read.
pub(super) fn mode(ctx: &Context<'_>, netns: NetnsId, dev: Ifindex) -> u32 {
    let own = ctx
        .link(netns, dev)
        .and_then(|l| ctx.sysctl(netns, &format!("ipv4/conf/{}/rp_filter", l.name)));
    let all = ctx.sysctl(netns, "ipv4/conf/all/rp_filter");
    own.max(all).unwrap_or(0)
}

impl Rule for RpFilter {
    const ID: &'static str = "rp-filter";
    const ABOUT: &'static str =
        "reverse path filtering drops packets: their source has its route elsewhere";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        drops::grouped(ctx.drops(Cause::ReversePath), |h| {
            let back = reverse(ctx, h);
            (
                h.netns(),
                h.in_dev(),
                back.map(|r| text::route(ctx, h.netns(), r)),
            )
        })
        .into_iter()
        .map(|((netns, dev, back), hits)| {
            let name = dev.map_or("an unknown device".into(), |d| {
                text::dev_name(ctx, netns, d)
            });
            let source = text::addresses(hits.iter().map(|h| h.trace.tuple().src));
            let way = hits
                .first()
                .and_then(|h| reverse(ctx, h))
                .and_then(|r| r.nexthops.first()?.dev)
                .map(|d| text::dev_name(ctx, netns, d));
            let mut summary = format!(
                "{} drops {} from {source} that came in by {name}: ",
                text::place(ctx, netns),
                text::count(drops::packets(&hits), "packet"),
            );
            let tail = match (&way, &back) {
                (Some(way), Some(back)) if *way != name => format!(
                    "its route back to the source is by {way} (`{back}`), and rp_filter allows \
                     only the device of the route back."
                ),
                _ => "rp_filter finds no route back to the source by that device.".to_owned(),
            };
            summary += &tail;
            let locals: Vec<IpAddr> = hits.iter().map(|h| h.trace.tuple().dst).collect();
            let next = match dev {
                Some(dev) => next(ctx, netns, dev, &locals),
                None => "ip route get SOURCE, for the device that the way back takes".into(),
            };
            let mut finding = drops::finding(ctx, Self::ID, &hits, (summary, next));
            if let Some(mode) = dev.map(|d| mode(ctx, netns, d)).filter(|m| *m > 0) {
                finding.evidence.push(in_force(&name, mode));
            }
            finding.subject.address = hits.first().map(|h| h.trace.tuple().src);
            finding
        })
        .collect()
    }
}

/// The mode in force, as evidence.
pub(super) fn in_force(name: &str, mode: u32) -> String {
    let word = if mode == LOOSE { "loose" } else { "strict" };
    format!("rp_filter in force on {name} (the larger of all and {name}): {mode} ({word})")
}

/// How to let packets for these addresses in by a device, and their answers out by it.
pub(super) fn next(ctx: &Context<'_>, netns: NetnsId, dev: Ifindex, locals: &[IpAddr]) -> String {
    let (exec, name) = (text::in_netns(ctx, netns), text::dev_name(ctx, netns, dev));
    format!(
        "{exec}sysctl -w net.ipv4.conf.{name}.rp_filter={LOOSE} lets them in; for the answers to go \
         back by {name}: {}",
        wrong_egress::own_table(ctx, netns, dev, locals),
    )
}
