//! What each BPF program costs for a packet, as the kernel counts it (`kernel.bpf_stats_enabled`).
//!
//! The table is printed past the capture of test output; docs/performance.md holds one of them. The
//! kernel's own measuring is in the numbers: about 55 ns for each run of a program.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::bpf::cost::{self, Counting};
use harness::bpf::floor::Floor;
use harness::traffic::Blast;
use harness::{Lab, Tracer, deadline};

/// No program of tracer takes so long, whatever the machine does beside.
const ABSURD_NS: u64 = 20_000;

#[test]
fn each_program_for_a_forwarded_packet() -> Result<()> {
    let packets = deadline::amount(400_000, 40_000);
    let _counting = Counting::on()?;
    let mut out = format!("{:20} {:>6} {:>9} {:>8}\n", "program", "", "runs", "ns/run");
    for (family, to) in [("IPv4", "10.2.0.2:20000"), ("IPv6", "[fd02::2]:20000")] {
        let lab = Lab::raise("router", None)?;
        let tracer = Tracer::start(lab.node(), &["check", "-o", "json", "--for", "1h", "udp"])?;
        // beside it, so that what the measuring itself costs is measured under the same conditions
        let _empty = Floor::attach(lab.node(), &["in", "out"])?;
        let blast = Blast::to(to).packets(packets).flows(16);
        blast
            .limit(deadline::scaled(Duration::from_mins(1)))
            .send(lab.ns("a")?)?;
        let programs = cost::of_process(tracer.pid())?;
        let empty = cost::of_process(std::process::id())?;
        tracer.interrupt(Duration::from_secs(20))?;
        let mut total = 0;
        for (name, cost::Runs { runs, ns }) in empty.iter().chain(&programs) {
            // rare events: nothing is said by a few runs
            if *runs < packets / 10 {
                continue;
            }
            let each = ns / runs;
            if programs.contains_key(name) {
                total += ns;
            }
            writeln!(out, "{name:20} {family:>6} {runs:>9} {each:>8}")?;
            ensure!(each < ABSURD_NS, "{name} took {each} ns for a packet");
        }
        let egress = programs
            .get("tracer_egress")
            .context("no tracer_egress")?
            .runs;
        ensure!(egress > packets / 2, "most packets did not leave: {egress}");
        // it runs once on each CPU at the beginning, and then where packets took the short way
        let settled = programs.get("tracer_settle").context("no tracer_settle")?;
        let cpus = std::thread::available_parallelism()?.get() as u64;
        ensure!(settled.runs > cpus, "no packet took the short way");
        let total = total / egress;
        writeln!(
            out,
            "{:20} {family:>6} {egress:>9} {total:>8}",
            "forwarded packet"
        )?;
    }
    Ok(write!(std::io::stderr(), "{out}")?)
}
