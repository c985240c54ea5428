//! TCP that one node sends in large buffers and the other puts together anew.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::traffic::Tcp;
use harness::{Lab, Tracer};
use serde_json::{Value, json};

use super::compare::Taker;
use super::{Dir, END};

/// Wire segments of a buffer at `eth0`, the most that a capture has in one direction.
fn largest(packets: &[Value], dir: &str) -> u64 {
    let at = packets
        .iter()
        .filter(|p| p["dev"] == json!("eth0") && p["dir"] == json!(dir));
    at.filter_map(|p| p["segs"].as_u64()).max().unwrap_or(0)
}

#[test]
fn segments_that_offload_divides_and_joins_are_counted_as_the_wire_had_them() -> Result<()> {
    let dir = Dir::new("compare-segments")?;
    let lab = Lab::raise_named("native-tunnel:native")?;
    // buffers are divided where they leave a node, and put together anew where they arrive: a veth
    // does so when its peer hands over single segments
    for (node, dev) in [
        ("n1", "eth0"),
        ("n2", "eth0"),
        ("fab", "pn1"),
        ("fab", "pn2"),
    ] {
        lab.ns(node)?.exec(&["ethtool", "-K", dev, "tso", "off"])?;
    }
    for node in ["n1", "n2"] {
        lab.ns(node)?
            .exec(&["ethtool", "-K", "eth0", "gso", "on", "gro", "on"])?;
    }
    let taker = Taker::place(&lab, 2)?;
    let (a, b) = (dir.file("a.pcapng"), dir.file("b.pcapng"));
    let n1 = Tracer::start(lab.node(), &["record", "-w", &a])?;
    let n2 = Tracer::start(lab.ns("n2")?, &["record", "-w", &b])?;
    let bulk = Tcp::to("10.244.2.20:8").bytes(2_000_000);
    let sent = bulk.limit(Duration::from_mins(1)).send(lab.ns("p1")?)?;
    ensure!(sent.received == sent.sent, "{sent:?}");
    taker.settled()?;
    n1.interrupt(END)?.expect_code(0)?;
    n2.interrupt(END)?.expect_code(0)?;
    let (taken, seen) = (taker.taken()?, taker.seen()?);
    ensure!(taken.0 > 0 && taken.1 > 0, "nothing was taken");
    let (out, came) = (super::packets(&lab, &a)?, super::packets(&lab, &b)?);
    let (divided, joined) = (largest(&out, "out"), largest(&came, "in"));
    ensure!(
        divided > 1 && joined > 1,
        "segments in a buffer: {divided} out of n1, {joined} into n2"
    );
    let args = ["compare", "-o", "json", &a, &b, "tcp"];
    let report = Tracer::run(lab.node(), &args, END)?
        .expect_code(3)?
        .json()?;
    for (from, taken, seen) in [("a", taken.0, seen.0), ("b", taken.1, seen.1)] {
        let flow = harness::expect::flow(&report, &json!({ "from": from }))?;
        ensure!(
            flow["lost"] == json!(taken) && flow["sent"] == json!(seen),
            "{taken} of {seen} taken: {flow}"
        );
        ensure!(flow["received"] == json!(seen - taken), "{flow}");
        ensure!(flow["duplicated"] == json!(0), "{flow}");
    }
    Ok(())
}
