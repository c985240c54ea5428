//! Packets with a wrong checksum.

use super::{
    Context, Finding, Rule,
    drops::{self, Cause},
    text,
};

/// See the module.
pub(super) struct Csum;

impl Rule for Csum {
    const ID: &'static str = "csum";
    const ABOUT: &'static str = "packets arrive with a wrong checksum";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        drops::grouped(ctx.drops(Cause::Checksum), |h| (h.netns(), h.dev()))
            .into_iter()
            .map(|((netns, dev), hits)| {
                let dev = dev.map_or("an unknown device".into(), |d| {
                    text::dev_name(ctx, netns, d)
                });
                let tunnelled = hits.iter().any(|h| {
                    h.trace.hops().any(|hop| hop.encap.is_some()) || h.drop.encap.is_some()
                });
                let mut summary = format!(
                    "{} throws away {} that reached it by {dev} with a wrong checksum",
                    text::place(ctx, netns),
                    text::count(drops::packets(&hits), "packet"),
                );
                summary += if tunnelled {
                    "; they came through a tunnel, where checksum offload of the underlay device \
                     is the usual cause."
                } else {
                    "."
                };
                let next = format!(
                    "ethtool -k {dev} | grep -i checksum; for a test on the sending node: ethtool \
                     -K DEV tx-checksum-ip-generic off, with DEV the tunnel or pod device"
                );
                drops::finding(ctx, Self::ID, &hits, (summary, next))
            })
            .collect()
    }
}
