//! `tracer report`: a page out of a real capture.

use anyhow::{Context as _, Result, ensure};
use harness::Tracer;
use serde_json::Value;

use super::{END, Recorded, array};

/// The page, with what is meant given as an operator gives it.
fn page(run: &Recorded, name: &str) -> Result<String> {
    let to = run.dir.file(name);
    let args = ["report", &run.file(), "-o", &to, "--mode", "native"];
    Tracer::run(run.lab.node(), &args, END)?.expect_code(0)?;
    std::fs::read_to_string(&to).with_context(|| to)
}

/// Flows that lost packets or had no answer.
fn in_trouble(report: &Value) -> Result<Vec<&Value>> {
    let bad = |f: &&Value| {
        let lost = |d: &Value| d["drops"].as_array().is_some_and(|drops| !drops.is_empty());
        lost(f) || lost(&f["reply"]) || f["outcome"] == "unanswered" || f["outcome"] == "dropped"
    };
    Ok(array(report, "flows")?.iter().filter(bad).collect())
}

#[test]
fn a_page_is_complete_in_itself() -> Result<()> {
    let run = Recorded::of("encap-loss", &[])?;
    let html = page(&run, "a.html")?;
    let loads = [
        "http://", "https://", "<script", "<link", "<img", "url(", "@import", "src=",
    ];
    for word in loads {
        ensure!(!html.contains(word), "{word} in the page");
    }
    ensure!(html.contains("default-src &#39;none&#39;") || html.contains("default-src 'none'"));
    for wanted in [
        "prefers-color-scheme:dark",
        "@media print",
        "name=\"viewport\"",
    ] {
        ensure!(html.contains(wanted), "no {wanted}");
    }
    Ok(())
}

#[test]
fn findings_come_first_and_each_lost_flow_is_drawn() -> Result<()> {
    let run = Recorded::of("encap-loss", &[])?;
    let html = page(&run, "a.html")?;
    let parts = [
        "<h2>Findings</h2>",
        "<h2>Flows in trouble</h2>",
        "<h2>Dropped packets over time</h2>",
        "<h2>Flows</h2>",
        "<h2>Routes that mattered</h2>",
        "<h2>What the network is meant to do</h2>",
        "<h2>What tracer did not see</h2>",
    ];
    let mut last = 0;
    for part in parts {
        let at = html.find(part).with_context(|| format!("no {part}"))?;
        ensure!(at > last, "{part} is too early");
        last = at;
    }
    ensure!(html.contains("native (flag)"), "not what is meant");
    for finding in array(&run.live, "findings")? {
        let id = finding["id"].as_str().context("no id")?;
        ensure!(html.contains(id), "no finding {id}");
    }
    let troubled = in_trouble(&run.live)?;
    ensure!(!troubled.is_empty(), "no flow is in trouble");
    let drawn = html.matches("<svg viewBox=").count();
    // there and back of each, and the drops over time
    ensure!(
        drawn > troubled.len(),
        "{drawn} drawings, {} flows",
        troubled.len()
    );
    for flow in troubled {
        let src = flow["src"].as_str().context("no src")?;
        ensure!(html.contains(src), "no flow from {src}");
        for drop in array(flow, "drops")? {
            let reason = drop["reason"].as_str().context("no reason")?;
            ensure!(
                html.contains(&format!("{reason} at ")),
                "no drawing of {reason}"
            );
        }
    }
    Ok(())
}

#[test]
fn markdown_has_the_same_parts() -> Result<()> {
    let run = Recorded::of("ipv6-prefix", &[])?;
    let md = page(&run, "a.md")?;
    let parts = [
        "## Findings",
        "## Flows in trouble",
        "## Flows",
        "## What tracer did not see",
    ];
    for part in parts {
        ensure!(md.contains(part), "no {part}");
    }
    let finding = &array(&run.live, "findings")?[0];
    let id = finding["id"].as_str().context("no id")?;
    ensure!(md.contains(id), "no finding {id}");
    Ok(())
}
