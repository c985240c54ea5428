//! Nanoseconds of each BPF program, as the kernel counts them.

use std::path::Path;

use anyhow::{Context as _, Result};
use harness::bpf::cost::{self, Counting, Runs};
use serde_json::{Value, json};

use super::{
    Plan,
    load::{Load, Router},
    who::Who,
};

/// What the kernel's measuring adds to each run, nanoseconds (an empty program shows it).
const MEASURING_NS: f64 = 55.0;

/// Packets of each flow, at least: its first one, which makes the entries, costs several times as much.
const EACH: u64 = 20;

/// Prints what the programs of tracer cost for each load.
pub(super) fn costs(tracer: &Path, plan: &Plan) -> Result<Value> {
    println!(
        "\nnanoseconds of each program; net: without {MEASURING_NS} for the kernel's measuring"
    );
    println!(
        "{:28} {:18} {:>10} {:>8}",
        "load", "program", "runs/packet", "ns/run"
    );
    let mut rows = Vec::new();
    for load in Load::all(plan.quick) {
        rows.push(of_load(tracer, plan, &load)?);
    }
    Ok(json!(rows))
}

fn of_load(tracer: &Path, plan: &Plan, load: &Load) -> Result<Value> {
    let router = Router::raise(load)?;
    let _counting = Counting::on()?;
    let process = Who::Live.start(tracer, &router)?;
    let process = process.context("tracer is no process")?;
    let packets = plan.packets.max(u64::from(load.flows) * EACH);
    router.send(load, packets)?;
    let programs = cost::of_process(process.pid())?;
    process.stop()?;
    let (mut all, mut net, mut shown) = (0.0, 0.0, Vec::new());
    for (name, Runs { runs, ns }) in programs {
        // rare events: nothing is said by a few runs
        if runs < packets / 10 {
            continue;
        }
        let (runs, ns) = (runs as f64, ns as f64);
        let packets = packets as f64;
        all += ns / packets;
        net += (ns - runs * MEASURING_NS) / packets;
        let (times, each) = (runs / packets, ns / runs);
        println!(
            "{:28} {name:18} {times:>10.2} {each:>8.0}",
            load.to_string()
        );
        shown.push(json!({"program": name, "runs_per_packet": times, "ns_per_run": each}));
    }
    println!(
        "{:28} {:18} {all:>19.0}, net {net:.0}",
        load.to_string(),
        "a packet"
    );
    Ok(json!({
        "load": load.to_string(),
        "programs": shown,
        "ns_per_packet": all,
        "net_ns_per_packet": net,
    }))
}
