//! No route: the node had nowhere to send the packets.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause},
    lookup::{common_bits, is_global},
    signs::Sign,
    text,
    trace::Trace,
};
use crate::{
    event::{NetnsId, Proto, RouteFailure},
    inventory::{Netns, Prefix, Route},
};

/// See the module.
pub(super) struct NoRoute;

/// Destinations of one node's pods are told together: `kube-controller-manager` gives nodes a /24
/// and a /64 unless it is told otherwise.
const POD_PREFIX_V4: u8 = 24;
/// See [`POD_PREFIX_V4`].
const POD_PREFIX_V6: u8 = 64;

/// A route that shares fewer bits with the destination explains nothing.
const NEAR_BITS_V4: u32 = 16;
/// See [`NEAR_BITS_V4`]; a cluster's prefix is a /48 or longer.
const NEAR_BITS_V6: u32 = 48;

impl Rule for NoRoute {
    const ID: &'static str = "no-route";
    const ABOUT: &'static str = "no route leads to the destination";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let mut cases: BTreeMap<(NetnsId, Prefix), Case<'_>> = BTreeMap::new();
        for hit in ctx.drops(Cause::NoRoute) {
            let dst = hit.trace.tuple().dst;
            let case = cases.entry((hit.netns(), pod_prefix(dst))).or_default();
            case.add(hit.trace, dst, hit.drop.count);
            case.hits.push(hit);
        }
        for trace in ctx.traces_with(Sign::Failed.into()).filter(|t| !t.is_reply) {
            for failure in failures(ctx, &trace) {
                let dst = failure.tuple.dst;
                let case = cases.entry((failure.netns, pod_prefix(dst))).or_default();
                case.add(trace, dst, failure.count);
                case.failures.push(failure);
            }
        }
        cases
            .into_iter()
            .filter_map(|((netns, p), c)| c.finding(ctx, netns, p))
            .collect()
    }
}

/// Failed lookups that stand for something somebody wanted to send.
pub(super) fn failures<'a>(
    ctx: &Context<'_>,
    trace: &Trace<'a>,
) -> impl Iterator<Item = &'a RouteFailure> {
    let has = |f: &RouteFailure| {
        ctx.netns(f.netns).is_some_and(|ns| {
            ns.addresses().any(|(_, a)| {
                let same = a.address.is_ipv6() == f.tuple.dst.is_ipv6();
                // a resolver tries a UDP connect to every address of a name to sort them: only
                // destinations near our own addresses are meant
                same && is_global(a.address)
                    && (f.tuple.proto != Proto::UDP || near(a.address, f.tuple.dst))
            })
        })
    };
    let meant: Vec<&'a RouteFailure> = trace
        .flow
        .route_failures
        .iter()
        .filter(|f| f.errno == 101 && (has(f) || in_cluster(ctx, f.tuple.dst)))
        .collect();
    meant.into_iter()
}

fn in_cluster(ctx: &Context<'_>, dst: IpAddr) -> bool {
    ctx.intent
        .pod_cidrs
        .iter()
        .chain(&ctx.intent.node_cidrs)
        .any(|p| p.contains(dst))
}

fn near(a: IpAddr, b: IpAddr) -> bool {
    common_bits(a, b)
        >= if a.is_ipv6() {
            NEAR_BITS_V6
        } else {
            NEAR_BITS_V4
        }
}

/// The prefix that a node's pods usually have, around an address.
pub(super) fn pod_prefix(address: IpAddr) -> Prefix {
    Prefix::new(
        address,
        if address.is_ipv6() {
            POD_PREFIX_V6
        } else {
            POD_PREFIX_V4
        },
    )
}

#[derive(Default)]
struct Case<'a> {
    traces: Vec<(u64, Trace<'a>)>,
    addresses: Vec<IpAddr>,
    hits: Vec<drops::Hit<'a>>,
    failures: Vec<&'a RouteFailure>,
}

impl<'a> Case<'a> {
    fn add(&mut self, trace: Trace<'a>, dst: IpAddr, count: u64) {
        self.traces.push((count, trace));
        self.addresses.push(dst);
    }

    fn finding(self, ctx: &Context<'_>, netns: NetnsId, prefix: Prefix) -> Option<Finding> {
        let (_, trace) = *self.traces.first()?;
        let address = *self.addresses.first()?;
        let flows = drops::ranked(self.traces.iter().map(|(n, t)| (*n, t.flow.id)));
        let lost = drops::packets(&self.hits);
        let refused: u64 = self.failures.iter().map(|f| f.count).sum();
        let mut summary = format!(
            "{} has no {} route to {} (in {prefix}): ",
            text::place(ctx, netns),
            text::family(address.is_ipv6()),
            text::addresses(self.addresses.iter().copied()),
        );
        let tail = match (lost, refused) {
            (0, n) => format!("local senders got ENETUNREACH {}.", text::count(n, "time")),
            (n, _) => format!("{} dropped.", text::count(n, "packet")),
        };
        summary += &tail;
        let mut evidence = text::places(ctx, &self.hits);
        for f in &self.failures {
            evidence.push(format!(
                "{}: {} of {} (pid {}) to {}, last table {}",
                text::errno(f.errno),
                text::count(f.count, "lookup"),
                f.comm,
                f.pid,
                f.tuple.dst,
                crate::inventory::table_name(f.table),
            ));
        }
        evidence.extend(ctx.netns(netns).map(|ns| nearest(ctx, ns, address)));
        evidence.extend(text::samples(ctx, &flows));
        let ip = text::ip(ctx, netns, address.is_ipv6());
        let get = if self.hits.is_empty() {
            format!("{ip} route get {address}")
        } else {
            text::route_get(ctx, &trace)
        };
        Some(Finding {
            id: NoRoute::ID,
            severity: Severity::Error,
            summary,
            subject: Subject {
                flows,
                dev: None,
                address: Some(address),
            },
            evidence,
            next: format!(
                "{get}; then ask the CNI agent of this node why it has not installed {prefix} \
                 (its log, and {ip} route show table all | grep {})",
                prefix.address,
            ),
        })
    }
}

/// The route that comes nearest, or the fact that there is no default route.
fn nearest(ctx: &Context<'_>, ns: &Netns, dst: IpAddr) -> String {
    let near = |r: &&Route| r.dst.address.is_ipv6() == dst.is_ipv6() && near(r.dst.address, dst);
    let best = ns
        .routes
        .iter()
        .filter(|r| r.table != 255 && !r.dst.is_default())
        .filter(near)
        .max_by_key(|r| common_bits(r.dst.address, dst));
    match best {
        Some(r) => format!("nearest route: {}", text::route(ctx, ns.id, r)),
        None => format!("no route near {dst}, and no default route that serves it"),
    }
}
