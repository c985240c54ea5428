//! `cargo xtask bench forward`: packets a second through a router, with and without what traces it.
//!
//! All takes place on this machine: sender, router and receiver are network namespaces, and the
//! packets of one burst pass all three on one CPU. So a ratio shows what a program adds to the whole
//! way, and not only to the router.

mod devices;
mod load;
mod programs;
mod tcp;
mod who;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::numbers::Spread;
use load::{Load, Router};
use who::{Round, Who};

/// What to measure, and how often.
pub(super) struct Plan {
    pub(super) packets: u64,
    pub(super) rounds: u32,
    pub(super) quick: bool,
    pub(super) only: Vec<String>,
}

impl Plan {
    fn wants(&self, who: Who) -> bool {
        self.only.is_empty() || who == Who::Nobody || self.only.iter().any(|n| n == who.name())
    }
}

/// Measures, prints tables and writes them for programs.
pub(super) fn run(tracer: &Path, plan: &Plan, to: Option<&Path>) -> Result<()> {
    let about = about();
    println!("{}", about.as_str().unwrap_or_default());
    let mut forwarding = Vec::new();
    for load in Load::all(plan.quick) {
        forwarding.push(side_by_side(tracer, plan, &load)?);
    }
    let costs = programs::costs(tracer, plan)?;
    let mut result = json!({"about": about, "forwarding": forwarding, "programs": costs});
    if !plan.quick {
        result["devices"] = devices::start_and_stop(tracer, plan.rounds)?;
        result["tcp"] = tcp::bulk(tracer, plan)?;
    }
    if let Some(file) = to {
        let text = serde_json::to_string_pretty(&result)?;
        std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Kernel and machine.
fn about() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |m| m.trim_start_matches(['\t', ' ', ':']));
    let cpus = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    json!(format!("Linux {}, {cpus} CPUs, {model}", kernel.trim()))
}

/// One load, all programs in turn, as often as there are rounds.
fn side_by_side(tracer: &Path, plan: &Plan, load: &Load) -> Result<Value> {
    let router = Router::raise(load)?;
    // the first packets of a lab resolve neighbours and fill caches
    router.send(load, plan.packets / 10)?;
    let all = if load.is_main() {
        Who::ALL.as_slice()
    } else {
        Who::FEW.as_slice()
    };
    let all: Vec<Who> = all.iter().copied().filter(|w| plan.wants(*w)).collect();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); all.len()];
    for _ in 0..plan.rounds {
        for (who, rounds) in all.iter().zip(&mut rounds) {
            rounds.push(who.round(tracer, &router, load, plan.packets)?);
        }
    }
    println!(
        "\n{load}, {} packets a round, {} rounds",
        plan.packets, plan.rounds
    );
    println!(
        "{:16} {:>28} {:>20} {:>20} {:>8} {:>8} {:>9} {:>8}",
        "program", "packets/s", "of untraced", "by CPU time", "CPU %", "MiB", "start ms", "stop ms"
    );
    let rows: Vec<Value> = all
        .iter()
        .zip(&rounds)
        .map(|(who, r)| row(*who, r))
        .collect();
    Ok(json!({"load": load.to_string(), "rows": rows}))
}

/// Prints what one program did, each round against the untraced ones around it.
fn row(who: Who, rounds: &[Round]) -> Value {
    let of = |what: fn(&Round) -> f64| Spread::of(rounds.iter().map(what));
    let (rate, ratio) = (of(|r| r.rate), of(|r| r.of_untraced));
    let by_cpu = of(|r| r.of_untraced_cpu);
    let (cpu, memory) = (of(|r| r.cpu * 100.0), of(|r| r.memory_mib));
    let (start, stop) = (of(|r| r.start_ms), of(|r| r.stop_ms));
    println!(
        "{:16} {:>28} {:>20} {:>20} {:>8.1} {:>8.0} {:>9.0} {:>8.0}",
        who.name(),
        rate.show(0),
        ratio.show(3),
        by_cpu.show(3),
        cpu.median,
        memory.median,
        start.median,
        stop.median
    );
    json!({
        "program": who.name(),
        "packets_per_second": rate.json(),
        "ratio": ratio.json(),
        "ratio_by_cpu_time": by_cpu.json(),
        "user_cpu": cpu.median / 100.0,
        "memory_mib": memory.median,
        "start_ms": start.json(),
        "stop_ms": stop.json(),
    })
}
