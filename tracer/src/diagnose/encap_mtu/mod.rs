//! Packets too big for a tunnel or for the network under it.

mod beyond;

use super::{
    Context, Finding, Rule, Severity, Subject,
    drops::{self, Cause, Hit},
    text,
    trace::Trace,
    tunnel_in_native_mode::is_overlay,
};
use crate::{
    event::{Dir, EncapKind, IcmpSample, Ifindex, KtimeNs, NetnsId},
    inventory::{Link, LinkKind, Netns, Role},
};

/// See the module.
pub(super) struct EncapMtu;

impl Rule for EncapMtu {
    const ID: &'static str = "encap-mtu";
    const ABOUT: &'static str = "packets are too big for a tunnel or for the network under it";
    const HIDES: &'static [&'static str] = &["left-unanswered", "tunnel-unanswered"];
    // where nothing comes back at all, large packets are not what is wrong
    const SHOWN_AFTER: Option<&'static str> = Some("tunnel-unanswered");

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let mut found = too_big(ctx);
        found.extend(beyond::swallowed(ctx));
        let latent: Vec<Finding> = latent(ctx)
            .into_iter()
            .filter(|(devs, _)| {
                !found
                    .iter()
                    .any(|f| f.subject.dev.is_some_and(|d| devs.contains(&d)))
            })
            .map(|(_, finding)| finding)
            .collect();
        found.extend(latent);
        found
    }
}

/// Bytes that the encapsulation adds: outer IP, UDP and tunnel headers, inner Ethernet header.
pub(super) fn overhead(kind: EncapKind, outer_ipv6: bool) -> u32 {
    let ip = if outer_ipv6 { 40 } else { 20 };
    ip + match kind {
        EncapKind::Vxlan | EncapKind::Geneve => 30,
        EncapKind::Ipip | EncapKind::Ip6 => 0,
        EncapKind::Gre => 4,
    }
}

/// Packets that this node dropped for their size, unless the sender went on with smaller ones.
fn too_big(ctx: &Context<'_>) -> Vec<Finding> {
    let hits: Vec<Hit<'_>> = ctx
        .drops(Cause::TooBig)
        .into_iter()
        .filter(|h| !adapted(ctx, &h.trace, h.drop.last))
        .collect();
    drops::grouped(hits, |h| {
        (h.netns(), egress(h), h.ipv6(), h.drop.encap.is_some())
    })
    .into_iter()
    .map(|((netns, dev, ipv6, outer), hits)| {
        let name = dev.map_or("the egress device".into(), |d| {
            text::dev_name(ctx, netns, d)
        });
        let link = dev.and_then(|d| ctx.link(netns, d));
        let mtu = hits.iter().find_map(|h| h.drop.mtu).or(link.map(|l| l.mtu));
        let largest = hits.iter().map(|h| h.drop.max_len).max().unwrap_or(0);
        let fits = link.and_then(|l| room(ctx.netns(netns)?, l));
        let limit = match (mtu, fits) {
            (Some(m), Some(fits)) if largest <= m && fits < m => {
                format!(" (MTU {m}, of which the network under it carries {fits})")
            }
            (Some(m), _) => format!(" (MTU {m})"),
            (None, _) => String::new(),
        };
        let mtu = mtu.map(|m| fits.map_or(m, |f| f.min(m)));
        let packets = drops::packets(&hits);
        let mut summary = format!(
            "{} to {} of up to {largest} bytes{} {} by {}",
            text::count(packets, "packet"),
            text::addresses(hits.iter().map(|h| h.trace.tuple().dst)),
            if outer {
                " with their encapsulation"
            } else {
                ""
            },
            if packets == 1 {
                format!("does not fit {name}{limit} and is dropped")
            } else {
                format!("do not fit {name}{limit} and are dropped")
            },
            text::place(ctx, netns),
        );
        summary += if told(&hits) {
            "; it told the sender so, but the sender does not send smaller ones (the ICMP error \
                 may not reach it)."
        } else {
            "; the sender is not told."
        };
        let next = next(ctx, netns, ipv6, (&hits, link, mtu));
        let mut finding = drops::finding(ctx, EncapMtu::ID, &hits, (summary, next));
        finding.subject.dev = dev.map(|d| (netns, d));
        finding
            .evidence
            .extend(hits.iter().find_map(|h| h.drop.encap).map(|e| {
                let n = overhead(e.key.kind, e.dst.is_ipv6());
                format!(
                    "{} over {} adds {n} bytes to each packet",
                    e.key.kind,
                    text::family(e.dst.is_ipv6())
                )
            }));
        finding
    })
    .collect()
}

