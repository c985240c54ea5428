//! The judgement of `tracer check`: pass, fail or inconclusive, and why.
//!
//! What it means (`docs/json.md` says the same to users):
//!
//! - **Positive evidence wins.** One packet that took the wrong device is a failure, whatever
//!   else was lost. A pass, on the other hand, needs a complete view: when events were lost, a
//!   table was full or this kernel hides what was asked for, it is inconclusive.
//! - **No matching traffic is inconclusive**, and so is less of it than `min_packets`: nothing was
//!   shown to work. A local sender's failed lookup counts as traffic, though no packet was made.
//! - **Without an expectation** a flow must not lose packets on this node, not stay unanswered
//!   (TCP and echo: any; UDP: from three packets, since much of UDP is one-way), and no finding of
//!   severity error may concern it.
//! - **An expectation** (`via`, `not_via`, `tunnel`, `no_tunnel`, `table`, `max_drops`) replaces
//!   that default: only what was asked for is judged. `fail_on` and `min_packets` only add to it.
//! - Path expectations are about the forward direction, those of `reply` about the answers, drops
//!   about both.
//! - **A run that a signal of somebody else cut short is inconclusive**: it saw a part.

mod expect;
mod flow;
mod path;
mod run;
mod verdict;

use std::{mem, sync::Arc};

pub use expect::{Expectations, PathExpect};
pub use run::{Ended, ProbeReport, Run};
pub use verdict::{Judgement, Tally, Verdict};

use super::{Limit, flow_name};
use crate::{
    diagnose::{Finding, Severity},
    inventory::{Inventory, table_name},
    model::{Flow, Loss, Outcome},
};
use flow::{count, has_traffic, is_asking, lost, reasons, too_big, unanswered, unknown};
use path::Answer;

/// Flows named in reasons of one kind; the rest is counted.
const NAMED: usize = 3;

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Flows that match the filter, turned so that `forward` is the direction that matches.
    pub flows: &'a [Arc<Flow>],
    /// Everything that was found; what concerns none of the flows is not judged.
    pub findings: &'a [Finding],
    /// Names and kinds of devices.
    pub inventory: &'a Inventory,
    /// What tracer lost.
    pub loss: Loss,
    /// What this kernel does not let us see.
    pub limits: &'a [Limit],
}

/// Judges the flows.
pub fn judge(expect: &Expectations, seen: &Evidence<'_>) -> Verdict {
    judge_run(expect, seen, Run::default())
}

/// Judges the flows that a run saw.
pub fn judge_run(expect: &Expectations, seen: &Evidence<'_>, run: Run) -> Verdict {
    let mut case = Case {
        expect,
        seen,
        failed: Vec::new(),
        open: Vec::new(),
    };
    let flows: Vec<&Flow> = seen
        .flows
        .iter()
        .map(|f| &**f)
        .filter(|f| has_traffic(f))
        .collect();
    if expect.is_explicit() {
        case.paths(&flows, &expect.forward);
        let replies: Vec<Flow> = flows.iter().map(|f| turned(f)).collect();
        case.reply_paths(&replies.iter().collect::<Vec<_>>());
        case.explicit_drops(&flows);
    } else {
        case.default_judgement(&flows);
    }
    case.fail_on(&flows);
    case.probe(run.probe.as_ref());
    case.enough_traffic(&flows);
    case.complete_view(&flows);
    let Case {
        mut failed, open, ..
    } = case;
    let decided = !failed.is_empty();
    failed.extend(open);
    let (outcome, reasons) = if let Some(signal) = run.ended.and_then(Ended::cut_by) {
        // whatever was seen is a part of what was asked for
        failed.insert(
            0,
            format!("{signal} ended it early: the verdict is partial."),
        );
        (Judgement::Inconclusive, failed)
    } else if decided {
        (Judgement::Fail, failed)
    } else if !failed.is_empty() {
        (Judgement::Inconclusive, failed)
    } else {
        (Judgement::Pass, vec![all_well(expect, &flows)])
    };
    Verdict {
        outcome,
        reasons,
        run,
    }
}

/// The same flow seen from the other end: its answers are the direction that is judged.
fn turned(f: &Flow) -> Flow {
    let mut turned = f.clone();
    turned.id.tuple = turned.id.tuple.reversed();
    mem::swap(&mut turned.forward, &mut turned.reply);
    // these are about senders on this node, who sent the other direction
    turned.route_failures.clear();
    turned
}

