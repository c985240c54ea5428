//! What each BPF program costs for a packet, as the kernel counts it (`kernel.bpf_stats_enabled`).
//!
//! The table is printed past the capture of test output; docs/performance.md holds one of them. The
//! kernel's own measuring is in the numbers: about 55 ns for each run of a program.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::traffic::Blast;
use harness::{Lab, Tracer, bpf, deadline};

const SETTING: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// No program of tracer takes so long, whatever the machine does beside.
const ABSURD_NS: u64 = 20_000;

/// Turns the counting on, and back to what it was when dropped.
struct Counting(String);

impl Counting {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(SETTING).context(SETTING)?;
        fs::write(SETTING, "1").context(SETTING)?;
        Ok(Self(before))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // nothing can be done about a failure here; the setting costs and breaks nothing
        drop(fs::write(SETTING, self.0.trim()));
    }
}

/// Runs and nanoseconds of each program of a tracer, by name.
fn counted(tracer: &Tracer) -> Result<BTreeMap<String, (u64, u64)>> {
    let names: BTreeMap<u64, String> = bpf::programs()?
        .into_iter()
        .map(|program| (u64::from(program.id), program.name))
        .collect();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", tracer.pid()))? {
        // a descriptor that was closed meanwhile is no program
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let number = |key: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        if let (Some(id), Some(ns), Some(runs)) =
            (number("prog_id"), number("run_time_ns"), number("run_cnt"))
        {
            let name = names.get(&id).cloned().unwrap_or_else(|| id.to_string());
            found.insert(name, (runs, ns));
        }
    }
    Ok(found)
}

#[test]
fn each_program_for_a_forwarded_packet() -> Result<()> {
    let packets = deadline::amount(400_000, 40_000);
    let _counting = Counting::on()?;
    let mut out = format!("{:20} {:>6} {:>9} {:>8}\n", "program", "", "runs", "ns/run");
    for (family, to) in [("IPv4", "10.2.0.2:20000"), ("IPv6", "[fd02::2]:20000")] {
        let lab = Lab::raise("router", None)?;
        let tracer = Tracer::start(lab.node(), &["check", "-o", "json", "--for", "1h", "udp"])?;
        let blast = Blast::to(to).packets(packets).flows(16);
        blast
            .limit(deadline::scaled(Duration::from_mins(1)))
            .send(lab.ns("a")?)?;
        let programs = counted(&tracer)?;
        tracer.interrupt(Duration::from_secs(20))?;
        let mut total = 0;
        for (name, (runs, ns)) in &programs {
            // rare events: nothing is said by a few runs
            if *runs < packets / 10 {
                continue;
            }
            let each = ns / runs;
            total += ns;
            writeln!(out, "{name:20} {family:>6} {runs:>9} {each:>8}")?;
            ensure!(each < ABSURD_NS, "{name} took {each} ns for a packet");
        }
        let (egress, _) = programs.get("tracer_egress").context("no tracer_egress")?;
        ensure!(
            *egress > packets / 2,
            "most packets did not leave: {egress}"
        );
        let total = total / egress;
        writeln!(
            out,
            "{:20} {family:>6} {egress:>9} {total:>8}",
            "forwarded packet"
        )?;
    }
    Ok(write!(std::io::stderr(), "{out}")?)
}
