//! Packets left the node and nothing came back. The weakest finding: it says where the trouble is
//! not.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Context, Finding, Rule, Severity, Subject, drops,
    signs::Sign,
    text,
    trace::{SYN, Trace},
};
use crate::{
    event::{Ifindex, NetnsId, Proto},
    inventory::Role,
};

/// See the module.
pub(super) struct LeftUnanswered;

/// UDP services that never answer: tunnels (judged as such), syslog, `NetFlow`, sFlow, IPFIX,
/// statsd, SNMP traps, collectd, Graphite, GELF, DHCP, name discovery.
const ONE_WAY_PORTS: &[u16] = &[
    67, 68, 137, 138, 162, 514, 1900, 2003, 2055, 4729, 4739, 4789, 5353, 5355, 6081, 6343, 6514,
    8125, 8126, 8472, 9995, 9996, 12201, 25826,
];

impl Rule for LeftUnanswered {
    const ID: &'static str = "left-unanswered";
    const ABOUT: &'static str = "packets left the node and nothing came back";

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let mut cases: BTreeMap<(NetnsId, Ifindex, Option<IpAddr>, bool), Vec<Trace<'_>>> =
            BTreeMap::new();
        let unheard = ctx.traces_with(Sign::Unheard.into());
        for trace in unheard.filter(|t| is_unanswered(ctx, t)) {
            let Some(exit) = trace.exit() else { continue };
            let gateway = trace
                .decisions()
                .rfind(|d| d.decision.dev == Some(exit.dev))
                .and_then(|d| d.decision.gateway);
            // a SYN must be answered, a datagram need not be
            let key = (exit.netns, exit.dev, gateway, trace.is_tcp());
            cases.entry(key).or_default().push(trace);
        }
        cases
            .into_iter()
            .filter_map(|((netns, dev, via, tcp), t)| finding(ctx, (netns, dev), (via, tcp), &t))
            .collect()
    }
}

fn is_unanswered(ctx: &Context<'_>, trace: &Trace<'_>) -> bool {
    let Some(exit) = trace.exit() else {
        return false;
    };
    let outside = !matches!(
        ctx.role(exit.netns, exit.dev),
        Some(Role::Pod | Role::Loopback | Role::Bridge)
    );
    let asks = trace.is_tcp() || trace.tuple().proto == Proto::UDP || trace.tuple().is_echo();
    outside
        && asks
        && trace.is_lost_beyond(ctx)
        && ctx.is_from_here(trace)
        && !is_one_way(ctx, trace)
        && trace.dir().drops.is_empty()
}

/// No answer is expected.
pub(super) fn is_one_way(ctx: &Context<'_>, trace: &Trace<'_>) -> bool {
    let t = trace.tuple();
    let port = t.proto == Proto::UDP && ONE_WAY_PORTS.contains(&t.dport);
    port || ctx.is_for_many(trace.flow.id.scope.netns, t.dst)
}

fn finding(
    ctx: &Context<'_>,
    (netns, dev): (NetnsId, Ifindex),
    (gateway, tcp): (Option<IpAddr>, bool),
    traces: &[Trace<'_>],
) -> Option<Finding> {
    let first = traces.first()?;
    let name = text::dev_name(ctx, netns, dev);
    let flows = drops::ranked(traces.iter().map(|t| (t.dir().packets, t.flow.id)));
    let retransmits: u64 = traces.iter().map(|t| t.dir().retransmits).sum();
    let packets: u64 = traces.iter().map(|t| t.dir().packets).sum();
    let via = gateway.map_or(String::new(), |g| format!(" via {g}"));
    let answers = traces
        .iter()
        .any(|t| t.is_reply && t.dir().tcp_flags & SYN != 0);
    let summary = format!(
        "{} to {} left {} by {name}{via} and {}: this node did its part, they are lost beyond it or \
         nobody is there.",
        text::count(packets, "packet"),
        text::addresses(traces.iter().map(|t| t.tuple().dst)),
        text::place(ctx, netns),
        if answers {
            "the other side goes on asking"
        } else {
            "nothing came back"
        },
    );
    let mut evidence = Vec::new();
    if retransmits > 0 {
        evidence.push(format!("{retransmits} TCP retransmissions"));
    }
    let by_default = first
        .decisions()
        .any(|d| d.matched.as_deref() == Some("default"));
    let source = first.sent().src;
    if by_default
        && ctx
            .intent
            .pod_cidrs
            .iter()
            .any(|p| p.contains(first.tuple().dst))
    {
        evidence
            .push("the destination is a pod, and it is the default route that was taken".into());
    }
    evidence.extend(text::samples(ctx, &flows));
    let dst = first.tuple().dst;
    Some(Finding {
        id: LeftUnanswered::ID,
        severity: if tcp {
            Severity::Error
        } else {
            Severity::Warning
        },
        summary,
        subject: Subject {
            flows,
            dev: Some((netns, dev)),
            address: Some(dst),
        },
        evidence,
        next: format!(
            "on the next hop{via} or the destination's node: tcpdump -ni any host {dst}; it must know \
             the way back to {source}; mtr -n {dst} shows how far packets get"
        ),
    })
}
