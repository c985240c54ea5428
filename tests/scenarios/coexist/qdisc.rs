//! Qdiscs are replaced under the attachment.

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer, bpf, deadline};

use super::{CHECK, END, ROUND, round, seen_at, traced};

/// Root qdiscs come and go: other queues, the same packets.
#[test]
fn another_root_qdisc_changes_nothing() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let tracer = Tracer::start(node, &CHECK)?;
    let mut rounds = 0;
    for qdisc in ["pfifo limit 1000", "bfifo limit 1000000", "noqueue"] {
        let line = format!("qdisc replace dev out root {qdisc}");
        let argv: Vec<&str> = ["tc"].into_iter().chain(line.split(' ')).collect();
        node.exec(&argv)?;
        ensure!(round(&lab)? == u64::from(ROUND), "with {qdisc}");
        rounds += 1;
    }
    let report = tracer.interrupt(END)?.expect_code(0)?.json()?;
    for (dev, dir) in [("in", "in"), ("out", "out")] {
        let seen = seen_at(&report, dev, dir)?;
        ensure!(seen == rounds * u64::from(ROUND), "{seen} at {dev}");
    }
    Ok(())
}

/// Where devices are attached by a clsact filter, the filter goes with the qdisc: it comes again,
/// and the gap is said. With tcx nothing happens.
#[test]
fn a_clsact_qdisc_that_is_removed_is_noticed() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let tcx = bpf::has_tcx(node)?;
    if tcx {
        node.exec(&["tc", "qdisc", "add", "dev", "out", "clsact"])?;
    }
    let tracer = Tracer::start(node, &CHECK)?;
    ensure!(round(&lab)? == u64::from(ROUND));
    node.exec(&["tc", "qdisc", "del", "dev", "out", "clsact"])?;
    deadline::wait_for("tracing", END, || Ok(traced(node, "out")?.then_some(())))?;
    ensure!(round(&lab)? == u64::from(ROUND));
    let ended = tracer.interrupt(END)?;
    let report = ended.json().context("no report")?;
    let seen = seen_at(&report, "out", "out")?;
    ensure!(seen == 2 * u64::from(ROUND), "{seen} left: {report}");
    let said = ended.stderr.contains("attached again");
    ensure!(said != tcx, "tcx: {tcx}, said: {said}\n{}", ended.stderr);
    ensure!(ended.code()? == if tcx { 0 } else { 4 }, "{}", ended.stderr);
    Ok(())
}
