//! Pod traffic leaves without encapsulation though a tunnel is meant.

use std::collections::BTreeMap;

use super::{
    Context, Finding, Mode, Rule, Severity, Subject, drops, text, trace::Trace,
    tunnel_in_native_mode::is_overlay,
};
use crate::{
    event::Ifindex,
    inventory::{Netns, Role, Route},
};

/// See the module.
pub(super) struct NativeInTunnelMode;

impl Rule for NativeInTunnelMode {
    const ID: &'static str = "native-in-tunnel-mode";
    const ABOUT: &'static str = "pod traffic leaves without encapsulation though a tunnel is meant";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let Some(ns) = ctx
            .inventory
            .home()
            .filter(|_| ctx.intent.mode == Mode::Tunnel)
        else {
            return Vec::new();
        };
        let mut cases: BTreeMap<Ifindex, Vec<Trace<'_>>> = BTreeMap::new();
        for trace in ctx.traces().filter(|t| is_for_remote_pod(ctx, ns, t)) {
            let plain = trace.exit().filter(|h| {
                h.encap.is_none()
                    && h.netns == ns.id
                    && ctx.role(h.netns, h.dev) == Some(Role::Uplink)
            });
            if let Some(hop) = plain {
                cases.entry(hop.dev).or_default().push(trace);
            }
        }
        cases
            .into_iter()
            .filter_map(|(dev, traces)| finding(ctx, ns, dev, &traces))
            .collect()
    }
}

/// From a pod here to a pod elsewhere: by the pods' prefixes, or by a tunnel route that covers the
/// destination and was passed over.
fn is_for_remote_pod(ctx: &Context<'_>, ns: &Netns, trace: &Trace<'_>) -> bool {
    let from_pod = trace
        .entry()
        .is_some_and(|h| ctx.role(h.netns, h.dev) == Some(Role::Pod));
    let dst = trace.tuple().dst;
    let pod = ctx.intent.pod_cidrs.iter().any(|p| p.contains(dst));
    from_pod && (pod || ctx.intent.pod_cidrs.is_empty() && tunnel_route(ns, trace).is_some())
}

fn tunnel_route<'n>(ns: &'n Netns, trace: &Trace<'_>) -> Option<&'n Route> {
    ns.routes
        .iter()
        .filter(|r| !r.dst.is_default() && r.dst.contains(trace.tuple().dst))
        .find(|r| {
            r.nexthops
                .iter()
                .filter_map(|n| ns.links.get(&n.dev?))
                .any(|l| is_overlay(&l.kind))
        })
}

fn finding(ctx: &Context<'_>, ns: &Netns, dev: Ifindex, traces: &[Trace<'_>]) -> Option<Finding> {
    let first = traces.first()?;
    let name = text::dev_name(ctx, ns.id, dev);
    let flows = drops::ranked(traces.iter().map(|t| (t.dir().packets, t.flow.id)));
    let mut evidence: Vec<String> = first
        .decisions()
        .map(|d| {
            let via = d
                .decision
                .gateway
                .map_or(String::new(), |g| format!(" via {g}"));
            let dev = d.decision.dev.map_or(String::new(), |d| {
                format!(" dev {}", text::dev_name(ctx, ns.id, d))
            });
            format!(
                "decided: {}{via}{dev}",
                d.matched.as_deref().unwrap_or("route")
            )
        })
        .collect();
    evidence.extend(
        tunnel_route(ns, first).map(|r| format!("passed over: {}", text::route(ctx, ns.id, r))),
    );
    evidence.push(format!("intended mode: {}", ctx.intent.told()));
    evidence.extend(text::samples(ctx, &flows));
    Some(Finding {
        id: NativeInTunnelMode::ID,
        severity: Severity::Error,
        summary: format!(
            "{} sends {} for pods on other nodes ({}) out of {name} without encapsulation, though a \
             tunnel is meant: the underlay sees pod addresses that it need not know.",
            text::place(ctx, ns.id),
            text::count(traces.iter().map(|t| t.dir().packets).sum(), "packet"),
            text::addresses(traces.iter().map(|t| t.tuple().dst)),
        ),
        subject: Subject {
            flows,
            dev: Some((ns.id, dev)),
            address: Some(first.tuple().dst),
        },
        evidence,
        next: format!(
            "{}; the route to the peer's pods is missing on the tunnel device or loses to another \
             one: ask the CNI agent of this node for the peer (its log)",
            text::route_get(ctx, first),
        ),
    })
}
