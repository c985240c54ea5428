//! `cargo xtask bench`: measurements, side by side in one run.

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use harness::{
    Lab, deadline,
    traffic::{Blast, blast::Blasted},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{build, setup};

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Write every packet of a router under full load to a file, as `tcpdump -w` does
    Record {
        /// Packets in each round
        #[arg(long, value_name = "N", default_value_t = 400_000)]
        packets: u64,
        /// Rounds; the programs take turns
        #[arg(long, value_name = "N", default_value_t = 3)]
        rounds: u32,
    },
}

/// Builds tracer and measures.
pub(crate) fn run(args: &Args) -> Result<()> {
    harness::require_root()?;
    setup::all()?;
    let Args::Record { packets, rounds } = *args;
    let tracer = build::tracer(true)?;
    record(&tracer, packets, rounds)
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Nobody,
    Tcpdump,
    Tracer,
}

/// One round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// Packets a second that went through the router.
    rate: f64,
    /// Packets in the file, counted at each device.
    written: u64,
    /// Packets that the writer says it lost.
    lost: u64,
}

fn record(tracer: &Path, packets: u64, rounds: u32) -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let dir = std::env::temp_dir().join(format!("tracer-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    println!(
        "{packets} UDP packets of 64 bytes through a router, {rounds} rounds; each is seen at two devices"
    );
    println!("writer      packets/s      written         lost   lost %");
    let mut best = [Round::default(); 3];
    for _ in 0..rounds {
        for (i, writer) in [Writer::Nobody, Writer::Tcpdump, Writer::Tracer]
            .into_iter()
            .enumerate()
        {
            let round = one(&lab, (writer, tracer), packets, &dir)?;
            show(writer, &round);
            if round.rate > best[i].rate {
                best[i] = round;
            }
        }
    }
    std::fs::remove_dir_all(&dir)?;
    let [none, tcpdump, tracer] = best.map(|r| r.rate);
    println!(
        "best rate against none: tcpdump {:.2}, tracer {:.2}; tracer against tcpdump {:.2}",
        tcpdump / none,
        tracer / none,
        tracer / tcpdump
    );
    Ok(())
}

fn show(writer: Writer, r: &Round) {
    let name = match writer {
        Writer::Nobody => "none",
        Writer::Tcpdump => "tcpdump -w",
        Writer::Tracer => "tracer",
    };
    let all = (r.written + r.lost).max(1);
    let percent = r.lost as f64 * 100.0 / all as f64;
    println!(
        "{name:<10} {:>10.0} {:>12} {:>12} {percent:>8.2}",
        r.rate, r.written, r.lost
    );
}

fn one(lab: &Lab, (writer, tracer): (Writer, &Path), packets: u64, dir: &Path) -> Result<Round> {
    let file = dir.join("out.pcap").display().to_string();
    let mut command = match writer {
        Writer::Nobody => return rate(&blast(lab, packets)?),
        Writer::Tcpdump => {
            let mut c = Command::new("tcpdump");
            c.args(["-n", "-i", "any", "-Z", "root", "-s", "128", "-B", "32768"]);
            c.args(["-w", &file]);
            c
        }
        Writer::Tracer => {
            let mut c = Command::new(tracer);
            c.args(["record", "-s", "128", "-B", "32768", "-w", &file]);
            c
        }
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = lab.node().spawn(&mut command)?;
    let ready = Path::new(&file);
    deadline::wait_for("the file", Duration::from_secs(30), || {
        Ok(ready.exists().then_some(()))
    })?;
    // tracer has everything attached when the file is there; tcpdump a moment later
    std::thread::sleep(Duration::from_millis(500));
    let blasted = blast(lab, packets)?;
    let said = end(&mut child)?;
    std::fs::remove_file(ready)?;
    let mut round = rate(&blasted)?;
    (round.written, round.lost) = match writer {
        Writer::Tracer => (
            before(&said, " packets (")?,
            before(&said, " of them packets)").unwrap_or(0),
        ),
        _ => (
            before(&said, " packets captured")?,
            before(&said, " packets dropped by kernel")?,
        ),
    };
    Ok(round)
}

fn blast(lab: &Lab, packets: u64) -> Result<Blasted> {
    Blast::to("10.2.0.2:20000")
        .packets(packets)
        .send(lab.ns("a")?)
}

fn rate(b: &Blasted) -> Result<Round> {
    let seconds = b.elapsed.as_secs_f64();
    ensure!(seconds > 0.0, "nothing was sent");
    Ok(Round {
        rate: b.sent as f64 / seconds,
        ..Round::default()
    })
}

/// Ends a program as ^C does and returns what it said.
fn end(child: &mut Child) -> Result<String> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    kill(pid, Signal::SIGINT)?;
    let mut said = String::new();
    let mut stderr = child.stderr.take().context("no stderr")?;
    stderr.read_to_string(&mut said)?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > Duration::from_secs(30) {
            child.kill()?;
            bail!("it did not end:\n{said}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(said)
}

/// The number in front of some words.
fn before(said: &str, words: &str) -> Result<u64> {
    let at = said
        .find(words)
        .with_context(|| format!("no{words} in:\n{said}"))?;
    let digits = said[..at]
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or_default();
    digits
        .parse()
        .with_context(|| format!("no number before{words}"))
}
