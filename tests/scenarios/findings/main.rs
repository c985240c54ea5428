//! All labs against all findings: what is live in `tracer check`, and what `tracer audit` sees in the
//! configuration. Exactly the findings of the table may fire; anything else is a false alarm.

#![expect(
    clippy::print_stdout,
    reason = "reports of a failed test are in its output"
)]

mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Observed, Tracer};
use serde_json::Value;
use table::{Case, table};

const AUDIT_LIMIT: Duration = Duration::from_secs(20);

/// Both in one line per lab, so that a lab is raised once.
fn try_lab(name: &str) -> Result<()> {
    let mut failures = Vec::new();
    for case in table().filter(|c| c.scenario() == name) {
        if let Err(error) = try_case(case) {
            failures.push(format!("{}: {error:#}", case.lab));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

fn try_case(case: &Case) -> Result<()> {
    let lab = Lab::raise_named(case.lab)?;
    // before any traffic: that is what it is for
    let audit = audit(&lab, case.meant)?;
    drop(lab);
    let seen = Observed::until(case.lab, case.meant, case.settled)?;
    let live = seen.report;
    let mut found = told(&live)?;
    if case.by_hash {
        found.dedup();
    }
    let wanted = case.live(live["kernel"].as_str().unwrap_or_default());
    ensure!(
        found == wanted,
        "live findings are {found:?}, wanted {wanted:?}\n{}",
        pretty(&live),
    );
    let found = told(&audit)?;
    ensure!(
        found == case.audit,
        "findings of the audit are {found:?}, wanted {:?}\n{}",
        case.audit,
        pretty(&audit),
    );
    let fails = case.audit.iter().any(|id| !id.starts_with("info "));
    let wanted = if fails { 3 } else { 0 };
    ensure!(audit["exit_code"] == wanted, "{audit:#}");
    complete(&live, case)?;
    complete(&audit, case)
}

fn audit(lab: &Lab, meant: &[&str]) -> Result<Value> {
    let mut args = vec!["audit", "-o", "json"];
    args.extend_from_slice(meant);
    let ended = Tracer::run(lab.node(), &args, AUDIT_LIMIT)?;
    let report = ended.json()?;
    println!(
        "{}:{} audit {}",
        lab.scenario().name,
        lab.mode().name,
        pretty(&report)
    );
    let code = ended.code()?;
    ensure!(report["exit_code"] == code, "exits with {code}: {report:#}");
    Ok(report)
}

/// Severity and id of each finding, in order.
fn told(report: &Value) -> Result<Vec<String>> {
    let findings = report["findings"].as_array().context("no findings")?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    Ok(findings
        .iter()
        .map(|f| match text(&f["severity"]).as_str() {
            "error" => text(&f["id"]),
            other => format!("{other} {}", text(&f["id"])),
        })
        .collect())
}

fn pretty(report: &Value) -> String {
    format!("{:#}", report["findings"])
}

/// What must be in evidence and next steps: literal addresses, devices and commands.
fn complete(report: &Value, case: &Case) -> Result<()> {
    let findings = report["findings"].as_array().context("no findings")?;
    let Some(first) = findings.first() else {
        return Ok(());
    };
    let kind = if report["schema"] == "tracer.audit/1" {
        &case.says_audit
    } else {
        &case.says
    };
    let text = format!(
        "{} {} {}",
        first["summary"], first["evidence"], first["next"]
    );
    for part in *kind {
        ensure!(text.contains(part), "{part:?} is not in {first:#}");
    }
    Ok(())
}

macro_rules! labs {
    ($($test:ident $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() -> Result<()> {
            try_lab($name)
        })*

        #[test]
        fn every_mode_of_every_lab_is_in_the_table() {
            let tested = BTreeSet::from([$($name),*]);
            for scenario in Lab::scenarios() {
                assert!(tested.contains(scenario.name), "{} has no test", scenario.name);
                for mode in scenario.modes {
                    let name = format!("{}:{}", scenario.name, mode.name);
                    assert!(table().any(|c| c.lab == name), "{name} is not in the table");
                }
            }
        }
    };
}

labs! {
    native_tunnel "native-tunnel",
    aws_eni "aws-eni",
    overlapping_vpc "overlapping-vpc",
    ipv6_prefix "ipv6-prefix",
    encap_loss "encap-loss",
    router "router",
    node_faults "node-faults",
    config "config",
}

#[test]
fn every_finding_has_a_lab_that_fires_it() {
    let fired: BTreeSet<&str> = table()
        .flat_map(|c| c.live.iter().chain(c.audit))
        .map(|told| told.rsplit(' ').next().unwrap_or_default())
        .collect();
    for rule in tracer::diagnose::rules() {
        assert!(fired.contains(rule.id), "no lab fires {}", rule.id);
    }
    for id in tracer::diagnose::AUDITED {
        let audited = table().flat_map(|c| c.audit).any(|told| told.ends_with(id));
        assert!(audited, "no audit of a lab finds {id}");
    }
}

/// For each finding a lab that is like the fault, is right, and gives no finding.
const NEAR_MISSES: &[(&str, &str)] = &[
    ("blackhole-route", "node-faults:ok"),
    ("csum", "node-faults:near"),
    ("duplicate-default", "config:near"),
    ("encap-mtu", "config:near"),
    ("fdb-inconsistent", "encap-loss:near"),
    ("fdb-missing", "encap-loss:near"),
    ("hop-limit", "node-faults:near"),
    ("left-unanswered", "encap-loss:near"),
    ("martian-source", "node-faults:near"),
    ("native-in-tunnel-mode", "native-tunnel:both"),
    ("neigh-unresolved", "config:near"),
    ("no-listener", "node-faults:near"),
    ("no-route", "config:near"),
    ("onlink-prefix-mismatch", "config:near"),
    ("overlapping-address", "config:near"),
    ("policy-drop", "node-faults:near"),
    ("rcvbuf-full", "node-faults:near"),
    ("rp-filter", "config:near"),
    ("tunnel-in-native-mode", "config:near"),
    ("tunnel-unanswered", "encap-loss:near"),
    ("wrong-egress", "config:near"),
];

/// Findings that nothing right resembles, and why.
const NO_NEAR_MISS: &[(&str, &str)] = &[(
    "forwarding-disabled",
    "a host that forwards nothing has forwarding off, and then no packet and no pod that needs it",
)];

#[test]
fn every_finding_has_a_near_miss_or_a_reason() {
    for rule in tracer::diagnose::rules() {
        let near = NEAR_MISSES.iter().find(|(id, _)| *id == rule.id);
        let exempt = NO_NEAR_MISS.iter().any(|(id, _)| *id == rule.id);
        assert!(
            near.is_some() != exempt,
            "{} has no near miss, or two answers",
            rule.id
        );
        let Some((id, lab)) = near else { continue };
        let quiet = |c: &&Case| c.lab == *lab && c.live.is_empty() && c.audit.is_empty();
        assert!(
            table().any(|c| quiet(&c)),
            "{lab} is to be near {id} and not in the table"
        );
    }
}