fn all_well(expect: &Expectations, flows: &[&Flow]) -> String {
    let packets = flows
        .iter()
        .map(|f| f.forward.packets + f.reply.packets)
        .sum();
    let seen = format!(
        "{} in {}",
        count(packets, "packet"),
        count(flows.len() as u64, "flow")
    );
    let ignored = if expect.ignore.is_empty() {
        String::new()
    } else {
        format!(" ({} ignored)", expect.ignore.join(", "))
    };
    if expect.is_explicit() {
        format!("{seen}, all as expected.")
    } else {
        format!("{seen}, none lost, misrouted or unanswered{ignored}.")
    }
}

struct Case<'a> {
    expect: &'a Expectations,
    seen: &'a Evidence<'a>,
    /// What fails.
    failed: Vec<String>,
    /// What keeps it from passing.
    open: Vec<String>,
}

impl Case<'_> {
    fn paths(&mut self, flows: &[&Flow], e: &PathExpect) {
        let inv = self.seen.inventory;
        if !e.via.is_empty() {
            self.unknown_devices(&e.via);
            self.each(flows, |f| path::via(f, &e.via, inv));
        }
        if !e.not_via.is_empty() {
            self.each(flows, |f| path::not_via(f, &e.not_via, inv));
        }
        if let Some(which) = &e.tunnel {
            self.each(flows, |f| path::tunnel(f, which.as_deref(), inv));
        }
        if e.no_tunnel {
            self.each(flows, |f| path::no_tunnel(f, inv));
        }
        if let Some(table) = &e.table {
            self.each(flows, |f| path::table(f, table));
        }
    }

    /// The answers' paths; a flow whose answers never came has none to judge.
    fn reply_paths(&mut self, replies: &[&Flow]) {
        let e = &self.expect.reply;
        if !e.is_any() {
            return;
        }
        let seen = |f: &&&Flow| f.forward.packets > 0 || lost(f) > 0;
        let (answered, silent): (Vec<&Flow>, Vec<&Flow>) =
            replies.iter().copied().partition(|f| seen(&f));
        self.paths(&answered, e);
        // nothing answers an ICMP error; but when nothing was answered, nothing was shown
        let none = answered.is_empty();
        let silent = silent
            .iter()
            .filter(|f| none || is_asking(&f.id.tuple))
            .map(|f| {
                format!(
                    "{} was not seen: no answer to judge",
                    flow_name(&f.id.tuple)
                )
            });
        name_some(&mut self.open, silent.collect());
    }

    /// What the probe could not do.
    fn probe(&mut self, probe: Option<&ProbeReport>) {
        let Some(probe) = probe else { return };
        // without an expectation of its own, a packet that cannot be sent did not get through
        if self.expect.is_explicit() {
            self.open.extend(probe.refusals());
        } else {
            self.failed.extend(probe.refusals());
        }
        self.open.extend(probe.open());
    }

    /// Sorts the answers for each flow into failed and open, naming a few.
    fn each(&mut self, flows: &[&Flow], ask: impl Fn(&Flow) -> Answer) {
        let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
        for f in flows {
            match ask(f) {
                Answer::Yes => {}
                Answer::No(why) => wrong.push(format!("{} {why}", flow_name(&f.id.tuple))),
                Answer::Unknown(why) => unknown.push(format!("{} {why}", flow_name(&f.id.tuple))),
            }
        }
        name_some(&mut self.failed, wrong);
        name_some(&mut self.open, unknown);
    }

    fn unknown_devices(&mut self, names: &[String]) {
        for name in names {
            let mut links = self.seen.inventory.netns.values();
            if !links.any(|n| n.link_named(name).is_some()) {
                self.failed.push(format!("There is no device {name}."));
            }
        }
    }

    fn explicit_drops(&mut self, flows: &[&Flow]) {
        let Some(max) = self.expect.max_drops else {
            return;
        };
        let dropped: u64 = flows.iter().map(|f| lost(f)).sum();
        if dropped > max {
            let worst = flows.iter().max_by_key(|f| lost(f));
            let worst = worst.map(|f| flow_name(&f.id.tuple)).unwrap_or_default();
            let were = if dropped == 1 { "was" } else { "were" };
            self.failed.push(format!(
                "{} {were} dropped, {max} allowed; most of {worst}.",
                count(dropped, "packet")
            ));
        }
    }

    fn default_judgement(&mut self, flows: &[&Flow]) {
        // what is wrong comes before what it does to single flows, and says it for them
        let ignored = |f: &&Finding| self.expect.ignore.iter().any(|id| id == f.id);
        let findings = self.seen.findings.iter().filter(|f| concerns(f, flows));
        let (ignored, judged): (Vec<&Finding>, Vec<&Finding>) = findings.partition(ignored);
        let errors = judged.iter().filter(|f| f.severity == Severity::Error);
        self.failed
            .extend(errors.clone().map(|f| finding_reason(f)));
        let said: Vec<&Finding> = errors.chain(&ignored).copied().collect();
        let explained = |f: &Flow| said.iter().any(|e| names(e, f));
        let (mut dropped, mut silent, mut routeless) = (Vec::new(), Vec::new(), Vec::new());
        let mut open = Vec::new();
        for f in flows.iter().filter(|f| !explained(f)) {
            let name = flow_name(&f.id.tuple);
            // a sender without a route is dropped by the name of its errno: said below
            let no_packet = f.forward.packets == 0 && !f.route_failures.is_empty();
            if lost(f) > too_big(f) {
                dropped.push(format!(
                    "{name} lost {}: {}",
                    count(lost(f), "packet"),
                    reasons(f)
                ));
            } else if let Some(Outcome::Dropped(why)) = &f.forward.outcome
                && !no_packet
            {
                dropped.push(format!("{name} was dropped: {why}"));
            }
            if let Some(r) = f.route_failures.first() {
                let table = table_name(r.table);
                let error = super::errno_name(r.errno);
                routeless.push(format!(
                    "{name} found no route: {error}, last table {table}"
                ));
            }
            if unanswered(f) {
                let n = count(f.forward.packets, "packet");
                silent.push(format!("{name} was not answered: {n} left, none came back"));
            }
            if lost(f) == 0
                && let Some(why) = unknown(f)
            {
                open.push(format!("What became of {name} is not known: {why}"));
            }
        }
        name_some(&mut self.failed, dropped);
        name_some(&mut self.failed, routeless);
        name_some(&mut self.failed, silent);
        name_some(&mut self.open, open);
    }

    fn fail_on(&mut self, flows: &[&Flow]) {
        for f in self.seen.findings {
            let reason = finding_reason(f);
            let asked = self.expect.fail_on.iter().any(|id| id == f.id);
            if asked && concerns(f, flows) && !self.failed.contains(&reason) {
                self.failed.push(reason);
            }
        }
    }

    fn enough_traffic(&mut self, flows: &[&Flow]) {
        let packets: u64 = flows.iter().map(|f| f.forward.packets).sum();
        match self.expect.min_packets {
            _ if flows.is_empty() => self.open.push("No matching traffic was seen.".into()),
            Some(min) if packets < min => self.open.push(format!(
                "Only {} of matching traffic {} seen, {min} needed to judge.",
                count(packets, "packet"),
                if packets == 1 { "was" } else { "were" },
            )),
            Some(_) | None => {}
        }
    }

    fn complete_view(&mut self, flows: &[&Flow]) {
        let Loss {
            events,
            evicted,
            undecoded,
            untracked,
            lookups,
        } = self.seen.loss;
        let mut open = |n: u64, what: &str| {
            if n > 0 {
                self.open.push(format!(
                    "The view is incomplete: {}.",
                    what.replace('#', &n.to_string())
                ));
            }
        };
        open(events, "# events were lost");
        open(evicted, "# flows or drops found their table full");
        open(undecoded, "# packets or records could not be decoded");
        open(untracked, "# packets are in no flow");
        // of what passed, the packets themselves say how they were routed
        if flows.is_empty() || flows.iter().any(|f| f.id.scope.dev.is_none()) {
            let what = "# route lookups were not seen, and a local sender without a route may be among them";
            open(lookups, what);
        }
        for limit in self
            .seen
            .limits
            .iter()
            .filter(|l| self.expect.asks(l.hides))
        {
            self.open.push(limit.text.clone());
        }
    }
}

