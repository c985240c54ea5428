//! A VXLAN device has forwarding entries that cannot be right.

use super::{Context, Finding, Rule, Severity, Subject, text};
use crate::inventory::{FdbEntry, Link, LinkKind, Netns};

/// See the module.
pub(super) struct FdbInconsistent;

impl Rule for FdbInconsistent {
    const ID: &'static str = "fdb-inconsistent";
    const ABOUT: &'static str = "a VXLAN device has forwarding entries that contradict the node";

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let nodes = ctx.inventory.netns.values().filter(|ns| !ns.edge);
        nodes
            .flat_map(|ns| ns.fdb.iter().map(move |entry| (ns, entry)))
            .filter_map(|(ns, entry)| {
                let link = ns.links.get(&entry.dev).filter(|l| l.up)?;
                Some(finding(ctx, ns, (link, entry), &why(ns, link, entry)?))
            })
            .collect()
    }
}

/// What an entry contradicts. Packets that it takes are lost on the node, or dropped by the peer.
fn why(ns: &Netns, link: &Link, entry: &FdbEntry) -> Option<String> {
    let dst = entry.dst.filter(|d| !d.is_multicast())?;
    if let Some(own) = ns.owner(dst) {
        return Some(format!(
            "the tunnel endpoint {dst} is this node itself (an address of {})",
            own.name
        ));
    }
    if let LinkKind::Vxlan {
        local: Some(local), ..
    } = link.kind
        && local.is_ipv6() != dst.is_ipv6()
    {
        return Some(format!(
            "the tunnel endpoint {dst} is of another family than the device's local address {local}"
        ));
    }
    if let (Some(sent), Some(taken)) = (entry.vni, link.kind.vni()) {
        return Some(format!(
            "they leave with VNI {sent}, and the device takes only VNI {taken}"
        ));
    }
    // in whatever table: the underlay may be a VRF
    let routed = ns.routes.iter().any(|r| r.dst.contains(dst));
    (!routed).then(|| format!("no route leads to the tunnel endpoint {dst}"))
}

fn finding(ctx: &Context<'_>, ns: &Netns, (link, entry): (&Link, &FdbEntry), why: &str) -> Finding {
    let (name, mac) = (&link.name, &entry.mac);
    let dst = entry.dst.map_or(String::new(), |d| d.to_string());
    let vni = entry.vni.or(link.kind.vni());
    let vni = vni.map_or(String::new(), |v| format!(" (vni {v})"));
    let exec = text::in_netns(ctx, ns.id);
    Finding {
        id: FdbInconsistent::ID,
        severity: Severity::Warning,
        summary: format!(
            "Packets for {mac} on {name}{vni} of {} reach nobody: {why}.",
            text::place(ctx, ns.id),
        ),
        subject: Subject {
            dev: Some((ns.id, link.ifindex)),
            address: entry.dst,
            ..Subject::default()
        },
        evidence: vec![format!("entry: {mac} dev {name} dst {dst}")],
        next: format!(
            "{exec}bridge fdb show dev {name}; {exec}bridge fdb del {mac} dev {name} dst {dst}, then \
             {exec}bridge fdb append {mac} dev {name} dst ENDPOINT with the underlay address of the node \
             that has {mac}, or restart the CNI agent"
        ),
    }
}
