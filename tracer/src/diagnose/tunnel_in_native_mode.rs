//! Pod traffic takes a tunnel though native routing is meant.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{
    Context, Finding, Mode, Rule, Severity, Subject, drops, signs::Sign, text, trace::Trace,
};
use crate::{
    event::{Dir, Ifindex, NetnsId, RouteKind},
    inventory::{LinkKind, Netns, Prefix, Role, Route},
    model::Hop,
};

/// See the module.
pub(super) struct TunnelInNativeMode;

#[derive(Default)]
struct Case<'a> {
    pairs: Vec<(&'a Route, &'a Route)>,
    traces: Vec<Trace<'a>>,
}

impl Rule for TunnelInNativeMode {
    const ID: &'static str = "tunnel-in-native-mode";
    const ABOUT: &'static str = "pod traffic takes a tunnel though native routing is meant";

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let Some(ns) = ctx
            .inventory
            .home()
            .filter(|_| ctx.intent.mode != Mode::Tunnel)
        else {
            return Vec::new();
        };
        let mut cases: BTreeMap<Ifindex, Case<'_>> = BTreeMap::new();
        for (dev, pair) in contests(ns) {
            cases.entry(dev).or_default().pairs.push(pair);
        }
        for trace in ctx.traces_with(Sign::Tunnelled.into()) {
            let Some(hop) = trace.hops().find(|h| is_overlay_exit(ctx, h)) else {
                continue;
            };
            let dst = trace.tuple().dst;
            let contested = |c: &Case<'_>| c.pairs.iter().any(|(t, _)| t.dst.contains(dst));
            let meant_native = ctx.intent.mode == Mode::Native && is_pod_traffic(ctx, &trace);
            if hop.netns == ns.id && (meant_native || cases.get(&hop.dev).is_some_and(contested)) {
                cases.entry(hop.dev).or_default().traces.push(trace);
            }
        }
        cases
            .into_iter()
            .map(|(dev, case)| case.finding(ctx, ns.id, dev))
            .collect()
    }
}

/// An overlay: encapsulation for reach. Encryption (`WireGuard`, `IPsec`) goes with native routing.
pub(super) fn is_overlay(kind: &LinkKind) -> bool {
    match kind {
        LinkKind::Tunnel { kind, .. } => !matches!(kind.as_str(), "wireguard" | "xfrm" | "tun"),
        other => other.is_tunnel(),
    }
}

fn is_overlay_exit(ctx: &Context<'_>, hop: &Hop) -> bool {
    hop.dir == Dir::Out
        && ctx
            .link(hop.netns, hop.dev)
            .is_some_and(|l| is_overlay(&l.kind))
}

fn is_pod_traffic(ctx: &Context<'_>, trace: &Trace<'_>) -> bool {
    let from_pod = trace
        .entry()
        .is_some_and(|h| ctx.role(h.netns, h.dev) == Some(Role::Pod));
    let t = trace.tuple();
    from_pod
        || ctx
            .intent
            .pod_cidrs
            .iter()
            .any(|p| p.contains(t.src) || p.contains(t.dst))
}

/// Prefixes that have a tunnel route and a direct one in the same table, where the tunnel wins by
/// metric. A default route through a tunnel (a VPN) is no matter of pods.
pub(super) fn contests(ns: &Netns) -> Vec<(Ifindex, (&Route, &Route))> {
    let mut by_prefix: BTreeMap<(u32, Prefix), Vec<&Route>> = BTreeMap::new();
    for route in ns
        .routes
        .iter()
        .filter(|r| r.kind == RouteKind::Unicast && !r.dst.is_default())
    {
        by_prefix
            .entry((route.table, route.dst))
            .or_default()
            .push(route);
    }
    let link = |r: &Route| r.nexthops.first().and_then(|n| ns.links.get(&n.dev?));
    let mut found = Vec::new();
    for routes in by_prefix.values() {
        let overlay = |r: &&&Route| link(r).is_some_and(|l| is_overlay(&l.kind));
        // link-local prefixes are on every device
        let direct = |r: &&&Route| {
            link(r).is_some_and(|l| l.role == Role::Uplink)
                && r.nexthops.iter().all(|n| n.gateway.is_some())
        };
        let tunnel = routes.iter().filter(overlay).min_by_key(|r| r.metric);
        let native = routes.iter().filter(direct).min_by_key(|r| r.metric);
        if let (Some(tunnel), Some(native)) = (tunnel, native)
            && tunnel.metric < native.metric
            && let Some(dev) = tunnel.nexthops.first().and_then(|n| n.dev)
        {
            found.push((dev, (*tunnel, *native)));
        }
    }
    found
}

impl Case<'_> {
    fn finding(self, ctx: &Context<'_>, netns: NetnsId, dev: Ifindex) -> Finding {
        let name = text::dev_name(ctx, netns, dev);
        let native = ctx.intent.mode == Mode::Native;
        let flows = drops::ranked(self.traces.iter().map(|t| (t.dir().packets, t.flow.id)));
        let packets: u64 = self.traces.iter().map(|t| t.dir().packets).sum();
        let node = text::place(ctx, netns);
        let prefixes: Vec<String> = self.pairs.iter().map(|(t, _)| t.dst.to_string()).collect();
        let mut summary = match self.pairs.first() {
            Some((tunnel, direct)) => format!(
                "{node} has two routes for {}: the one through the tunnel {name} (metric {}) wins \
                 over the direct one (metric {})",
                prefixes.join(", "),
                tunnel.metric,
                direct.metric,
            ),
            None => format!("{node} sends pod traffic through the tunnel {name}"),
        };
        if packets > 0 {
            let _ = write!(
                summary,
                "; {} of {} took it",
                text::count(packets, "packet"),
                text::count(flows.len() as u64, "flow"),
            );
        }
        summary += if native {
            ", though native routing is meant."
        } else {
            ", which is wrong if native routing is meant."
        };
        let mut evidence: Vec<String> = Vec::new();
        for (tunnel, direct) in &self.pairs {
            evidence.push(format!("wins: {}", text::route(ctx, netns, tunnel)));
            evidence.push(format!("loses: {}", text::route(ctx, netns, direct)));
        }
        evidence.push(format!("intended mode: {}", ctx.intent.told()));
        evidence.extend(text::samples(ctx, &flows));
        Finding {
            id: TunnelInNativeMode::ID,
            severity: if native {
                Severity::Error
            } else {
                Severity::Warning
            },
            summary,
            subject: Subject {
                flows,
                dev: Some((netns, dev)),
                address: None,
            },
            evidence,
            next: self.next(ctx, netns, native),
        }
    }

    fn next(&self, ctx: &Context<'_>, netns: NetnsId, native: bool) -> String {
        let tell = if native {
            ""
        } else {
            "say which is meant with --mode native or --mode tunnel; if native: "
        };
        match (self.pairs.first(), self.traces.first()) {
            (Some((tunnel, _)), _) => {
                let ip = text::ip(ctx, netns, tunnel.dst.address.is_ipv6());
                format!(
                    "{tell}{ip} route del {}, after finding who installs it (ip -d route shows its \
                     proto; Cilium: routing-mode and auto-direct-node-routes)",
                    text::route(ctx, netns, tunnel),
                )
            }
            (None, Some(trace)) => format!("{tell}{}", text::route_get(ctx, trace)),
            (None, None) => "ip route".into(),
        }
    }
}