fn next(
    ctx: &Context<'_>,
    netns: NetnsId,
    ipv6: bool,
    (hits, link, mtu): (&[Hit<'_>], Option<&Link>, Option<u32>),
) -> String {
    let icmp = if ipv6 {
        "ICMPv6 type 2"
    } else {
        "ICMP type 3 code 4"
    };
    let encap = hits.iter().find_map(|h| h.drop.encap);
    let overlay = netns_overlay(ctx.netns(netns), encap.and_then(|e| e.key.vni));
    match (encap, overlay, mtu) {
        (Some(e), Some(l), Some(mtu)) => format!(
            "{}ip link set {} mtu {}, and the same or less in the pods (MTU setting of the CNI)",
            text::in_netns(ctx, netns),
            l.name,
            mtu.saturating_sub(overhead(e.key.kind, e.dst.is_ipv6())),
        ),
        _ => format!(
            "set the pods' MTU to {} (MTU setting of the CNI), and let {icmp} through to the pods",
            mtu.or(link.map(|l| l.mtu))
                .map_or("that of the tunnel".into(), |m| m.to_string()),
        ),
    }
}

/// Bytes of a packet that the network under a tunnel carries with the tunnel's header.
fn room(ns: &Netns, tunnel: &Link) -> Option<u32> {
    let (kind, ipv6) = encap_of(&tunnel.kind)?;
    Some(
        underlay(ns, tunnel)?
            .mtu
            .saturating_sub(overhead(kind, ipv6)),
    )
}

fn netns_overlay(ns: Option<&Netns>, vni: Option<u32>) -> Option<&Link> {
    let mut overlays = ns?.links.values().filter(|l| is_overlay(&l.kind));
    overlays.find(|l| l.kind.vni() == vni)
}

/// The device that the packets did not fit.
fn egress(hit: &Hit<'_>) -> Option<Ifindex> {
    hit.drop.route.and_then(|r| r.dev).or(hit.drop.place.dev)
}

/// The sender went on after the last loss, and is answered or repeats in pieces that fit: path MTU
/// discovery did its work.
fn adapted(ctx: &Context<'_>, trace: &Trace<'_>, lost: KtimeNs) -> bool {
    let answered = trace.back().packets > 0 && trace.back().last >= lost;
    trace.dir().last > lost && (answered || repeats_fit(ctx, trace, lost))
}

/// TCP repeats, and after the loss packets as large as the egress device takes left the node: what
/// they ran into is beyond it, and may be why nobody answers.
fn repeats_fit(ctx: &Context<'_>, trace: &Trace<'_>, lost: KtimeNs) -> bool {
    let Some(exit) = trace.exit() else {
        return false;
    };
    let full_size = |l: &Link| exit.max_len.saturating_mul(10) >= l.mtu.saturating_mul(9);
    trace.dir().retransmits > 0
        && exit.counters.last > lost
        && ctx.link(exit.netns, exit.dev).is_some_and(full_size)
}

fn is_too_big(icmp: &IcmpSample) -> bool {
    let ipv4 = (icmp.icmp_type, icmp.code) == (3, 4);
    if icmp.about.is_ipv6() {
        icmp.icmp_type == 2
    } else {
        ipv4
    }
}

fn told(hits: &[Hit<'_>]) -> bool {
    hits.iter()
        .any(|h| h.trace.dir().icmp.iter().any(is_too_big))
}

/// Tunnels that take packets larger than the network under them can carry with the overhead, each
/// with the devices concerned.
fn latent(ctx: &Context<'_>) -> Vec<([(NetnsId, Ifindex); 2], Finding)> {
    let Some(ns) = ctx.inventory.home() else {
        return Vec::new();
    };
    ns.links
        .values()
        .filter(|l| l.up && is_overlay(&l.kind))
        .filter_map(|tunnel| {
            let (kind, ipv6) = encap_of(&tunnel.kind)?;
            let under = underlay(ns, tunnel)?;
            let extra = overhead(kind, ipv6);
            (tunnel.mtu + extra > under.mtu).then_some(())?;
            let why = large_traffic(ctx, ns, tunnel, under.mtu.saturating_sub(extra))?;
            let finding = Finding {
                id: EncapMtu::ID,
                severity: Severity::Warning,
                summary: format!(
                    "The tunnel {} of {} takes packets of {} bytes, but with {extra} bytes of {kind} \
                     header they do not fit {} (MTU {}): large packets are fragmented or dropped.",
                    tunnel.name, text::place(ctx, ns.id), tunnel.mtu, under.name, under.mtu,
                ),
                subject: Subject { dev: Some((ns.id, tunnel.ifindex)), ..Subject::default() },
                evidence: vec![why],
                next: format!(
                    "ip link set {} mtu {}, and the same or less in the pods (MTU setting of the CNI)",
                    tunnel.name, under.mtu.saturating_sub(extra),
                ),
            };
            Some(([(ns.id, tunnel.ifindex), (ns.id, under.ifindex)], finding))
        })
        .collect()
}

fn encap_of(kind: &LinkKind) -> Option<(EncapKind, bool)> {
    match kind {
        LinkKind::Vxlan { local, remote, .. } => Some((
            EncapKind::Vxlan,
            local.or(*remote).is_some_and(|a| a.is_ipv6()),
        )),
        LinkKind::Geneve { remote, .. } => {
            Some((EncapKind::Geneve, remote.is_some_and(|a| a.is_ipv6())))
        }
        LinkKind::Tunnel { kind, .. } => match kind.as_str() {
            "ipip" => Some((EncapKind::Ipip, false)),
            "sit" => Some((EncapKind::Ip6, false)),
            "gre" => Some((EncapKind::Gre, false)),
            _ => None,
        },
        _ => None,
    }
}

/// The lower device, or the one with the tunnel's local address.
fn underlay<'n>(ns: &'n Netns, tunnel: &Link) -> Option<&'n Link> {
    let local = match &tunnel.kind {
        LinkKind::Vxlan { local, .. } | LinkKind::Tunnel { local, .. } => *local,
        _ => None,
    };
    tunnel
        .lower
        .and_then(|d| ns.links.get(&d))
        .or_else(|| ns.owner(local?))
        .filter(|l| l.role != Role::Loopback)
}

/// Something can send that much: packets were seen, or pods have such an MTU and neither the routes
/// over the tunnel nor those in the pods hold them back. Collect-metadata tunnels (Cilium, OVS)
/// have a large MTU on purpose.
fn large_traffic(ctx: &Context<'_>, ns: &Netns, tunnel: &Link, fits: u32) -> Option<String> {
    let seen = ctx
        .traces()
        .flat_map(|t| t.hops().filter(|h| h.dir == Dir::Out).collect::<Vec<_>>())
        .filter(|h| (h.netns, h.dev) == (ns.id, tunnel.ifindex))
        .map(|h| h.max_len)
        .max();
    if let Some(len) = seen.filter(|n| *n > fits) {
        return Some(format!(
            "packets of {len} bytes went into {}, {fits} would fit",
            tunnel.name
        ));
    }
    let external = matches!(
        tunnel.kind,
        LinkKind::Vxlan { vni: None, .. } | LinkKind::Geneve { vni: None, .. }
    );
    let mut routes = ns.routes.iter().filter(|r| {
        !r.dst.address.is_multicast()
            && r.table != 255
            && r.protocol != 2
            && r.nexthops.iter().any(|n| n.dev == Some(tunnel.ifindex))
    });
    let unlimited = routes.any(|r| r.mtu.is_none_or(|m| m > fits));
    let pod = ns
        .links
        .values()
        .find(|l| l.role == Role::Pod && l.mtu > fits && !pod_limited(ctx, ns, l));
    let pod = pod.filter(|_| !external && unlimited)?;
    Some(format!(
        "{} has MTU {}, {fits} would fit",
        pod.name, pod.mtu
    ))
}

/// The pod's own device or routes keep its packets small, whatever the node's end says.
fn pod_limited(ctx: &Context<'_>, ns: &Netns, link: &Link) -> bool {
    let Some((netns, far)) = ctx.inventory.peer(ns.id, link.ifindex) else {
        return false;
    };
    far.mtu < link.mtu
        || ctx
            .netns(netns)
            .is_some_and(|pod| pod.routes.iter().any(|r| r.mtu.is_some()))
}
