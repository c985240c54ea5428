//! `tracer check`: wait for traffic, judge it.

mod file;
mod plan;
mod progress;
mod repeat;
mod wait;

use std::io::{self, Write as _};

use anyhow::Result;

use super::{
    USAGE,
    args::{CheckCommand, Format, Options},
    output::{self, Output},
};
use crate::{
    diagnose::Finding,
    inventory::Inventory,
    model::Snapshot,
    pipeline::{self, SessionConfig, SessionEnd},
    traffic::{Kind, Sent},
    view::{
        check::{Ended, Evidence, Judgement, ProbeReport, Run, Tally, Verdict, judge_run},
        escape,
        json::{self, Session},
        junit, select,
        text::{self, Style, Text},
    },
};
use plan::{Check, Plan, Probe, Usage};
pub(super) use repeat::Repeated;
use wait::Wait;

pub(super) fn run(options: &Options, command: &CheckCommand, mut out: Output) -> Result<u8> {
    let plan = match Plan::new(options, command) {
        Ok(plan) => plan,
        Err(e) => return usage(e),
    };
    let config = SessionConfig {
        duration: Some(plan.time),
        // an echo request needs a raw socket, which is opened later
        drop_root: plan.checks.iter().all(|check| check.probe.is_none()),
        ..options.session(plan.filter())
    };
    let mut wait = Wait::new(&plan, Some(&out), options.quiet);
    let end = pipeline::run(&config, &mut |event| wait.on_event(event));
    let sent = wait.finish()?;
    conclude(options, &plan, &end?, &sent, &mut out)
}

/// Says what is wrong with the arguments, when it is that.
pub(super) fn usage(e: anyhow::Error) -> Result<u8> {
    let usage = e.downcast::<Usage>()?;
    let mut err = io::stderr().lock();
    for (i, line) in usage.0.lines().enumerate() {
        let lead = if i == 0 { "tracer: " } else { "" };
        writeln!(err, "{lead}{}", escape::sentence(line, false))?;
    }
    Ok(USAGE)
}

/// The flows that a check is about.
fn selected(check: &Check, inventory: &Inventory, s: &Snapshot) -> Snapshot {
    select::select(&check.filter, inventory, s, &[]).0
}

/// What one check saw, and the judgement.
struct Judged<'a> {
    check: &'a Check,
    snapshot: Snapshot,
    findings: Vec<Finding>,
    verdict: Verdict,
}

/// Judges and prints.
fn conclude(
    options: &Options,
    plan: &Plan,
    end: &SessionEnd,
    sent: &[Option<Sent>],
    out: &mut Output,
) -> Result<u8> {
    let judged = judge_all(plan, end, sent);
    let sessions: Vec<Session<'_>> = judged
        .iter()
        .map(|j| Session {
            snapshot: &j.snapshot,
            findings: &j.findings,
            limits: &end.ready.limits,
            filter: &j.check.text,
            intent: &end.ready.intent,
            verdict: Some(&j.verdict),
        })
        .collect();
    let tally = Tally::of(judged.iter().map(|j| j.verdict.outcome));
    let clock = output::clock(end.ready.wall_offset_ns);
    let cx = out.context(&end.inventory, &clock);
    let t = Text {
        cx,
        style: out.style,
    };
    match (out.format, sessions.as_slice()) {
        (Format::Json, [only]) if !plan.many => json::write_report(&mut out.stdout, &cx, only)?,
        (Format::Json, all) => json::write_line(&mut out.stdout, &json::checks(&cx, all))?,
        (Format::Junit, all) => {
            let style = Style {
                color: false,
                width: None,
                ..out.style
            };
            out.print(&junit::junit(&Text { cx, style }, all)?)?;
        }
        (Format::Text, all) => {
            let mut shown: String = all
                .iter()
                .map(|s| told(options, &t, s, plan.many))
                .collect();
            if plan.many {
                shown.push_str(&text::tally(out.style, &tally));
            }
            out.print(&shown)?;
        }
    }
    out.stdout.flush()?;
    Ok(tally.worst().exit_code())
}

fn judge_all<'a>(plan: &'a Plan, end: &SessionEnd, sent: &[Option<Sent>]) -> Vec<Judged<'a>> {
    let checks = plan.checks.iter().enumerate();
    checks
        .map(|(i, check)| judged(check, end, sent.get(i).and_then(Option::as_ref)))
        .collect()
}

/// The whole report, or the verdict alone: when that was asked for, and of several checks for those
/// that passed.
fn told(options: &Options, t: &Text<'_>, s: &Session<'_>, many: bool) -> String {
    let Some(verdict) = s.verdict else {
        return String::new();
    };
    let all = options.verbose > 0;
    let passed = verdict.outcome == Judgement::Pass;
    if options.quiet || (many && passed && !all) {
        return text::verdict(t.style, verdict);
    }
    let gap = if many { "\n" } else { "" };
    text::report(t, s, all) + gap
}

fn judged<'a>(check: &'a Check, end: &SessionEnd, sent: Option<&Sent>) -> Judged<'a> {
    let (snapshot, findings) =
        select::select(&check.filter, &end.inventory, &end.snapshot, &end.findings);
    let run = Run {
        name: check.name.clone(),
        ended: Some(match end.ended {
            pipeline::Ended::Time => Ended::Time,
            pipeline::Ended::Told => Ended::Done,
            pipeline::Ended::Interrupt => Ended::Interrupt,
            pipeline::Ended::Terminate => Ended::Terminate,
            pipeline::Ended::Hangup => Ended::Hangup,
        }),
        probe: check
            .probe
            .as_ref()
            .map(|p| probe_report(p, &sent.cloned().unwrap_or_default())),
    };
    let evidence = Evidence {
        flows: &snapshot.flows,
        findings: &findings,
        inventory: &end.inventory,
        loss: snapshot.loss,
        limits: &end.ready.limits,
    };
    let verdict = judge_run(&check.expect, &evidence, run);
    Judged {
        check,
        snapshot,
        findings,
        verdict,
    }
}

fn probe_report(probe: &Probe, sent: &Sent) -> ProbeReport {
    let order = &probe.order;
    let (proto, port) = match order.kind {
        Kind::Echo => ("icmp", None),
        Kind::Udp(port) => ("udp", Some(port)),
        Kind::Tcp(port) => ("tcp", Some(port)),
    };
    ProbeReport {
        proto,
        to: order.to,
        port,
        netns: probe.netns.clone(),
        asked: order.count,
        sent: sent.packets,
        answered: sent.answers,
        size: order.size,
        refused: sent.refused.clone(),
        errors: sent.errors.clone(),
        failed: sent.failed.clone(),
    }
}

#[cfg(test)]
mod tests;
