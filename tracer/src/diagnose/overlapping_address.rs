//! One address behind two origins at the same time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use foldhash::fast::RandomState;

use super::{
    Context, Finding, Rule, Severity, Subject, drops, guess_cni, signs::Sign, text, trace::Trace,
};
use crate::{
    event::{Dir, Ifindex, KtimeNs, NetnsId},
    inventory::Role,
    model::Outcome,
};

/// See the module.
pub(super) struct OverlappingAddress;

/// A source address; behind a VNI together with its peer, because OVN gives the packets of one pod
/// another VNI for every logical switch that they go to.
type Behind = (IpAddr, Option<IpAddr>);

/// Directions by the device or VNI that they come from.
type Origins<'a> = BTreeMap<String, Vec<Trace<'a>>>;

impl Rule for OverlappingAddress {
    const ID: &'static str = "overlapping-address";
    const ABOUT: &'static str = "one address lives behind two devices or VNIs (tenants)";

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let several = several(ctx);
        if several.is_empty() {
            return Vec::new();
        }
        let mut origins: BTreeMap<(NetnsId, Behind), Origins<'_>> = BTreeMap::new();
        let out = out(ctx, &several);
        for trace in ctx.traces() {
            let Some((behind, origin)) = origin(ctx, &trace) else {
                continue;
            };
            let netns = trace.flow.id.scope.netns;
            // packets that were sent into a pod (a gateway, a firewall) come out of it again
            let returns = match origin {
                Origin::Device(place) => out.contains(&(behind.0, place)),
                Origin::Vni(_) => false,
            };
            if returns || !several.contains(&(netns, behind)) {
                continue;
            }
            let origins = origins.entry((netns, behind)).or_default();
            origins.entry(origin.name(ctx)).or_default().push(trace);
        }
        let mut said = BTreeSet::new();
        origins
            .into_iter()
            .filter(|(_, o)| o.len() > 1 && at_once(o) && o.values().flatten().any(in_trouble))
            .filter_map(|((netns, (address, _)), origins)| {
                let finding = finding(ctx, (netns, address), &origins);
                // both ends of the same flows are one case
                said.insert(finding.subject.flows.clone())
                    .then_some(finding)
            })
            .collect()
    }
}

/// Where a direction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A pod's device.
    Device((NetnsId, Ifindex)),
    Vni(u32),
}

impl Origin {
    fn name(self, ctx: &Context<'_>) -> String {
        match self {
            Self::Device((netns, dev)) => text::dev_name(ctx, netns, dev),
            Self::Vni(vni) => format!("vni {vni}"),
        }
    }
}

/// Sources in trouble with more than one origin; hardly any node has one, and one may have 100,000
/// sources.
fn several(ctx: &Context<'_>) -> HashSet<(NetnsId, Behind), RandomState> {
    let troubled = ctx.traces_with(Sign::Trouble.into());
    let troubled: HashSet<IpAddr, RandomState> = troubled.map(|t| t.tuple().src).collect();
    if troubled.is_empty() {
        return HashSet::default();
    }
    let cilium = guess_cni(ctx.inventory).is_some_and(|g| g.name == "Cilium");
    let mut first: HashMap<(NetnsId, Behind), Origin, RandomState> = HashMap::default();
    let mut several = HashSet::default();
    for trace in ctx.traces().filter(|t| troubled.contains(&t.tuple().src)) {
        let Some((behind, origin)) = origin(ctx, &trace) else {
            continue;
        };
        if cilium && matches!(origin, Origin::Vni(_)) {
            continue;
        }
        let key = (trace.flow.id.scope.netns, behind);
        if *first.entry(key).or_insert(origin) != origin {
            several.insert(key);
        }
    }
    several
}

/// Of these sources those devices that packets of them left by.
fn out(
    ctx: &Context<'_>,
    several: &HashSet<(NetnsId, Behind), RandomState>,
) -> HashSet<(IpAddr, (NetnsId, Ifindex))> {
    let sources: HashSet<IpAddr> = several.iter().map(|(_, (address, _))| *address).collect();
    let mut out = HashSet::new();
    for trace in ctx.traces() {
        let source = trace.tuple().src;
        if sources.contains(&source) {
            let hops = trace.hops().filter(|h| h.dir == Dir::Out);
            out.extend(hops.map(|h| (source, (h.netns, h.dev))));
        }
    }
    out
}

/// Where the source of this direction lives: a pod's device, or the VNI it comes from. Cilium uses
/// the VNI for the sender's identity, which is no tenant.
fn origin(ctx: &Context<'_>, trace: &Trace<'_>) -> Option<(Behind, Origin)> {
    let hop = trace.entry()?;
    let (address, peer) = (trace.tuple().src, trace.tuple().dst);
    if !super::lookup::is_global(address) {
        return None;
    }
    if let Some(vni) = hop.encap.as_ref().and_then(|e| e.key.vni) {
        return Some(((address, Some(peer)), Origin::Vni(vni)));
    }
    let pod = ctx.role(hop.netns, hop.dev) == Some(Role::Pod);
    pod.then_some(((address, None), Origin::Device((hop.netns, hop.dev))))
}

/// Tenants that use the same addresses are no news while all of them are served.
fn in_trouble(trace: &Trace<'_>) -> bool {
    let flow = trace.flow;
    [&flow.forward, &flow.reply].iter().any(|dir| {
        !dir.drops.is_empty()
            || matches!(
                dir.outcome,
                Some(Outcome::Dropped(_) | Outcome::Unanswered(_))
            )
    })
}

/// Two origins at one time: a pod that took over the address of one that ended is none.
fn at_once(origins: &Origins<'_>) -> bool {
    let spans: Vec<(KtimeNs, KtimeNs)> = origins
        .values()
        .filter_map(|traces| {
            let first = traces.iter().map(|t| t.dir().first).min()?;
            Some((first, traces.iter().map(|t| t.dir().last).max()?))
        })
        .collect();
    spans
        .iter()
        .enumerate()
        .any(|(i, a)| spans.iter().skip(i + 1).any(|b| a.0 <= b.1 && b.0 <= a.1))
}

fn finding(
    ctx: &Context<'_>,
    (netns, address): (NetnsId, IpAddr),
    origins: &Origins<'_>,
) -> Finding {
    let names: Vec<&str> = origins.keys().map(String::as_str).collect();
    let flows = drops::ranked(
        origins
            .values()
            .flatten()
            .map(|t| (t.dir().packets, t.flow.id)),
    );
    let mut evidence = Vec::new();
    for (name, traces) in origins {
        if let Some(t) = traces.first() {
            evidence.push(format!(
                "behind {name}: {} ({})",
                text::tuple(&t.tuple()),
                text::count(t.dir().packets, "packet"),
            ));
        }
    }
    Finding {
        id: OverlappingAddress::ID,
        severity: Severity::Info,
        summary: format!(
            "{address} lives behind {} of {} at the same time: flows of that address are kept \
             apart here by where they enter, not by their addresses.",
            names.join(" and "),
            text::place(ctx, netns),
        ),
        subject: Subject {
            flows,
            dev: None,
            address: Some(address),
        },
        evidence,
        next: format!(
            "give `dev` or `vni` together with `host {address}` in filters; if it is no overlap \
             on purpose (VPCs, tenants), two pods have one address: kubectl get pods -A -o wide | \
             grep -w {address}"
        ),
    }
}
