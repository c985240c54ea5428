//! A page for the ticket: findings first, then the ways of what was lost, then tables.

mod html;
mod markdown;
mod svg;
mod tables;
#[cfg(test)]
mod tests;

pub use html::html;
pub use markdown::markdown;

use super::{Limit, text::Text};
use crate::{
    diagnose::{Finding, Intent},
    event::KtimeNs,
    model::{Direction, Flow, Outcome, Snapshot},
};

/// Ways that are drawn.
const DRAWN: usize = 12;
/// Rows of a table.
const ROWS: usize = 200;

/// What a page is about.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Names, times, and a style without colour.
    pub text: Text<'a>,
    /// Flows, drops, loss.
    pub snapshot: &'a Snapshot,
    /// What is wrong.
    pub findings: &'a [Finding],
    /// What the network is meant to do: findings were judged by it.
    pub intent: &'a Intent,
    /// What the kernel did not let us see.
    pub limits: &'a [Limit],
    /// The filter of the page; empty for none.
    pub filter: &'a str,
    /// The file.
    pub file: &'a super::schema::File<'a>,
    /// What the file lacks, one sentence.
    pub lacks: Option<&'a str>,
    /// When packets were dropped, and how many then.
    pub drops: &'a [(KtimeNs, u64)],
}

impl Page<'_> {
    /// Title of the page.
    fn title(&self) -> String {
        format!("tracer: {}", self.text.cx.inventory.node)
    }

    /// What the page is about: name and value.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let (cx, s) = (&self.text.cx, self.snapshot);
        let seconds = s.at.since(s.started) as f64 / 1e9;
        let mut facts = vec![
            ("Node", cx.inventory.node.clone()),
            ("Kernel", format!("Linux {}", cx.inventory.kernel)),
            (
                "Recorded",
                format!("{}, {seconds:.1} s", cx.clock.rfc3339(s.started)),
            ),
            ("Packets", self.file.packets.to_string()),
            ("Flows", s.flows.len().to_string()),
        ];
        let recorded = self.file.filter.map(str::to_owned);
        for (name, value) in [
            ("Recorded filter", recorded),
            ("Filter", given(self.filter)),
        ] {
            facts.extend(value.map(|v| (name, v)));
        }
        facts.push(("File", self.file.name.to_owned()));
        facts
    }

    /// The flows of which packets were lost, or that had no answer.
    fn troubled(&self) -> Vec<&Flow> {
        let flows = self.snapshot.flows.iter().map(|f| &**f);
        flows.filter(|f| in_trouble(f)).collect()
    }

    /// What tracer itself did not see, one sentence each.
    fn not_seen(&self) -> Vec<String> {
        let l = self.snapshot.loss;
        let mut all: Vec<String> = self.lacks.map(str::to_owned).into_iter().collect();
        for (n, what) in [
            (
                self.file.packets_lost,
                "packets are not in the file: the recording could not keep up",
            ),
            (
                l.events,
                "records were not sent; totals stay exact, moments may be missing",
            ),
            (l.evicted, "flows or drops found their table full"),
            (l.undecoded, "packets or records were not decoded"),
            (
                l.untracked,
                "packets are in no flow: their headers could not be read, or a program was skipped",
            ),
            (
                l.lookups,
                "route lookups were not seen: a table may be missing, or a local sender without a route",
            ),
        ] {
            if n > 0 {
                all.push(format!("{n} {what}."));
            }
        }
        all.extend(self.limits.iter().map(|l| l.text.clone()));
        all
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn in_trouble(f: &Flow) -> bool {
    let bad = |d: &Direction| !d.drops.is_empty() || matches!(d.outcome, Some(Outcome::Dropped(_)));
    bad(&f.forward)
        || bad(&f.reply)
        || !f.route_failures.is_empty()
        || matches!(f.forward.outcome, Some(Outcome::Unanswered(_)))
}
