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
//! - Path expectations are about the forward direction, drops about both.

mod expect;
mod path;
mod verdict;

use std::sync::Arc;

pub use expect::Expectations;
pub use verdict::{Judgement, Verdict};

use super::{Limit, flow_name};
use crate::{
    diagnose::{Finding, Severity},
    event::Proto,
    inventory::{Inventory, table_name},
    model::{Direction, Flow, Loss, Outcome},
};
use path::Answer;

/// UDP packets without an answer that make it worth a failure.
const UDP_UNANSWERED: u64 = 3;
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
        case.paths(&flows);
        case.explicit_drops(&flows);
    } else {
        case.default_judgement(&flows);
    }
    case.fail_on(&flows);
    case.enough_traffic(&flows);
    case.complete_view();
    let Case {
        mut failed, open, ..
    } = case;
    if !failed.is_empty() {
        failed.extend(open);
        return Verdict {
            outcome: Judgement::Fail,
            reasons: failed,
        };
    }
    if !open.is_empty() {
        return Verdict {
            outcome: Judgement::Inconclusive,
            reasons: open,
        };
    }
    Verdict {
        outcome: Judgement::Pass,
        reasons: vec![all_well(expect, &flows)],
    }
}

/// Something of it was seen on this node, or asked for on it.
fn has_traffic(f: &Flow) -> bool {
    f.forward.packets > 0 || f.reply.packets > 0 || !f.route_failures.is_empty() || lost(f) > 0
}

/// Packets dropped on this node, both directions.
fn lost(f: &Flow) -> u64 {
    let count = |d: &Direction| d.drops.iter().map(|x| x.count).sum::<u64>();
    count(&f.forward) + count(&f.reply)
}

/// Packets of directions that went on, dropped because they were too big: path MTU discovery
/// (RFC 1191, RFC 8201) costs the first ones, and the sender repeats them smaller. Where it does not
/// work the direction ends here, or a finding says so.
fn too_big(f: &Flow) -> u64 {
    let count = |d: &Direction| -> u64 {
        let ended = matches!(d.outcome, Some(Outcome::Dropped(_)));
        let drops = d
            .drops
            .iter()
            .filter(|x| !ended && &*x.place.reason == "PKT_TOO_BIG");
        drops.map(|x| x.count).sum()
    };
    count(&f.forward) + count(&f.reply)
}

/// The flow went unanswered in a way that means something for its protocol.
fn unanswered(f: &Flow) -> bool {
    let t = &f.id.tuple;
    let counts = match t.proto {
        Proto::TCP | Proto::SCTP => true,
        Proto::UDP => f.forward.packets >= UDP_UNANSWERED,
        _ => t.is_echo(),
    };
    counts && matches!(f.forward.outcome, Some(Outcome::Unanswered(_)))
}

/// `3 packets`, `1 packet`.
fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
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
    if expect.is_explicit() {
        format!("{seen}, all as expected.")
    } else {
        format!("{seen}, none lost, misrouted or unanswered.")
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
    fn paths(&mut self, flows: &[&Flow]) {
        let (e, inv) = (self.expect, self.seen.inventory);
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
        let errors: Vec<&Finding> = self
            .seen
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error && concerns(f, flows))
            .collect();
        self.failed.extend(errors.iter().map(|f| finding_reason(f)));
        let explained = |f: &Flow| errors.iter().any(|e| e.subject.flows.contains(&f.id));
        let (mut dropped, mut silent, mut routeless) = (Vec::new(), Vec::new(), Vec::new());
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
        }
        name_some(&mut self.failed, dropped);
        name_some(&mut self.failed, routeless);
        name_some(&mut self.failed, silent);
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

    fn complete_view(&mut self) {
        let Loss {
            events,
            evicted,
            undecoded,
            untracked,
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
    (subject.is_empty() && !flows.is_empty())
        || subject.iter().any(|id| {
            flows.iter().any(|f| {
                f.id.scope == id.scope
                    && (f.id.tuple == id.tuple || f.id.tuple == id.tuple.reversed())
            })
        })
}

fn finding_reason(f: &Finding) -> String {
    format!("{}: {}", f.id, f.summary)
}

/// Reasons of the flow's drops, the most frequent first, each once.
fn reasons(f: &Flow) -> String {
    let mut drops: Vec<_> = f.forward.drops.iter().chain(&f.reply.drops).collect();
    drops.sort_by_key(|d| std::cmp::Reverse(d.count));
    let mut names: Vec<String> = drops
        .iter()
        .map(|d| format!("{} at {}", d.place.reason, d.place.symbol))
        .collect();
    names.dedup();
    names.join(", ")
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
