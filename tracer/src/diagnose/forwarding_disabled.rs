//! The node does not forward packets that are not for itself.

use super::{
    Context, Finding, Rule,
    drops::{self, Cause},
    text,
};
use crate::event::NetnsId;

/// See the module.
pub(super) struct ForwardingDisabled;

impl Rule for ForwardingDisabled {
    const ID: &'static str = "forwarding-disabled";
    const ABOUT: &'static str = "the node is not allowed to forward packets";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        drops::grouped(ctx.drops(Cause::ForwardingOff), |h| (h.netns(), h.ipv6()))
            .into_iter()
            .map(|((netns, ipv6), hits)| {
                let summary = format!(
                    "{} drops {} to {} because {} forwarding is off.",
                    text::place(ctx, netns),
                    text::count(drops::packets(&hits), "packet"),
                    text::addresses(hits.iter().map(|h| h.trace.tuple().dst)),
                    text::family(ipv6),
                );
                let next = next(ctx, netns, ipv6);
                let mut finding = drops::finding(ctx, Self::ID, &hits, (summary, next));
                if let Some(off) = hits.first().and_then(|h| drops::forwarding(ctx, h)) {
                    let name = sysctl(ipv6);
                    finding.evidence.push(format!("{name} = {}", u8::from(off)));
                }
                finding
            })
            .collect()
    }
}

/// The switch of a family.
pub(super) fn sysctl(ipv6: bool) -> &'static str {
    if ipv6 {
        "net.ipv6.conf.all.forwarding"
    } else {
        "net.ipv4.ip_forward"
    }
}

pub(super) fn next(ctx: &Context<'_>, netns: NetnsId, ipv6: bool) -> String {
    format!(
        "{}sysctl -w {}=1, and look in /etc/sysctl.d for the line that turns it off again",
        text::in_netns(ctx, netns),
        sysctl(ipv6),
    )
}
