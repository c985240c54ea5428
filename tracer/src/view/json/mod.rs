//! Snapshot → [`schema`] → bytes.

use std::io::{self, Write};

use serde::Serialize;

use super::{ViewContext, check, context::Limit, flow_name, icmp, intent, schema};
use crate::{
    diagnose, event,
    model::{self, Direction, Outcome, Snapshot},
};

/// What one object for a whole session is made of.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// The flows to show, and everything that belongs to no flow.
    pub snapshot: &'a Snapshot,
    /// What is wrong.
    pub findings: &'a [diagnose::Finding],
    /// What this kernel does not let us see.
    pub limits: &'a [Limit],
    /// The filter as it was given; empty for none.
    pub filter: &'a str,
    /// What the network is meant to do.
    pub intent: &'a diagnose::Intent,
    /// The judgement, if there is one.
    pub verdict: Option<&'a check::Verdict>,
}

/// Writes one object and a line feed.
pub fn write_report(out: &mut impl Write, cx: &ViewContext<'_>, s: &Session<'_>) -> io::Result<()> {
    write_line(out, &report(cx, s))
}

/// Writes one object and a line feed: a line of NDJSON.
pub fn write_line(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// The object of a session.
pub fn report<'a>(cx: &ViewContext<'a>, s: &Session<'a>) -> schema::Report<'a> {
    let snapshot = s.snapshot;
    schema::Report {
        schema: if s.verdict.is_some() {
            schema::CHECK
        } else {
            schema::READ
        },
        node: &cx.inventory.node,
        kernel: &cx.inventory.kernel,
        netns: cx.inventory.home.0,
        started: cx.clock.rfc3339(snapshot.started),
        // whole milliseconds: finer than that is noise
        duration_s: (snapshot.at.since(snapshot.started) / 1_000_000) as f64 / 1000.0,
        filter: Some(s.filter).filter(|f| !f.is_empty()),
        intent: intent::object(cx.inventory, s.intent),
        verdict: s.verdict.map(verdict),
        findings: s.findings.iter().map(|f| finding(cx, f)).collect(),
        flows: snapshot.flows.iter().map(|f| flow(cx, f)).collect(),
        loss: loss(snapshot.loss),
        limits: s.limits.iter().map(|l| l.text.as_str()).collect(),
        stray_drops: snapshot.stray_drops.iter().map(|d| drop(cx, d)).collect(),
        neigh_failures: snapshot
            .neigh_failures
            .iter()
            .map(|(n, c)| neigh(cx, n, *c))
            .collect(),
    }
}

/// The verdicts of several checks, as one object.
pub fn checks<'a>(cx: &ViewContext<'a>, sessions: &[Session<'a>]) -> schema::Checks<'a> {
    let tally = check::Tally::of(sessions.iter().filter_map(|s| Some(s.verdict?.outcome)));
    schema::Checks {
        schema: schema::CHECKS,
        verdict: tally.worst().name(),
        exit_code: tally.worst().exit_code(),
        summary: schema::Tally {
            pass: tally.pass,
            fail: tally.fail,
            inconclusive: tally.inconclusive,
        },
        checks: sessions.iter().map(|s| report(cx, s)).collect(),
    }
}

fn verdict(v: &check::Verdict) -> schema::Verdict<'_> {
    schema::Verdict {
        verdict: v.outcome.name(),
        exit_code: v.exit_code(),
        reasons: &v.reasons,
        name: v.run.name.as_deref(),
        ended: v.run.ended.map(check::Ended::name),
        partial: v.run.is_partial(),
        probe: v.run.probe.as_ref().map(|p| schema::Probe {
            proto: p.proto,
            to: p.to,
            port: p.port,
            netns: p.netns.as_deref(),
            asked: p.asked,
            sent: p.sent,
            answered: p.answered,
            size: p.size,
            refused: &p.refused,
            errors: &p.errors,
            failed: p.failed.as_deref(),
        }),
    }
}

/// A finding.
pub fn finding<'a>(cx: &ViewContext<'_>, f: &'a diagnose::Finding) -> schema::Finding<'a> {
    schema::Finding {
        id: f.id,
        severity: f.severity.name(),
        summary: &f.summary,
        subject: schema::Subject {
            flow: f.subject.flows.first().map(|id| flow_name(&id.tuple)),
            dev: f.subject.dev.map(|(netns, dev)| cx.dev(netns, dev)),
            address: f.subject.address,
            flows: f.subject.flows.len(),
            names: cx
                .who_in(f)
                .into_iter()
                .map(|(of, owner)| schema::Named {
                    of,
                    owner: owner.clone(),
                })
                .collect(),
        },
        evidence: &f.evidence,
        next: &f.next,
    }
}

/// A flow.
pub fn flow(cx: &ViewContext<'_>, f: &model::Flow) -> schema::Flow {
    let (t, scope, fwd) = (&f.id.tuple, f.id.scope, &f.forward);
    let (sport, dport) = ports(t);
    let seen = |at| (fwd.packets > 0).then(|| cx.clock.rfc3339(at));
    schema::Flow {
        proto: t.proto.to_string(),
        src: t.src,
        sport,
        dst: t.dst,
        dport,
        scope: schema::Scope {
            netns: scope.netns.0,
            dev: scope.dev.map(|d| cx.dev(scope.netns, d)),
            vni: scope.vni,
        },
        packets: fwd.packets,
        bytes: fwd.bytes,
        outcome: fwd.outcome.as_ref().map_or("unknown", Outcome::name),
        reply: reply(cx, f),
        path: path(cx, fwd),
        drops: fwd.drops.iter().map(|d| drop(cx, d)).collect(),
        left_by: left_by(cx, scope.netns, fwd),
        why: why(fwd),
        icmp_type: t.icmp_type(),
        icmp_code: t.icmp_type().map(|_| t.dport as u8),
        first: seen(fwd.first),
        last: seen(fwd.last),
        retransmits: fwd.retransmits,
        resets: fwd.resets,
        icmp_errors: fwd.icmp.iter().map(|s| icmp_error(cx, s)).collect(),
        route_failures: f.route_failures.iter().map(route_failure).collect(),
        nat: f.far().as_ref().map(nat),
        names: schema::Names::new(&cx.who(f)),
    }
}

/// Source port or echo identifier, and destination port.
fn ports(t: &event::Tuple) -> (Option<u16>, Option<u16>) {
    let ports = (t.proto.has_ports() || t.is_echo()) && !t.later_fragment;
    (
        ports.then_some(t.sport),
        (ports && t.proto.has_ports()).then_some(t.dport),
    )
}

fn nat(t: &event::Tuple) -> schema::Nat {
    let (sport, dport) = ports(t);
    schema::Nat {
        src: t.src,
        sport,
        dst: t.dst,
        dport,
    }
}

fn reply(cx: &ViewContext<'_>, f: &model::Flow) -> schema::Reply {
    let d = &f.reply;
    schema::Reply {
        packets: d.packets,
        bytes: d.bytes,
        outcome: d.outcome.as_ref().map_or("unknown", Outcome::name),
        path: path(cx, d),
        drops: d.drops.iter().map(|x| drop(cx, x)).collect(),
        left_by: left_by(cx, f.id.scope.netns, d),
        why: why(d),
        retransmits: d.retransmits,
        resets: d.resets,
        icmp_errors: d.icmp.iter().map(|s| icmp_error(cx, s)).collect(),
    }
}

/// The name of the device in the direction's outcome. The outcome does not say in which namespace
/// the device is: the last hop that names it does.
pub(super) fn left_by(cx: &ViewContext<'_>, home: event::NetnsId, d: &Direction) -> Option<String> {
    let dev = match d.outcome.as_ref()? {
        Outcome::Forwarded(dev) | Outcome::Unanswered(dev) => *dev,
        Outcome::Delivered | Outcome::Dropped(_) | Outcome::Unknown(_) => return None,
    };
    let hop = d.path.iter().rev().find_map(|s| match s {
        model::Step::Hop(h) if h.dev == dev => Some(h.netns),
        model::Step::Hop(_) | model::Step::Route(_) => None,
    });
    Some(cx.dev(hop.unwrap_or(home), dev))
}

fn why(d: &Direction) -> Option<String> {
    match d.outcome.as_ref()? {
        Outcome::Dropped(reason) => Some(reason.to_string()),
        Outcome::Unknown(why) => Some(why.clone()),
        Outcome::Delivered | Outcome::Forwarded(_) | Outcome::Unanswered(_) => None,
    }
}

fn path(cx: &ViewContext<'_>, d: &Direction) -> Vec<schema::Step> {
    let mut netns = None;
    let mut steps = Vec::with_capacity(d.path.len());
    for (i, step) in d.path.iter().enumerate() {
        steps.push(match step {
            model::Step::Hop(h) => {
                netns = Some(h.netns);
                schema::Step::Hop(hop(cx, h))
            }
            model::Step::Route(r) => {
                // the namespace of a decision is the one it was taken in: that of the hop before
                let here = netns.or_else(|| next_netns(&d.path[i..]));
                schema::Step::Route(route(cx, here, r))
            }
        });
    }
    steps
}

pub(super) fn next_netns(path: &[model::Step]) -> Option<event::NetnsId> {
    path.iter().find_map(|s| match s {
        model::Step::Hop(h) => Some(h.netns),
        model::Step::Route(_) => None,
    })
}

fn hop(cx: &ViewContext<'_>, h: &model::Hop) -> schema::Hop {
    schema::Hop {
        dev: cx.dev(h.netns, h.dev),
        ifindex: h.dev.0,
        netns: h.netns.0,
        dir: dir(h.dir),
        packets: h.counters.packets,
        bytes: h.counters.bytes,
        encap: h.encap.as_deref().map(encap),
        tunnel_key: h.tunnel_key,
        vlan: Some(h.vlan).filter(|v| *v != 0),
        mark: h.mark,
        nat: h.wire.as_deref().map(nat),
        behind: cx.behind(h.netns, h.dev).cloned(),
    }
}

pub(super) fn dir(d: event::Dir) -> &'static str {
    match d {
        event::Dir::In => "in",
        event::Dir::Out => "out",
    }
}

