//! IPv6 without overlay: the uplink's prefix is longer than the one that the nodes share, so that
//! peers are not on-link and no direct route to their pods can be installed.

use std::fmt::Write as _;
use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause},
    lookup::{Query, common_bits, in_table, is_global, route},
    no_route,
    signs::Sign,
    text,
    trace::Trace,
};
use crate::{
    event::{Ifindex, RouteKind},
    inventory::{Address, Link, Netns, Prefix, Role, Route},
    model::FlowId,
};

/// See the module.
pub(super) struct OnlinkPrefixMismatch;

/// The length that router advertisements and cloud providers put on a node's address. A shorter
/// one was set on purpose, to cover the other nodes.
const LONG_PREFIX: u8 = 64;

/// Pods of one cluster share at least these bits: node prefixes are /64, and
/// `kube-controller-manager` refuses more than 16 bits between them and the cluster's prefix. The
/// nodes of one site share as many (a provider hands out a /48 or longer).
const CLUSTER_BITS: u32 = 48;

/// `ICMPv6` destination unreachable.
const UNREACHABLE: u8 = 1;

struct Case<'a> {
    address: &'a Address,
    default: Option<&'a Route>,
    flows: Vec<(u64, FlowId)>,
    targets: Vec<IpAddr>,
    example: Trace<'a>,
    signs: Vec<String>,
}

impl Rule for OnlinkPrefixMismatch {
    const ID: &'static str = "onlink-prefix-mismatch";
    const ABOUT: &'static str = "IPv6: the uplink's prefix is too long for peers to be on-link";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let Some(ns) = ctx.inventory.home() else {
            return Vec::new();
        };
        let mut cases: BTreeMap<Ifindex, Case<'_>> = BTreeMap::new();
        // asked once for each cluster: it looks at all flows
        let mut served: BTreeMap<Prefix, bool> = BTreeMap::new();
        let lost = ctx.traces_with(Sign::Dropped | Sign::Failed | Sign::Error | Sign::Unheard);
        for trace in lost.filter(|t| t.tuple().dst.is_ipv6()) {
            let dst = trace.tuple().dst;
            let default = default_route(ns, dst);
            let Some((link, address)) = uplink(ns, default) else {
                continue;
            };
            if !is_sibling(ctx, &trace, address) || has_own_route(ns, dst) {
                continue;
            }
            let Some((weight, sign)) = loss(ctx, &trace) else {
                continue;
            };
            let cluster = Prefix::new(dst, CLUSTER_BITS as u8);
            let serves = served.entry(cluster);
            if *serves.or_insert_with(|| router_serves(ctx, ns, dst)) {
                continue;
            }
            let case = cases.entry(link.ifindex).or_insert_with(|| Case {
                address,
                default,
                flows: Vec::new(),
                targets: Vec::new(),
                example: trace,
                signs: Vec::new(),
            });
            case.flows.push((weight, trace.flow.id));
            case.targets.push(dst);
            if !case.signs.contains(&sign) {
                case.signs.push(sign);
            }
        }
        cases
            .into_iter()
            .filter_map(|(dev, c)| c.finding(ctx, ns, dev))
            .collect()
    }
}

fn default_route(ns: &Netns, dst: IpAddr) -> Option<&Route> {
    route(ns, &Query::to(dst)).filter(|r| r.dst.is_default() && r.kind == RouteKind::Unicast)
}

/// The device of the default route, or the only uplink, with its address; only when every global
/// address on it has a long prefix.
fn uplink<'n>(ns: &'n Netns, default: Option<&Route>) -> Option<(&'n Link, &'n Address)> {
    let by_route = default.and_then(|r| ns.links.get(&r.nexthops.first()?.dev?));
    let link = by_route.or_else(|| {
        let mut uplinks = ns.links.values().filter(|l| {
            l.role == Role::Uplink
                && l.addresses
                    .iter()
                    .any(|a| a.address.is_ipv6() && is_global(a.address))
        });
        uplinks.next().filter(|_| uplinks.next().is_none())
    })?;
    let mut global = link
        .addresses
        .iter()
        .filter(|a| a.address.is_ipv6() && is_global(a.address));
    let first = global.next()?;
    let long = first.prefix_len >= LONG_PREFIX && global.all(|a| a.prefix_len >= LONG_PREFIX);
    long.then_some((link, first))
}

/// From a pod of this node to a pod of another one, or between the nodes themselves.
fn is_sibling(ctx: &Context<'_>, trace: &Trace<'_>, own: &Address) -> bool {
    let t = trace.tuple();
    if !is_global(t.dst) || own.prefix().contains(t.dst) {
        return false;
    }
    let near_node = common_bits(own.address, t.dst) >= CLUSTER_BITS
        || ctx
            .intent
            .node_cidrs
            .iter()
            .any(|p| p.contains(t.dst) && p.contains(own.address));
    if t.src.is_unspecified() || t.src == own.address {
        // the default route is the ordinary way to other networks of the site: only a node that
        // cannot even send to its peer shows something
        return near_node && !trace.flow.route_failures.is_empty();
    }
    // addresses out of the uplink's own network are routed by the provider (AWS and the like)
    let routed_by_provider = common_bits(own.address, t.src) >= u32::from(LONG_PREFIX);
    let shared = common_bits(t.src, t.dst);
    // nearer to our pods than to our node: not some server of the same site
    let pods = ctx
        .intent
        .pod_cidrs
        .iter()
        .any(|p| p.contains(t.src) && p.contains(t.dst))
        || shared >= CLUSTER_BITS && shared > common_bits(own.address, t.dst);
    pods && !routed_by_provider
        && ctx.is_from_here(trace)
        && no_route::pod_prefix(t.src) != no_route::pod_prefix(t.dst)
}

