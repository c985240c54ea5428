//! `cargo xtask soak`: hours of changing load, during which memory and descriptors stay flat.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use harness::{
    Lab, Netns, command, deadline,
    traffic::{Blast, Ping, Tcp, Udp},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{build, setup};

/// How long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the load runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    minutes: u64,
    /// The optimised build
    #[arg(long)]
    release: bool,
}

/// From SIGINT to the end: a recording writes what it still holds.
const END: Duration = Duration::from_mins(1);
/// What may be added between the second and the last quarter of the time, KiB: below it there is no
/// telling from what the allocator keeps.
const NOISE_KIB: u64 = 16 * 1024;

/// What one process takes at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// `VmRSS`, KiB.
    memory: u64,
    files: usize,
    threads: usize,
}

/// A tracer under the load.
struct Watched {
    name: &'static str,
    process: Child,
    samples: Vec<Sample>,
}

/// Builds tracer, loads it, and compares the second quarter of the time with the last.
pub(crate) fn run(args: &Args) -> Result<()> {
    harness::require_root()?;
    setup::all()?;
    let tracer = match std::env::var_os("TRACER_BIN") {
        Some(tracer) => tracer.into(),
        None => build::tracer(args.release)?,
    };
    let lab = Lab::raise("router", None)?;
    let dir = std::env::temp_dir().join(format!("tracer-soak-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = soak(&lab, &tracer, &dir, Duration::from_secs(args.minutes * 60));
    fs::remove_dir_all(&dir)?;
    result
}

fn soak(lab: &Lab, tracer: &Path, dir: &Path, time: Duration) -> Result<()> {
    let file = dir.join("a.pcapng").display().to_string();
    let log = |name: &str| fs::File::create(dir.join(format!("{name}.log")));
    let mut all = Vec::new();
    for (name, words) in [
        ("watch", vec!["watch", "-o", "json"]),
        ("record", vec!["record", "-C", "20", "-W", "3", "-w", &file]),
    ] {
        let mut c = Command::new(tracer);
        c.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        c.stderr(log(name)?);
        all.push(Watched {
            name,
            process: lab.node().spawn(&mut c)?,
            samples: Vec::new(),
        });
    }
    let (begun, mut round, mut shown) = (Instant::now(), 0, Instant::now());
    println!("minute  round  process   memory KiB  files  threads");
    while begun.elapsed() < time {
        load(lab, round).with_context(|| format!("round {round}"))?;
        round += 1;
        for watched in &mut all {
            watched.sample()?;
        }
        if shown.elapsed() > Duration::from_mins(1) || round == 1 {
            shown = Instant::now();
            for watched in &all {
                watched.show(begun.elapsed(), round);
            }
        }
    }
    for watched in &mut all {
        watched.end(dir)?;
    }
    all.iter().try_for_each(Watched::is_flat)
}

/// One round of about ten seconds: what it does changes from round to round.
fn load(lab: &Lab, round: u64) -> Result<()> {
    let (node, a) = (lab.node(), lab.ns("a")?);
    let pause = || std::thread::sleep(Duration::from_secs(2));
    match round % 6 {
        // connections that come and go, each a new flow
        0 => (0..30).try_for_each(|_| {
            let sent = Tcp::to("10.2.0.2:8").bytes(20_000).send(a)?;
            ensure!(sent.delivered(), "{sent}");
            Ok(())
        })?,
        1 => blast(a, 200_000, 1)?,
        // the model is full after three of these
        2 => blast(a, 100_000, 40_000)?,
        3 => devices(lab)?,
        4 => routes(node)?,
        _ => {
            for to in ["10.2.0.2", "fd02::2"] {
                let sent = Ping::to(to).count(3).send(a)?;
                ensure!(sent.delivered(), "{to}: {sent}");
            }
            // the node has no route there: a drop of its own for each. Those are kept longest: after
            // five of these the model holds nothing else, which is the most that it can take
            blast_to(a, "10.77.0.1:20000", (20_000, 20_000))?;
        }
    }
    pause();
    let sent = Udp::to("10.2.0.2:7")
        .count(20)
        .interval(Duration::from_millis(50))
        .send(a)?;
    ensure!(sent.delivered(), "{sent}");
    pause();
    Ok(())
}

/// A burst into the sink of the lab. The kernel chooses new source ports each time.
fn blast(a: &Netns, packets: u64, flows: u32) -> Result<()> {
    blast_to(a, "10.2.0.2:20000", (packets, flows))
}

fn blast_to(a: &Netns, to: &str, (packets, flows): (u64, u32)) -> Result<()> {
    Blast::to(to)
        .packets(packets)
        .flows(flows)
        .limit(Duration::from_mins(2))
        .send(a)
        .map(drop)
}

/// Pods that come and go: a namespace, a pair of devices, a route, a packet.
fn devices(lab: &Lab) -> Result<()> {
    let node = lab.node();
    for number in 0..10 {
        let pod = format!("{}-p{number}", lab.network().prefix());
        let (dev, address) = (format!("pod{number}"), format!("10.9.0.{number}"));
        command::run(&["ip", "netns", "add", &pod], "")?;
        let batch = format!(
            "link add {dev} type veth peer name eth0 netns {pod}\n\
             link set {dev} up\nroute add {address}/32 dev {dev}\n"
        );
        node.exec_with_input(&["ip", "-batch", "-"], &batch)?;
    }
    for number in 0..10 {
        let pod = format!("{}-p{number}", lab.network().prefix());
        command::run(&["ip", "netns", "del", &pod], "")?;
    }
    deadline::wait_for("the end of the pods", Duration::from_secs(30), || {
        Ok((0..10)
            .all(|number| node.ifindex(&format!("pod{number}")).is_err())
            .then_some(()))
    })
}

fn routes(node: &Netns) -> Result<()> {
    for verb in ["add", "del"] {
        let lines: Vec<String> = (0..2000)
            .map(|n| format!("route {verb} 10.64.{}.{}/32 dev out\n", n / 256, n % 256))
            .collect();
        node.exec_with_input(&["ip", "-batch", "-"], &lines.concat())?;
    }
    Ok(())
}

impl Watched {
    fn sample(&mut self) -> Result<()> {
        let pid = self.process.id();
        if let Some(status) = self.process.try_wait()? {
            bail!("{} ended by itself: {status}", self.name);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        self.samples.push(Sample {
            memory: number("VmRSS:").context("no VmRSS")?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            threads: number("Threads:").context("no Threads")? as usize,
        });
        Ok(())
    }

    fn show(&self, time: Duration, round: u64) {
        let s = self.samples.last().copied().unwrap_or_default();
        println!(
            "{:6.1} {round:6}  {:<8} {:11} {:6} {:8}",
            time.as_secs_f64() / 60.0,
            self.name,
            s.memory,
            s.files,
            s.threads
        );
    }

    /// Ends it as ^C does, and shows what it said.
    fn end(&mut self, dir: &Path) -> Result<()> {
        kill(
            Pid::from_raw(i32::try_from(self.process.id())?),
            Signal::SIGINT,
        )?;
        let status = deadline::wait_for("its end", END, || Ok(self.process.try_wait()?))?;
        let said = fs::read_to_string(dir.join(format!("{}.log", self.name)))?;
        println!("{}: {status}\n{}", self.name, said.trim_end());
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// The second quarter against the last: the first one fills caches and tables.
    fn is_flat(&self) -> Result<()> {
        let quarter = self.samples.len() / 4;
        ensure!(quarter > 0, "too short: {} samples", self.samples.len());
        let early = self.samples.get(quarter..2 * quarter).unwrap_or_default();
        let late = self.samples.get(3 * quarter..).unwrap_or_default();
        // a burst that is being read takes more for a moment
        let middle = |of: &[Sample], what: fn(&Sample) -> u64| {
            let mut all: Vec<u64> = of.iter().map(what).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        for (what, get, slack) in [
            (
                "memory KiB",
                (|s: &Sample| s.memory) as fn(&Sample) -> u64,
                NOISE_KIB,
            ),
            ("files", |s| s.files as u64, 4),
            ("threads", |s| s.threads as u64, 2),
        ] {
            let (before, after) = (middle(early, get), middle(late, get));
            println!(
                "{}: {what}: median {before} in the second quarter, {after} in the last",
                self.name
            );
            ensure!(
                after <= before + before / 20 + slack,
                "{} takes more and more {what}",
                self.name
            );
        }
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // an error says that it has ended already
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