/// An outer header.
pub(super) fn encap(e: &event::Encap) -> schema::Encap {
    schema::Encap {
        kind: e.key.kind.name(),
        vni: e.key.vni,
        src: e.src,
        dst: e.dst,
        dport: Some(e.dport).filter(|p| *p != 0),
    }
}

fn route(
    cx: &ViewContext<'_>,
    netns: Option<event::NetnsId>,
    r: &model::Decision,
) -> schema::Route {
    let d = &r.decision;
    schema::Route {
        family: if r.ipv6 { "ipv6" } else { "ipv4" },
        rule: r.rule,
        table: d.table,
        kind: d.kind.name(),
        gateway: d.gateway,
        dev: d
            .dev
            .map(|dev| cx.dev(netns.unwrap_or(cx.inventory.home), dev)),
        prefsrc: r.prefsrc,
        errno: d.errno,
        how: d.how.name(),
        matched: r.matched.clone(),
        metric: d.metric,
        pmtu: d.pmtu,
        bridged: d.bridged,
        redirected_by: r.redirected_by.clone(),
        source_check: d.source_check,
        changes: r.changes,
        changed: d.changed.map(|at| cx.clock.rfc3339(at)),
        why: r.why.clone(),
    }
}

/// Packets that ended at one place.
pub fn drop(cx: &ViewContext<'_>, d: &model::Drop) -> schema::Drop {
    let p = &d.place;
    schema::Drop {
        reason: p.reason.to_string(),
        count: d.count,
        dev: p
            .dev
            .map(|dev| cx.dev(p.netns.unwrap_or(cx.inventory.home), dev)),
        netns: p.netns.map(|n| n.0),
        symbol: p.symbol.to_string(),
        summary: (cx.meaning)(&p.reason, &p.symbol, d.route.map_or(0, |r| r.errno)),
        behind: cx.who_at(p).cloned(),
    }
}

