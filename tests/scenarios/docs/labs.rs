//! `tracer check` on every lab: exit status and first finding as the table in `docs/checks.md` says.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::brief::brief;
use harness::{Lab, Tracer, deadline};
use serde_json::Value;

use super::page;

/// How often each lab is tried: a step of a runbook must not answer by chance.
const REPEAT: &str = "TRACER_E2E_REPEAT";
/// From SIGINT to the end.
const END: Duration = Duration::from_secs(30);
/// A neighbour is given up after three seconds.
const NEIGHBOUR_FAILS: Duration = Duration::from_secs(15);

/// A row of the table.
#[derive(Debug, PartialEq)]
struct Row {
    lab: String,
    options: String,
    code: i64,
    finding: String,
}

#[test]
fn each_lab_is_answered_as_documented() -> Result<()> {
    let documented = table()?;
    // a lab that is in the table is there with all that it can be
    for scenario in Lab::scenarios() {
        let rows: Vec<&Row> = documented
            .iter()
            .filter(|row| row.lab.split(':').next() == Some(scenario.name))
            .collect();
        for mode in scenario.modes {
            let lab = format!("{}:{}", scenario.name, mode.name);
            ensure!(
                rows.is_empty() || rows.iter().any(|row| row.lab == lab),
                "{lab} is not in the table"
            );
        }
    }
    ensure!(documented.len() > 20, "only {} rows", documented.len());
    let repeat: usize = match std::env::var(REPEAT) {
        Ok(text) => text.parse().with_context(|| format!("{REPEAT}={text}"))?,
        Err(_) => 1,
    };
    let rounds: Vec<(usize, &Row)> = (1..=repeat)
        .flat_map(|round| documented.iter().map(move |row| (round, row)))
        .collect();
    let failures = super::all(&rounds, |(round, wanted)| {
        let (got, shown) = answer(wanted).with_context(|| wanted.lab.clone())?;
        ensure!(
            got == **wanted,
            "round {round}: wanted {wanted:?}, got {got:?}\n{shown}"
        );
        Ok(())
    });
    ensure!(
        failures.is_empty(),
        "{} of {} wrong\n{}",
        failures.len(),
        rounds.len(),
        failures.join("\n")
    );
    Ok(())
}

fn table() -> Result<Vec<Row>> {
    let text = fs::read_to_string(page::root()?.join("docs/checks.md"))?;
    let (_, section) = text
        .split_once("## What the labs answer")
        .context("no section of labs")?;
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let mut cell = || {
            let cell = cells
                .next()
                .with_context(|| format!("too few cells: {line}"))?;
            anyhow::Ok(cell.trim_matches('`').to_owned())
        };
        let (lab, options, code, finding) = (cell()?, cell()?, cell()?, cell()?);
        // [`id`](page)
        let finding = finding.trim_start_matches("[`").split('`').next();
        Ok(Row {
            lab,
            options,
            code: code.parse().with_context(|| line.to_owned())?,
            finding: finding.unwrap_or_default().to_owned(),
        })
    })
    .collect()
}

/// What a check beside one round of the lab's traffic says.
fn answer(row: &Row) -> Result<(Row, String)> {
    let lab = Lab::raise_named(&row.lab)?;
    let mut args = vec!["check", "-o", "json", "--for", "1h"];
    args.extend(row.options.split_whitespace());
    let tracer = Tracer::start(lab.node(), &args)?;
    lab.traffic(1)?;
    if row.lab.ends_with(":neigh") {
        deadline::wait_for("the failure of the neighbours", NEIGHBOUR_FAILS, || {
            let all = lab.node().exec(&["ip", "neigh", "show", "dev", "eth0"])?;
            let failed = |family: &str| {
                all.lines()
                    .any(|l| l.contains(family) && l.contains("FAILED"))
            };
            Ok((failed("10.244.2.20") && failed("fd44:2::20")).then_some(()))
        })?;
    }
    let ended = tracer.interrupt(END)?;
    let report = ended.json()?;
    let code = ended.code()?;
    ensure!(
        report["exit_code"] == code,
        "it says {}",
        report["exit_code"]
    );
    let first = report.pointer("/findings/0/id").and_then(Value::as_str);
    let got = Row {
        lab: row.lab.clone(),
        options: row.options.clone(),
        code: code.into(),
        finding: first.unwrap_or("none").to_owned(),
    };
    Ok((got, brief(&report)))
}
