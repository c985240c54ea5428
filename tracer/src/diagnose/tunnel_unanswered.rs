//! Encapsulated packets leave and nothing comes back from the endpoint, or arrive and find no
//! device for their VNI.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause},
    left_unanswered::is_one_way,
    signs::Sign,
    text,
    trace::{PATIENCE_NS, SILENT_PACKETS, Trace},
};
use crate::{
    event::{Dir, Encap, EncapKey, EncapKind, KtimeNs, NetnsId},
    inventory::{LinkKind, Netns},
    model::Hop,
};

/// See the module.
pub(super) struct TunnelUnanswered;

impl Rule for TunnelUnanswered {
    const ID: &'static str = "tunnel-unanswered";
    const ABOUT: &'static str = "encapsulated packets leave and none return, or find no VNI here";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let mut found = unmatched(ctx);
        if ctx.silence_counts() {
            found.extend(unanswered(ctx));
        }
        found
    }
}

/// What was sent to one endpoint in one VNI.
#[derive(Default)]
struct Sent<'a> {
    traces: Vec<Trace<'a>>,
    packets: u64,
    first: Option<KtimeNs>,
    encap: Option<Encap>,
}

fn encap_hops<'a>(trace: &Trace<'a>, dir: Dir) -> impl Iterator<Item = (&'a Hop, Encap)> {
    trace
        .hops()
        .filter(move |h| h.dir == dir)
        .filter_map(|h| Some((h, *h.encap.as_deref()?)))
}

fn unanswered(ctx: &Context<'_>) -> Vec<Finding> {
    let mut sent: BTreeMap<(NetnsId, EncapKey, IpAddr), Sent<'_>> = BTreeMap::new();
    let mut heard: Vec<(NetnsId, EncapKey, IpAddr)> = Vec::new();
    for trace in ctx.traces_with(Sign::Tunnelled.into()) {
        heard.extend(encap_hops(&trace, Dir::In).map(|(h, e)| (h.netns, e.key, e.src)));
        for (hop, encap) in encap_hops(&trace, Dir::Out) {
            let s = sent.entry((hop.netns, encap.key, encap.dst)).or_default();
            s.packets = s.packets.saturating_add(hop.counters.packets);
            s.first = s.first.into_iter().chain([hop.counters.first]).min();
            s.encap = Some(encap);
            s.traces.push(trace);
        }
    }
    sent.retain(|(netns, key, remote), s| {
        let fixed = has_vni(ctx.netns(*netns), *key) == Some(true);
        let answers = |(n, k, r): &(NetnsId, EncapKey, IpAddr)| {
            // collect-metadata devices choose the VNI for each packet: any answers
            n == netns && r == remote && k.kind == key.kind && (!fixed || k.vni == key.vni)
        };
        let waited = s
            .first
            .is_some_and(|f| ctx.snapshot.at.since(f) >= PATIENCE_NS);
        // the peer may answer without the tunnel
        let silent = s
            .traces
            .iter()
            .all(|t| t.back().packets == 0 && !is_one_way(ctx, t));
        s.packets >= SILENT_PACKETS && waited && silent && !heard.iter().any(answers)
    });
    sent.into_iter()
        .filter_map(|((netns, _, remote), s)| s.finding(ctx, netns, remote, &heard))
        .collect()
}

impl Sent<'_> {
    fn finding(
        self,
        ctx: &Context<'_>,
        netns: NetnsId,
        remote: IpAddr,
        heard: &[(NetnsId, EncapKey, IpAddr)],
    ) -> Option<Finding> {
        let encap = self.encap?;
        let kind = encap.key.kind;
        let flows = drops::ranked(self.traces.iter().map(|t| (t.dir().packets, t.flow.id)));
        let exit = self.traces.first()?.exit()?;
        let dev = text::dev_name(ctx, exit.netns, exit.dev);
        let vni = encap
            .key
            .vni
            .map_or(String::new(), |v| format!(" with VNI {v}"));
        let other = heard
            .iter()
            .filter(|(n, k, r)| *n == netns && *r == remote && k.kind == kind)
            .find_map(|(_, k, _)| Some((*k, k.vni?)));
        let mut evidence = vec![format!(
            "outer {} -> {remote}{}, {}, nothing back from {remote}{vni}",
            encap.src,
            if encap.dport == 0 {
                String::new()
            } else {
                format!(" udp port {}", encap.dport)
            },
            text::count(self.packets, "packet"),
        )];
        if let Some((_, other)) = other {
            evidence.push(format!(
                "{remote} does send {kind} packets, with VNI {other}"
            ));
        }
        evidence.extend(text::samples(ctx, &flows));
        // one-way UDP is possible, an unanswered SYN or ping is not
        let certain = self
            .traces
            .iter()
            .any(|t| t.is_tcp() || t.tuple().is_echo());
        let why = match other {
            // another tunnel of this node to the same endpoint
            Some((key, vni)) if has_vni(ctx.netns(netns), key) == Some(true) => format!(
                "it does answer in VNI {vni}, so the way there is open and this VNI or a policy on \
                 that node is at fault"
            ),
            Some((_, vni)) => format!("that node uses VNI {vni}"),
            None => match encap.dport {
                0 => format!(
                    "a firewall in between must let IP protocol {} pass",
                    proto(kind)
                ),
                port => format!("a firewall in between may stop UDP port {port}"),
            },
        };
        let filter = match encap.dport {
            0 => format!("host {remote} and ip proto {}", proto(kind)),
            port => format!("host {remote} and udp port {port}"),
        };
        Some(Finding {
            id: TunnelUnanswered::ID,
            severity: if certain {
                Severity::Error
            } else {
                Severity::Warning
            },
            summary: format!(
                "{} {kind} packets{vni} left {} by {dev} for the tunnel endpoint {remote}, and none \
                 came back: {why}.",
                self.packets,
                text::place(ctx, netns),
            ),
            subject: Subject {
                flows,
                dev: Some((exit.netns, exit.dev)),
                address: Some(remote),
            },
            evidence,
            next: format!(
                "ping -c3 {remote}; then on {remote}: tcpdump -ni any '{filter}' (they arrive: its \
                 own firewall or VNI; they do not: security group or network in between)"
            ),
        })
    }
}