/// An ICMP error.
pub fn icmp_error(cx: &ViewContext<'_>, s: &event::IcmpSample) -> schema::IcmpError {
    schema::IcmpError {
        from: s.from,
        icmp_type: s.icmp_type,
        code: s.code,
        summary: icmp::error(s).into_owned(),
        mtu: s.mtu,
        local: s.local,
        count: s.count,
        dev: cx.dev(s.netns, s.dev),
        dir: dir(s.dir),
    }
}

/// A failed lookup.
pub fn route_failure(r: &event::RouteFailure) -> schema::RouteFailure {
    schema::RouteFailure {
        flow: flow_name(&r.tuple),
        netns: r.netns.0,
        table: r.table,
        errno: r.errno,
        count: r.count,
        pid: r.pid,
        comm: r.comm.clone(),
    }
}

/// A next hop that does not answer.
pub fn neigh(cx: &ViewContext<'_>, n: &event::NeighFailure, count: u64) -> schema::Neigh {
    schema::Neigh {
        address: n.address,
        dev: cx.dev(n.netns, n.dev),
        netns: n.netns.0,
        queued: n.queued,
        count,
    }
}

/// What was not shown.
pub fn loss(l: model::Loss) -> schema::Loss {
    schema::Loss {
        events: l.events,
        evicted: l.evicted,
        undecoded: l.undecoded,
        untracked: l.untracked,
        lookups: l.lookups,
    }
}

#[cfg(test)]
mod tests;