/// A route other than the default, in any table that is not `local`.
fn has_own_route(ns: &Netns, dst: IpAddr) -> bool {
    let tables: std::collections::BTreeSet<u32> = ns.routes.iter().map(|r| r.table).collect();
    tables
        .into_iter()
        .filter_map(|t| in_table(ns, t, dst))
        .any(|r| !r.dst.is_default() && !r.dst.address.is_multicast())
}

/// The flow is lost for want of a route: no route here, an error from the router, or silence.
fn loss(ctx: &Context<'_>, trace: &Trace<'_>) -> Option<(u64, String)> {
    let d = trace.dir();
    let no_route = d
        .drops
        .iter()
        .filter(|drop| {
            drops::cause(
                ctx,
                &drops::Hit {
                    trace: *trace,
                    drop,
                },
            ) == Cause::NoRoute
        })
        .map(|drop| drop.count)
        .sum::<u64>();
    if no_route > 0 {
        return Some((
            no_route,
            "without a default route, this node drops them itself".into(),
        ));
    }
    if !trace.is_reply && no_route::failures(ctx, trace).next().is_some() {
        let n = trace.flow.route_failures.iter().map(|f| f.count).sum();
        return Some((n, "local senders get ENETUNREACH".into()));
    }
    let error = d
        .icmp
        .iter()
        .find(|i| i.icmp_type == UNREACHABLE && matches!(i.code, 0 | 3) && !i.local);
    if let Some(icmp) = error {
        return Some((
            d.packets,
            format!("{} answers with ICMPv6 \"unreachable\"", icmp.from),
        ));
    }
    let silent = trace.is_silent(ctx).is_some() || trace.is_handshake_stuck(ctx);
    silent.then(|| (d.packets, "nothing comes back".to_owned()))
}

/// Some other flow to the pods beyond the default route is answered: the router knows them.
fn router_serves(ctx: &Context<'_>, ns: &Netns, dst: IpAddr) -> bool {
    ctx.traces().any(|t| {
        common_bits(t.tuple().dst, dst) >= CLUSTER_BITS
            && ctx.is_from_here(&t)
            && t.back().packets > 0
            && !t.is_handshake_stuck(ctx)
            && t.exit()
                .is_some_and(|h| ctx.role(h.netns, h.dev) == Some(Role::Uplink))
            && !has_own_route(ns, t.tuple().dst)
    })
}

impl Case<'_> {
    fn finding(self, ctx: &Context<'_>, ns: &Netns, dev: Ifindex) -> Option<Finding> {
        let name = text::dev_name(ctx, ns.id, dev);
        let mut prefixes: Vec<String> = self
            .targets
            .iter()
            .map(|a| no_route::pod_prefix(*a).to_string())
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let target = prefixes.first()?;
        let mut summary = format!(
            "{} has no route for {}",
            text::place(ctx, ns.id),
            prefixes.join(", ")
        );
        let tail = match self.default.and_then(|r| r.nexthops.first()) {
            Some(hop) => format!(
                ", so its packets follow the default route to {} on {name}, a router that need not \
                 know pod addresses",
                hop.gateway
                    .map_or("an on-link destination".into(), |g| g.to_string()),
            ),
            None => " and no default route".to_owned(),
        };
        summary += &tail;
        let len = self.address.prefix_len;
        let _ = write!(
            summary,
            "; the address {}/{len} makes only {} on-link on {name}: nodes outside it cannot be the \
             next hop of a direct route.",
            self.address.address,
            self.address.prefix(),
        );
        let flows = drops::ranked(self.flows);
        let mut evidence = self.signs;
        evidence.push(match self.default {
            Some(r) => format!("route: {}", text::route(ctx, ns.id, r)),
            None => "no IPv6 default route in any table that the rules name".into(),
        });
        evidence.push(format!("address on {name}: {}/{len}", self.address.address));
        evidence.extend(text::samples(ctx, &flows));
        let shared = ctx
            .intent
            .node_cidrs
            .iter()
            .find(|p| p.contains(self.address.address));
        // an address cannot be given a second length, a route makes the peers on-link as well
        let (wanted, hint) = match shared {
            Some(p) => (p.to_string(), ""),
            None => (
                "PREFIX".to_owned(),
                " (PREFIX: the one that all nodes share, a /59 for example)",
            ),
        };
        Some(Finding {
            id: OnlinkPrefixMismatch::ID,
            severity: Severity::Error,
            summary,
            subject: Subject {
                flows,
                dev: Some((ns.id, dev)),
                address: self.targets.first().copied(),
            },
            evidence,
            next: format!(
                "{}; if the nodes are on one segment: ip -6 route add {wanted} dev {name}{hint} makes the \
                 peers on-link at once, the length of {} in the node's network configuration for good; \
                 then restart the CNI agent and expect `ip -6 route show {target}` to name the peer \
                 node",
                text::route_get(ctx, &self.example),
                self.address.address,
            ),
        })
    }
}
