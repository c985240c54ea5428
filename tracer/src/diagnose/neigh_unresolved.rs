//! The next hop is on-link by configuration, and nobody there answers ARP or ND.

use std::fmt::Write as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause, Hit},
    lookup::{Query, route},
    text,
};
use crate::{
    event::{Ifindex, NetnsId},
    inventory::{Role, Route},
    model::FlowId,
};

/// See the module.
pub(super) struct NeighUnresolved;

#[derive(Default)]
struct Case<'a> {
    addresses: BTreeSet<IpAddr>,
    hits: Vec<Hit<'a>>,
    flows: Vec<(u64, FlowId)>,
    failures: u64,
    route: Option<&'a Route>,
}

impl Rule for NeighUnresolved {
    const ID: &'static str = "neigh-unresolved";
    const ABOUT: &'static str = "a next hop does not answer ARP or neighbour discovery";
    const HIDES: &'static [&'static str] = &["left-unanswered", "tunnel-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let mut cases: BTreeMap<(NetnsId, Ifindex, Option<String>), Case<'_>> = BTreeMap::new();
        for hit in ctx.drops(Cause::NeighFailed) {
            let Some(dev) = hit.drop.route.and_then(|r| r.dev).or(hit.dev()) else {
                continue;
            };
            let address = next_hop(ctx, &hit, dev);
            let case = case(&mut cases, ctx, (hit.netns(), dev), address);
            case.flows.push((hit.drop.count, hit.trace.flow.id));
            case.hits.push(hit);
        }
        for (failure, n) in &ctx.snapshot.neigh_failures {
            let waiting = waiting(ctx, failure.netns, failure.dev, failure.address);
            // entries of departed nodes and pods fail as well, when nobody asks for them any more
            if failure.queued == 0 && waiting.is_empty() {
                continue;
            }
            let case = case(
                &mut cases,
                ctx,
                (failure.netns, failure.dev),
                failure.address,
            );
            case.failures = case.failures.saturating_add(*n);
            case.flows.extend(waiting);
        }
        cases
            .into_iter()
            .map(|((netns, dev, _), c)| c.finding(ctx, netns, dev))
            .collect()
    }
}

/// Addresses that one route made on-link are one case.
fn case<'c, 'a>(
    cases: &'c mut BTreeMap<(NetnsId, Ifindex, Option<String>), Case<'a>>,
    ctx: &Context<'a>,
    at: (NetnsId, Ifindex),
    address: IpAddr,
) -> &'c mut Case<'a> {
    let found = ctx
        .netns(at.0)
        .and_then(|ns| route(ns, &Query::to(address)))
        .filter(|r| {
            r.nexthops
                .iter()
                .any(|n| n.dev == Some(at.1) && n.gateway.is_none())
        });
    let key = (at.0, at.1, found.map(|r| text::route(ctx, at.0, r)));
    let case = cases.entry(key).or_default();
    case.addresses.insert(address);
    case.route = found;
    case
}

/// What was asked for: the gateway of the route, or the (outer) destination itself.
fn next_hop(ctx: &Context<'_>, hit: &Hit<'_>, dev: Ifindex) -> IpAddr {
    let dst = hit.drop.encap.map_or(hit.trace.tuple().dst, |e| e.dst);
    let decided = hit.drop.route.and_then(|r| r.gateway);
    let configured = || {
        let r = route(ctx.netns(hit.netns())?, &Query::to(dst))?;
        r.nexthops.iter().find(|n| n.dev == Some(dev))?.gateway
    };
    decided.or_else(configured).unwrap_or(dst)
}

/// Flows that were routed to this next hop and have no answer.
fn waiting(ctx: &Context<'_>, netns: NetnsId, dev: Ifindex, address: IpAddr) -> Vec<(u64, FlowId)> {
    ctx.traces()
        .filter(|t| t.flow.id.scope.netns == netns && t.back().packets == 0)
        .filter(|t| {
            t.decisions().any(|d| {
                d.decision.dev == Some(dev)
                    && d.decision.gateway.unwrap_or(t.tuple().dst) == address
            })
        })
        .map(|t| (t.dir().packets, t.flow.id))
        .collect()
}

impl Case<'_> {
    fn finding(self, ctx: &Context<'_>, netns: NetnsId, dev: Ifindex) -> Finding {
        let name = text::dev_name(ctx, netns, dev);
        let ipv6 = self.addresses.first().is_some_and(IpAddr::is_ipv6);
        let asked = text::addresses(self.addresses.iter().copied());
        let protocol = if ipv6 { "neighbour discovery" } else { "ARP" };
        let mut summary = format!(
            "Nobody on {name} of {} answers {protocol} for {asked}",
            text::place(ctx, netns),
        );
        let lost = drops::packets(&self.hits);
        if lost > 0 {
            let _ = write!(summary, ": {} dropped", text::count(lost, "packet"));
        }
        let uplink = ctx.role(netns, dev) == Some(Role::Uplink);
        let stray = self
            .route
            .filter(|r| uplink && r.protocol != 2 && !r.dst.is_default());
        if let Some(r) = stray {
            let _ = write!(
                summary,
                "; the route `{}` calls the whole of {} on-link, where a route to pods needs the \
                 node that has them as its next hop",
                text::route(ctx, netns, r),
                r.dst,
            );
        }
        let mut evidence = text::places(ctx, &self.hits);
        if self.failures > 0 {
            evidence.push(text::count(self.failures, "failed resolution"));
        }
        if let (Some(r), None) = (self.route, stray) {
            evidence.push(format!("on-link by: {}", text::route(ctx, netns, r)));
        }
        let flows = drops::ranked(self.flows);
        evidence.extend(text::samples(ctx, &flows));
        let ip = text::ip(ctx, netns, ipv6);
        let first = self.addresses.first();
        let shown = first.map_or(String::new(), |a| format!(" to {a}"));
        let then = match stray {
            Some(r) => format!(
                "{ip} route replace {} via {} dev {name}",
                r.dst,
                text::node_for(ctx, &r.dst),
            ),
            None => format!(
                "tcpdump -eni {name} '{}' shows whether the question leaves",
                if ipv6 {
                    "ip6[40] >= 135 and ip6[40] <= 136"
                } else {
                    "arp"
                }
            ),
        };
        Finding {
            id: NeighUnresolved::ID,
            severity: Severity::Error,
            summary: summary + ".",
            subject: Subject {
                flows,
                dev: Some((netns, dev)),
                address: first.copied(),
            },
            evidence,
            next: format!("{ip} neigh show{shown} dev {name}; {then}"),
        }
    }
}