/// A finding about one of the flows, or about none in particular.
fn concerns(finding: &Finding, flows: &[&Flow]) -> bool {
    let subject = &finding.subject.flows;
    // with no flow to judge a finding says nothing about the traffic that was asked for
    (subject.is_empty() && !flows.is_empty()) || flows.iter().any(|f| names(finding, f))
}

/// The finding names the flow, in either direction: the caller may have turned it round.
fn names(finding: &Finding, f: &Flow) -> bool {
    finding.subject.flows.iter().any(|id| {
        f.id.scope == id.scope && (f.id.tuple == id.tuple || f.id.tuple == id.tuple.reversed())
    })
}

fn finding_reason(f: &Finding) -> String {
    format!("{}: {}", f.id, f.summary)
}

/// Adds the first few as sentences, and how many more there are.
fn name_some(to: &mut Vec<String>, mut what: Vec<String>) {
    let more = what.len().saturating_sub(NAMED);
    what.truncate(NAMED);
    let last = what.len().wrapping_sub(1);
    for (i, s) in what.into_iter().enumerate() {
        let and_more = if i == last && more > 0 {
            format!(" (and {more} more flows)")
        } else {
            String::new()
        };
        to.push(format!("{s}{and_more}."));
    }
}

#[cfg(test)]
mod tests;
