//! Netfilter, a tc or XDP program, a cgroup or socket filter said no.

use super::{
    Context, Finding, Rule, Severity,
    drops::{self, Cause, Hit},
    text,
};
use crate::event::Proto;

/// See the module.
pub(super) struct PolicyDrop;

/// Up to this many drops of a connection that works are strays (late FINs, INVALID in conntrack).
const STRAYS: u64 = 3;

impl Rule for PolicyDrop {
    const ID: &'static str = "policy-drop";
    const ABOUT: &'static str = "netfilter, tc, XDP, cgroup or a socket filter drops packets";
    const HIDES: &'static [&'static str] = &["left-unanswered", "tunnel-unanswered", "no-listener"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let hits = ctx
            .drops(Cause::Policy)
            .into_iter()
            // discovery chatter that a host firewall drops is the firewall's job
            .filter(|h| !ctx.is_for_many(h.netns(), h.trace.tuple().dst))
            .collect();
        drops::grouped(hits, |h| (h.netns(), by(h), h.dev()))
            .into_iter()
            .map(|((netns, by, dev), hits)| {
                let name = dev.map(|d| text::dev_name(ctx, netns, d));
                let on = name.as_ref().map_or(String::new(), |n| format!(" on {n}"));
                let outer = outer(&hits);
                let summary = format!(
                    "{by}{on} drops {}{outer} to {} in {}.",
                    text::count(drops::packets(&hits), "packet"),
                    text::addresses(hits.iter().map(|h| h.trace.tuple().dst)),
                    text::place(ctx, netns),
                );
                let summary = if hits.iter().all(tells_mtu) {
                    format!(
                        "{summary} They are \"packet too big\" messages: without them the sender goes on \
                         with packets that are too large (path MTU discovery)."
                    )
                } else {
                    summary
                };
                let exec = text::in_netns(ctx, netns);
                let next = next(&exec, by, name.as_deref().unwrap_or("DEV"));
                let mut finding = drops::finding(ctx, Self::ID, &hits, (summary, next));
                if hits.iter().all(is_stray) {
                    finding.severity = Severity::Warning;
                    finding
                        .evidence
                        .push("the connections concerned work".into());
                }
                finding
            })
            .collect()
    }
}

/// "Fragmentation needed" or "packet too big".
fn tells_mtu(hit: &Hit<'_>) -> bool {
    let t = hit.trace.tuple();
    match t.icmp_type() {
        Some(3) => t.proto == Proto::ICMP && t.dport.to_be_bytes()[1] == 4,
        Some(2) => t.proto == Proto::ICMPV6,
        _ => false,
    }
}

fn is_stray(hit: &Hit<'_>) -> bool {
    hit.trace.is_connected() && hit.drop.count <= STRAYS
}

/// Who dropped it, from the reason and the function.
fn by(hit: &Hit<'_>) -> &'static str {
    let place = &hit.drop.place;
    match (&*place.reason, &*place.symbol) {
        (_, "nft_do_chain") => "An nftables rule",
        ("TC_INGRESS", _) => "A tc ingress program",
        ("TC_EGRESS", _) => "A tc egress program",
        ("XDP", _) | (_, "do_xdp_generic" | "veth_xdp_rcv_skb" | "veth_xdp_rcv_one") => {
            "An XDP program"
        }
        ("SOCKET_FILTER", _) => "A socket filter",
        ("BPF_CGROUP_EGRESS", _) => "A cgroup program",
        ("XFRM_POLICY", _) => "An IPsec policy",
        _ => "A netfilter rule",
    }
}

/// The encapsulation, when it is the outer packet that was dropped.
fn outer(hits: &[Hit<'_>]) -> String {
    hits.iter()
        .find_map(|h| h.drop.encap)
        .map_or(String::new(), |e| {
            format!(
                " inside {} ({} -> {}, port {})",
                e.key.kind, e.src, e.dst, e.dport
            )
        })
}

fn next(exec: &str, by: &str, dev: &str) -> String {
    match by {
        "A tc ingress program" => {
            format!(
                "{exec}tc filter show dev {dev} ingress; {exec}bpftool net show dev {dev}; with Cilium: cilium-dbg monitor --type drop"
            )
        }
        "A tc egress program" => {
            format!(
                "{exec}tc filter show dev {dev} egress; {exec}bpftool net show dev {dev}; with Cilium: cilium-dbg monitor --type drop"
            )
        }
        "An XDP program" => format!("{exec}bpftool net show dev {dev}"),
        "A socket filter" => format!("{exec}ss -0bp; {exec}ss -lnbp"),
        "A cgroup program" => "bpftool cgroup tree".into(),
        "An IPsec policy" => format!("{exec}ip xfrm policy; {exec}ip xfrm state"),
        _ => format!(
            "{exec}nft list ruleset | grep -nE 'drop|reject|policy drop' (iptables-legacy: \
             {exec}iptables-save -c); kubectl get networkpolicy -A"
        ),
    }
}
