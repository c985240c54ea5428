//! A socket's receive buffer is full: its process does not read fast enough.

use super::{
    Context, Finding, Rule,
    drops::{self, Cause},
    text,
};
use crate::event::Proto;

/// See the module.
pub(super) struct RcvbufFull;

impl Rule for RcvbufFull {
    const ID: &'static str = "rcvbuf-full";
    const ABOUT: &'static str = "a socket's receive buffer is full";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        drops::grouped(ctx.drops(Cause::RcvbufFull), |h| {
            let t = h.trace.tuple();
            (h.netns(), t.proto, t.dst, t.dport)
        })
        .into_iter()
        .map(|((netns, proto, address, port), hits)| {
            let lost = drops::packets(&hits);
            let of: u64 = hits.iter().map(|h| h.trace.dir().packets).sum();
            let summary = format!(
                "The {proto} socket on {address} port {port} in {} is full: {} of {} for it were \
                 thrown away because its process does not read fast enough.",
                text::place(ctx, netns),
                lost,
                text::count(of.max(lost), "packet"),
            );
            let exec = text::in_netns(ctx, netns);
            let kind = if proto == Proto::TCP { "t" } else { "u" };
            let next = format!(
                "{exec}ss -{kind}lnpm sport = :{port} (Recv-Q and skmem show the buffer); give the \
                 process CPU, or raise SO_RCVBUF and net.core.rmem_max"
            );
            drops::finding(ctx, Self::ID, &hits, (summary, next))
        })
        .collect()
    }
}
