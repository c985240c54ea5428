//! A whole session as text: the verdict first, then why, then what it was about.

use super::{Style, Text, Tone, count, finding, flow};
use crate::{
    model::Loss,
    view::{
        check::{Judgement, ProbeReport, Tally, Verdict},
        intent,
        json::Session,
    },
};

/// Flows shown when more are not asked for.
const FLOWS: usize = 10;

/// Verdict, what is meant as far as it is known, findings, flows, loss. `all` shows every flow.
pub fn report(t: &Text<'_>, s: &Session<'_>, all: bool) -> String {
    let mut out = s.verdict.map(|v| verdict(t.style, v)).unwrap_or_default();
    if !s.intent.sources.is_empty() {
        out.push_str(&intent::line(t.style, t.cx.inventory, s.intent));
    }
    for f in s.findings {
        out.push('\n');
        out.push_str(&finding(t, f));
    }
    let flows = &s.snapshot.flows;
    let shown = if all {
        flows.len()
    } else {
        FLOWS.min(flows.len())
    };
    for f in &flows[..shown] {
        out.push('\n');
        out.push_str(&flow(t, f));
    }
    if shown < flows.len() {
        let more = (flows.len() - shown).to_string();
        out.extend(["\nand ", &more, " more flows (-v shows all)\n"]);
    }
    let strays = &s.snapshot.stray_drops;
    if !strays.is_empty() {
        out.push_str("\nin no flow:\n");
        for d in strays {
            let line = t.style.paint(Tone::Bad, &t.drop(d, d.count));
            out.extend(["  ", &line, "\n"]);
        }
    }
    for limit in s.limits {
        out.extend(["not seen: ", &t.style.sentence(&limit.text), "\n"]);
    }
    if let Some(line) = loss(s.snapshot.loss) {
        out.push_str(&t.style.paint(Tone::Warn, &line));
        out.push('\n');
    }
    out
}

/// The first reason on the line of the verdict, the others below, then what was sent; each with a
/// line feed.
pub fn verdict(style: Style, v: &Verdict) -> String {
    let (tone, word) = match v.outcome {
        Judgement::Pass => (Tone::Good, "PASS"),
        Judgement::Fail => (Tone::Bad, "FAIL"),
        Judgement::Inconclusive => (Tone::Warn, "INCONCLUSIVE"),
    };
    let mut out = match &v.run.name {
        Some(name) => format!("{}: {}", style.name(name), style.paint(tone, word)),
        None => style.paint(tone, word),
    };
    for (i, reason) in v.reasons.iter().enumerate() {
        let lead = if i == 0 { ": " } else { "  " };
        out.extend([lead, &style.sentence(reason), "\n"]);
    }
    if let Some(p) = &v.run.probe {
        out.extend(["probe: ", &style.sentence(&probe(p)), "\n"]);
    }
    out
}

/// What was sent, to whom, from where, and what came back.
fn probe(p: &ProbeReport) -> String {
    let what = if p.proto == "tcp" {
        "connection attempt"
    } else {
        "packet"
    };
    let mut parts = vec![format!(
        "sent {} to {}",
        count(p.sent.into(), what),
        p.target()
    )];
    if let Some(size) = p.size {
        parts.push(format!("{size} bytes each, not to be fragmented"));
    }
    if let Some(netns) = &p.netns {
        parts.push(format!("from namespace {netns}"));
    }
    parts.push(format!("{} answered", p.answered));
    for (errors, what) in [(&p.refused, "not sent"), (&p.errors, "came back")] {
        parts.extend(
            errors
                .iter()
                .map(|(errno, n)| format!("{n} {what}: {errno}")),
        );
    }
    parts.extend(p.failed.clone());
    parts.join("; ")
}

/// How many verdicts of each kind there are, with a line feed.
pub fn tally(style: Style, t: &Tally) -> String {
    let tone = match t.worst() {
        Judgement::Pass => Tone::Good,
        Judgement::Fail => Tone::Bad,
        Judgement::Inconclusive => Tone::Warn,
    };
    let all = count((t.pass + t.fail + t.inconclusive) as u64, "check");
    let line = format!(
        "{all}: {} passed, {} failed, {} inconclusive",
        t.pass, t.fail, t.inconclusive
    );
    format!("{}\n", style.paint(tone, &line))
}

/// One line when something was lost.
fn loss(l: Loss) -> Option<String> {
    if l.is_zero() {
        return None;
    }
    let parts = [
        (l.events, "event", "not sent"),
        (l.evicted, "flow or drop", "refused by a full table"),
        (l.undecoded, "packet or record", "not decoded"),
        (l.untracked, "packet", "in no flow"),
        (l.lookups, "route lookup", "not seen"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, noun, what)| format!("{} {what}", count(*n, noun)))
        .collect();
    Some(format!("tracer lost: {}", parts.join(", ")))
}

/// What a session of `watch` saw, for its last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets, both directions.
    pub packets: u64,
    /// Flows.
    pub flows: u64,
    /// Packets dropped.
    pub drops: u64,
    /// What was not shown.
    pub loss: Loss,
}

/// The last lines of `watch`, each with a line feed.
pub fn summary(s: &Summary) -> String {
    let (packets, flows) = (count(s.packets, "packet"), count(s.flows, "flow"));
    let loss = loss(s.loss).unwrap_or_else(|| "tracer lost nothing".to_owned());
    format!("{packets} in {flows}, {} dropped; {loss}\n", s.drops)
}