fn proto(kind: EncapKind) -> u8 {
    match kind {
        EncapKind::Ipip => 4,
        EncapKind::Ip6 => 41,
        EncapKind::Gre => 47,
        EncapKind::Vxlan | EncapKind::Geneve => 17,
    }
}

/// A device for the VNI: `Some(true)` with exactly this one, `Some(false)` when a
/// collect-metadata device takes any, `None` when there is no device for it.
fn has_vni(ns: Option<&Netns>, key: EncapKey) -> Option<bool> {
    let of_kind = |kind: &LinkKind| {
        matches!(
            (kind, key.kind),
            (LinkKind::Vxlan { .. }, EncapKind::Vxlan)
                | (LinkKind::Geneve { .. }, EncapKind::Geneve)
        )
    };
    let mut external = None;
    for link in ns?.links.values().filter(|l| of_kind(&l.kind)) {
        match link.kind.vni() {
            vni @ Some(_) if vni == key.vni => return Some(true),
            None => external = Some(false),
            Some(_) => {}
        }
    }
    external
}

/// Packets that arrived encapsulated and ended for want of a device with their VNI.
fn unmatched(ctx: &Context<'_>) -> Vec<Finding> {
    let mut cases: BTreeMap<(NetnsId, EncapKey, IpAddr), Vec<Trace<'_>>> = BTreeMap::new();
    for trace in ctx.traces_with(Sign::Tunnelled.into()) {
        let mut hops = trace.hops();
        let (Some(hop), None) = (hops.next(), hops.next()) else {
            continue;
        };
        let Some(encap) = hop
            .encap
            .as_deref()
            .copied()
            .filter(|e| hop.dir == Dir::In && is_for_us(ctx, hop, e))
        else {
            continue;
        };
        let vxlan_like = matches!(encap.key.kind, EncapKind::Vxlan | EncapKind::Geneve);
        let dropped = trace
            .dir()
            .drops
            .iter()
            .any(|drop| drops::cause(ctx, &drops::Hit { trace, drop }) == Cause::NoVni);
        let no_device = vxlan_like && has_vni(ctx.netns(hop.netns), encap.key).is_none();
        if dropped || no_device && hop.counters.packets >= SILENT_PACKETS {
            cases
                .entry((hop.netns, encap.key, encap.src))
                .or_default()
                .push(trace);
        }
    }
    cases
        .into_iter()
        .filter_map(|((n, k, r), t)| no_device(ctx, n, (k, r), &t))
        .collect()
}

/// Addressed to this node, not just passing.
fn is_for_us(ctx: &Context<'_>, hop: &Hop, encap: &Encap) -> bool {
    ctx.netns(hop.netns)
        .is_some_and(|ns| ns.owner(encap.dst).is_some())
}

fn no_device(
    ctx: &Context<'_>,
    netns: NetnsId,
    (key, remote): (EncapKey, IpAddr),
    traces: &[Trace<'_>],
) -> Option<Finding> {
    let entry = traces.first()?.entry()?;
    let kind = key.kind;
    let vni = key.vni.map_or("no VNI".into(), |v| format!("VNI {v}"));
    let here: Vec<String> = ctx
        .netns(netns)?
        .links
        .values()
        .filter_map(|l| Some(format!("{} has VNI {}", l.name, l.kind.vni()?)))
        .collect();
    let have = if here.is_empty() {
        format!("there is no {kind} device")
    } else {
        here.join(", ")
    };
    let flows = drops::ranked(traces.iter().map(|t| (t.dir().packets, t.flow.id)));
    let mut evidence = vec![have.clone()];
    evidence.extend(text::samples(ctx, &flows));
    Some(Finding {
        id: TunnelUnanswered::ID,
        severity: Severity::Error,
        summary: format!(
            "{} from {remote} with {vni} arrive on {} of {} and no device here takes them: {have}.",
            text::count(
                traces.iter().map(|t| t.dir().packets).sum(),
                &format!("{kind} packet")
            ),
            text::dev_name(ctx, entry.netns, entry.dev),
            text::place(ctx, netns),
        ),
        subject: Subject {
            flows,
            dev: Some((entry.netns, entry.dev)),
            address: Some(remote),
        },
        evidence,
        next: format!(
            "{}ip -d link show type {kind}; the same on {remote}: both ends need the same VNI",
            text::in_netns(ctx, netns),
        ),
    })
}
