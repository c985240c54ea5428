//! A VXLAN device does not know which endpoint has the destination's MAC address.

use super::{
    Context, Finding, Rule,
    drops::{self, Cause},
    text,
};

/// See the module.
pub(super) struct FdbMissing;

impl Rule for FdbMissing {
    const ID: &'static str = "fdb-missing";
    const ABOUT: &'static str = "a VXLAN device has no forwarding entry for the peer";
    const HIDES: &'static [&'static str] = &["left-unanswered", "tunnel-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let hits = ctx.drops(Cause::NoFdb);
        drops::grouped(hits, |h| (h.netns(), egress(h)))
            .into_iter()
            .map(|((netns, dev), hits)| {
                let name = dev.map_or("its VXLAN device".into(), |d| text::dev_name(ctx, netns, d));
                let vni = dev
                    .and_then(|d| ctx.link(netns, d)?.kind.vni())
                    .map_or(String::new(), |v| format!(" (vni {v})"));
                let summary = format!(
                    "{} has {} for {} on {name}{vni} and no forwarding entry that says which \
                     tunnel endpoint they belong to.",
                    text::place(ctx, netns),
                    text::count(drops::packets(&hits), "packet"),
                    text::addresses(hits.iter().map(|h| h.trace.tuple().dst)),
                );
                let gateway = hits.iter().find_map(|h| {
                    h.trace
                        .decisions()
                        .filter(|d| d.decision.dev == dev)
                        .find_map(|d| d.decision.gateway)
                });
                let of = gateway.or(hits.first().map(|h| h.trace.tuple().dst));
                let shown = of.map_or(String::new(), |a| format!(" {a}"));
                let exec = text::in_netns(ctx, netns);
                let next = format!(
                    "{exec}ip neigh show{shown} dev {name}; {exec}bridge fdb show dev {name}; the \
                     MAC of the first needs a `dst` line in the second: restart the CNI agent, or \
                     {exec}bridge fdb append MAC dev {name} dst ENDPOINT"
                );
                drops::finding(ctx, Self::ID, &hits, (summary, next))
            })
            .collect()
    }
}

/// The VXLAN device: where routing sent it, or the drop's own device.
fn egress(hit: &drops::Hit<'_>) -> Option<crate::event::Ifindex> {
    hit.drop.place.dev.or_else(|| hit.drop.route?.dev)
}
