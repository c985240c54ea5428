//! What `tracer audit` says: the judgement, the intent that was used, findings.
//!
//! An error or a warning fails: a warning is what loses packets once the traffic comes that it is
//! about. What could not be read forbids a pass.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    ViewContext,
    check::{Judgement, Run, Verdict},
    json, schema,
    text::{self, Style},
};
use crate::{
    diagnose::{self, AUDITED, Finding, Intent, Severity, guess_cni},
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

/// The CNI: named by its own files, or guessed from devices and rules.
fn cni(audit: &Audit<'_>) -> Option<(diagnose::CniGuess, bool)> {
    let found = audit.intent.cni.clone().map(|c| (c, false));
    found.or_else(|| guess_cni(audit.inventory).map(|c| (c, true)))
}

/// Verdict, what was used to judge, findings, what could not be read.
pub fn report(style: Style, audit: &Audit<'_>, verdict: &Verdict) -> String {
    let mut out = text::verdict(style, verdict);
    let mut used = audit.intent.sources.clone();
    if let Some((cni, true)) = cni(audit) {
        used.push(format!("CNI: {}, a guess from {}", cni.name, cni.why));
    }
    let used = if used.is_empty() {
        "nothing is known of what is meant (--mode, --pod-cidr, --node-cidr, --cluster)".to_owned()
    } else {
        used.join("; ")
    };
    out.extend(["meant: ", &style.sentence(&used), "\n"]);
    for finding in audit.findings {
        out.push('\n');
        out.push_str(&text::finding(style, finding));
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
    intent: Meant<'a>,
    /// Ids that were looked for.
    audited: &'static [&'static str],
    findings: Vec<schema::Finding<'a>>,
    limits: &'a [String],
}

#[derive(Serialize)]
struct Meant<'a> {
    mode: &'static str,
    source: String,
    pod_cidrs: Vec<String>,
    node_cidrs: Vec<String>,
    nodes: Vec<&'a str>,
    cni: Option<Cni>,
    sources: &'a [String],
}

#[derive(Serialize)]
struct Cni {
    name: std::borrow::Cow<'static, str>,
    why: String,
    /// From names of devices and rules, and so no fact.
    guess: bool,
}

/// Writes one object and a line feed.
pub fn write_report(
    out: &mut impl Write,
    cx: &ViewContext<'_>,
    audit: &Audit<'_>,
    verdict: &Verdict,
) -> io::Result<()> {
    let prefixes = |all: &[crate::inventory::Prefix]| -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    };
    let intent = audit.intent;
    let report = Report {
        schema: AUDIT,
        node: &audit.inventory.node,
        kernel: &audit.inventory.kernel,
        netns: audit.inventory.home.0,
        verdict: verdict.outcome.name(),
        exit_code: verdict.exit_code(),
        reasons: &verdict.reasons,
        intent: Meant {
            mode: intent.mode.name(),
            source: intent.source.to_string(),
            pod_cidrs: prefixes(&intent.pod_cidrs),
            node_cidrs: prefixes(&intent.node_cidrs),
            nodes: intent.nodes.iter().map(|n| n.name.as_str()).collect(),
            cni: cni(audit).map(|(cni, guess)| Cni {
                name: cni.name,
                why: cni.why,
                guess,
            }),
            sources: &intent.sources,
        },
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
