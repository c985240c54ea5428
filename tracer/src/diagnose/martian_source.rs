//! Packets with a source address that cannot come from outside.

use super::{
    Context, Finding, Rule,
    drops::{self, Cause},
    text,
};

/// See the module.
pub(super) struct MartianSource;

impl Rule for MartianSource {
    const ID: &'static str = "martian-source";
    const ABOUT: &'static str =
        "packets arrive with a source address that cannot come from outside";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let hits = ctx
            .drops(Cause::Martian)
            .into_iter()
            // a switch that sends broadcasts back to their sender is no harm
            .filter(|h| !ctx.is_for_many(h.netns(), h.trace.tuple().dst))
            .collect();
        drops::grouped(hits, |h| (h.netns(), h.in_dev(), h.trace.tuple().src))
            .into_iter()
            .map(|((netns, dev, source), hits)| {
                let owner = ctx.netns(netns).and_then(|n| n.owner(source));
                let dev = dev.map_or("an unknown device".into(), |d| {
                    text::dev_name(ctx, netns, d)
                });
                let why = owner.map_or_else(
                    || "an address that no other machine may use".to_owned(),
                    |l| {
                        let whose = if netns == ctx.inventory.home { "the node's" } else { "its" };
                        format!("{whose} own address on {}", l.name)
                    },
                );
                let summary = format!(
                    "{} drops {} that came in by {dev} with the source {source}, {why}.",
                    text::place(ctx, netns),
                    text::count(drops::packets(&hits), "packet"),
                );
                let next = match owner {
                    Some(_) => format!(
                        "tcpdump -eni {dev} host {source}: the MAC address names the sender, a second \
                         holder of {source} or a hairpin that lost its source NAT (conntrack -L -s \
                         {source})"
                    ),
                    None => format!(
                        "tcpdump -eni {dev} host {source}: the MAC address names the sender"
                    ),
                };
                drops::finding(ctx, Self::ID, &hits, (summary, next))
            })
            .collect()
    }
}
