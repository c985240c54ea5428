//! The node has pods and does not forward.

use super::super::{Context, Finding, Rule as _, Severity, Subject, forwarding_disabled, text};
use super::node;
use crate::inventory::Netns;

pub(super) fn check(ctx: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for ns in node::nodes(ctx) {
        for ipv6 in [false, true] {
            found.extend(off(ctx, ns, ipv6));
        }
    }
    found
}

fn off(ctx: &Context<'_>, ns: &Netns, ipv6: bool) -> Option<Finding> {
    let name = forwarding_disabled::sysctl(ipv6);
    let path = name.trim_start_matches("net.").replace('.', "/");
    let pods = node::routed_pods(ctx, ns, ipv6);
    if pods.is_empty() || ctx.sysctl(ns.id, &path) != Some(0) {
        return None;
    }
    let (address, dev) = *pods.first()?;
    Some(Finding {
        id: forwarding_disabled::ForwardingDisabled::ID,
        severity: Severity::Error,
        summary: format!(
            "{} has {} with {} addresses and drops what they send to others and what others send \
             to them, because {} forwarding is off.",
            text::place(ctx, ns.id),
            text::count(pods.len() as u64, "pod"),
            text::family(ipv6),
            text::family(ipv6),
        ),
        subject: Subject {
            dev: Some((ns.id, dev)),
            address: Some(address),
            ..Subject::default()
        },
        evidence: vec![
            format!("{name} = 0"),
            format!("pod {address} behind {}", text::dev_name(ctx, ns.id, dev)),
        ],
        next: forwarding_disabled::next(ctx, ns.id, ipv6),
    })
}
