//! What `tracer audit` says: the judgement, the intent that was used, findings.
//!
//! An error or a warning fails: a warning is what loses packets once the traffic comes that it is
//! about. What could not be read forbids a pass.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    ViewContext,
    check::{Judgement, Run, Verdict},
    intent, json, schema,
    text::{self, Text},
};
use crate::{
    diagnose::{AUDITED, Finding, Intent, Severity},
    inventory::Inventory,
};

/// `schema` of the object.
pub const AUDIT: &str = "tracer.audit/1";

/// Findings named in the reasons.
const NAMED: usize = 3;

/// What an audit saw and found.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// The configuration.
    pub inventory: &'a Inventory,
    /// What is meant.
    pub intent: &'a Intent,
    /// What is wrong.
    pub findings: &'a [Finding],
    /// What could not be read, one sentence each.
    pub limits: &'a [String],
}

/// Pass, fail or inconclusive.
pub fn judge(audit: &Audit<'_>) -> Verdict {
    let bad: Vec<&Finding> = audit
        .findings
        .iter()
        .filter(|f| f.severity != Severity::Info)
        .collect();
    let mut reasons: Vec<String> = bad
        .iter()
        .take(NAMED)
        .map(|f| format!("{}: {}", f.id, f.summary))
        .collect();
    if bad.len() > NAMED {
        reasons.push(format!("{} more findings.", bad.len() - NAMED));
    }
    let mut outcome = Judgement::Fail;
    if bad.is_empty() {
        outcome = Judgement::Pass;
        if is_empty(audit.inventory) {
            outcome = Judgement::Inconclusive;
            reasons.push("There is no device but lo here.".into());
        }
        for limit in audit.limits {
            outcome = Judgement::Inconclusive;
            reasons.push(format!("Not everything could be read: {limit}."));
        }
    }
    if outcome == Judgement::Pass {
        reasons.push(format!(
            "{}, nothing wrong in them.",
            looked_at(audit.inventory)
        ));
    }
    Verdict {
        outcome,
        reasons,
        run: Run::default(),
    }
}

fn is_empty(inventory: &Inventory) -> bool {
    let mut links = inventory.netns.values().flat_map(|n| n.links.values());
    links.all(|l| l.role == crate::inventory::Role::Loopback)
}

/// `9 devices, 24 routes and 6 rules`.
fn looked_at(inventory: &Inventory) -> String {
    let nodes = || inventory.netns.values().filter(|n| !n.edge);
    let pods = inventory.netns.values().filter(|n| n.edge).count();
    let devices: usize = nodes().map(|n| n.links.len()).sum();
    let routes: usize = nodes().map(|n| n.routes.len()).sum();
    let rules: usize = nodes().map(|n| n.rules.len()).sum();
    format!("{devices} devices, {routes} routes, {rules} rules and {pods} namespaces of pods")
}

/// Verdict, what was used to judge, findings, what could not be read.
pub fn report(t: &Text<'_>, audit: &Audit<'_>, verdict: &Verdict) -> String {
    let style = t.style;
    let mut out = text::verdict(style, verdict);
    out.push_str(&intent::line(style, audit.inventory, audit.intent));
    for finding in audit.findings {
        out.push('\n');
        out.push_str(&text::finding(t, finding));
    }
    for limit in audit.limits {
        out.extend(["not read: ", &style.sentence(limit), "\n"]);
    }
    out
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    node: &'a str,
    kernel: &'a str,
    netns: u32,
    verdict: &'static str,
    exit_code: u8,
    reasons: &'a [String],
    intent: schema::Intent<'a>,
    /// Ids that were looked for.
    audited: &'static [&'static str],
    findings: Vec<schema::Finding<'a>>,
    limits: &'a [String],
}

/// Writes one object and a line feed.
pub fn write_report(
    out: &mut impl Write,
    cx: &ViewContext<'_>,
    audit: &Audit<'_>,
    verdict: &Verdict,
) -> io::Result<()> {
    let report = Report {
        schema: AUDIT,
        node: &audit.inventory.node,
        kernel: &audit.inventory.kernel,
        netns: audit.inventory.home.0,
        verdict: verdict.outcome.name(),
        exit_code: verdict.exit_code(),
        reasons: &verdict.reasons,
        intent: intent::object(audit.inventory, audit.intent),
        audited: AUDITED,
        findings: audit
            .findings
            .iter()
            .map(|f| json::finding(cx, f))
            .collect(),
        limits: audit.limits,
    };
    json::write_line(out, &report)
}
