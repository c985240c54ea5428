//! `cargo xtask bench record`: every packet to a file, beside `tcpdump -w`.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use harness::{
    Lab, deadline,
    traffic::{Blast, blast::Blasted},
};
use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
        time::TimeVal,
    },
    unistd::Pid,
};

/// Measures at full rate, and looks for the first loss.
pub(super) fn run(tracer: &Path, packets: u64, rounds: u32, buffer: u32) -> Result<()> {
    let bench = Bench {
        lab: Lab::raise("router", None)?,
        tracer: tracer.to_owned(),
        packets,
        dir: std::env::temp_dir().join(format!("tracer-bench-{}", std::process::id())),
    };
    std::fs::create_dir_all(&bench.dir)?;
    let done = bench
        .full_rate(rounds, buffer)
        .and_then(|()| bench.first_loss());
    std::fs::remove_dir_all(&bench.dir)?;
    done
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
    /// Packets that were sent.
    sent: u64,
    /// Packets a second that went through the router.
    rate: f64,
    /// Bytes a second in the file.
    bytes: f64,
    /// CPU time of the sender, who also forwards, nanoseconds a packet: on a machine that does other
    /// work too it says more than the rate.
    sender: f64,
    /// CPU time of the writer since it was ready, nanoseconds a packet.
    writer: f64,
    /// Packets in the file, counted at each device.
    written: u64,
    /// Packets that the writer says it lost.
    lost: u64,
    /// Packets that it should have seen, and neither wrote nor counted as lost.
    missing: i64,
}

/// Small enough that a writer which does not keep up shows it soon.
const SMALL_BUFFER: u32 = 2048;
/// Rates at which the first loss is looked for, packets a second through the router.
const STEPS: [u64; 8] = [
    25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000,
];
/// How long each of them is kept up.
const STEP: Duration = Duration::from_secs(1);
/// A paced sender sends this often.
const PACE: Duration = Duration::from_millis(5);

struct Bench {
    lab: Lab,
    tracer: PathBuf,
    packets: u64,
    dir: PathBuf,
}

impl Bench {
    /// As fast as one thread sends.
    fn full_rate(&self, rounds: u32, buffer: u32) -> Result<()> {
        println!(
            "{} UDP packets of 64 bytes through a router, {rounds} rounds, buffers of {buffer} KiB; \
             each is seen at two devices",
            self.packets
        );
        println!(
            "writer      packets/s   MB/s      written         lost   missing   sender, writer: CPU ns/packet"
        );
        let mut all: [Vec<Round>; 3] = Default::default();
        let writers = [Writer::Nobody, Writer::Tcpdump, Writer::Tracer];
        for round in 0..rounds as usize {
            for turn in 0..writers.len() {
                // each is first, second and third as often
                let who = (round + turn) % writers.len();
                let send = || blast(&self.lab, self.packets);
                let one = self.one(writers[who], buffer, send)?;
                show(writers[who], &one);
                all[who].push(one);
            }
        }
        let [none, tcpdump, tracer] = all;
        let rate = |rounds: &[Round]| median(rounds.iter().map(|r| r.rate));
        let each = || none.iter().zip(&tcpdump).zip(&tracer);
        println!(
            "medians of rounds: packets/s against none: tcpdump {:.2}, tracer {:.2}; tracer against \
             tcpdump: packets/s {:.2}, MB/s {:.2}",
            rate(&tcpdump) / rate(&none),
            rate(&tracer) / rate(&none),
            median(each().map(|((_, d), t)| t.rate / d.rate)),
            median(each().map(|((_, d), t)| t.bytes / d.bytes)),
        );
        let cpu = |rounds: &[Round]| median(rounds.iter().map(|r| r.sender));
        println!(
            "packets per CPU second of the sender: tcpdump {:.2} and tracer {:.2} of none, tracer {:.2} of \
             tcpdump",
            cpu(&none) / cpu(&tcpdump),
            cpu(&none) / cpu(&tracer),
            median(each().map(|((_, d), t)| d.sender / t.sender)),
        );
        Ok(())
    }

    /// The highest rate that each keeps up with, with a small buffer.
    fn first_loss(&self) -> Result<()> {
        println!("first loss, buffers of {SMALL_BUFFER} KiB:");
        println!("wanted/s   tcpdump: packets/s  lost     tracer: packets/s  lost");
        for step in STEPS {
            let send = || paced(&self.lab, step);
            let tcpdump = self.one(Writer::Tcpdump, SMALL_BUFFER, send)?;
            let tracer = self.one(Writer::Tracer, SMALL_BUFFER, send)?;
            println!(
                "{step:>8} {:>19.0} {:>6} {:>20.0} {:>6}",
                tcpdump.rate, tcpdump.lost, tracer.rate, tracer.lost
            );
            if tcpdump.rate.max(tracer.rate) < step as f64 * 0.9 {
                println!("more cannot be sent");
                break;
            }
        }
        Ok(())
    }

    fn one(
        &self,
        writer: Writer,
        buffer: u32,
        send: impl FnOnce() -> Result<Blasted>,
    ) -> Result<Round> {
        let file = self.dir.join("out.pcap").display().to_string();
        let buffer = buffer.to_string();
        let mut command = match writer {
            Writer::Nobody => return rate(send),
            Writer::Tcpdump => {
                let mut c = Command::new("tcpdump");
                c.args(["-n", "-i", "any", "-Z", "root", "-s", "128", "-B", &buffer]);
                c.args(["-w", &file]);
                c
            }
            Writer::Tracer => {
                let mut c = Command::new(&self.tracer);
                c.args(["record", "-s", "128", "-B", &buffer, "-w", &file]);
                c
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self.lab.node().spawn(&mut command)?;
        let ready = Path::new(&file);
        deadline::wait_for("the file", Duration::from_secs(30), || {
            Ok(ready.exists().then_some(()))
        })?;
        // tracer has everything attached when the file is there; tcpdump a moment later
        std::thread::sleep(Duration::from_millis(500));
        let starting = cpu_so_far(&child)?;
        let mut round = rate(send)?;
        let children = UsageWho::RUSAGE_CHILDREN;
        let used = cpu_time(children)?;
        let said = end(&mut child)?;
        let sent = round.sent as f64;
        round.writer = (cpu_time(children)? - used - starting) * 1e9 / sent;
        let size = std::fs::metadata(ready)?.len();
        std::fs::remove_file(ready)?;
        round.bytes = size as f64 * round.rate / sent;
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
        // each is seen coming in and leaving; neighbour discovery and the like come on top
        round.missing = (2 * round.sent).cast_signed() - (round.written + round.lost).cast_signed();
        Ok(round)
    }
}

fn show(writer: Writer, r: &Round) {
    let name = match writer {
        Writer::Nobody => "none",
        Writer::Tcpdump => "tcpdump -w",
        Writer::Tracer => "tracer",
    };
    println!(
        "{name:<10} {:>10.0} {:>6.1} {:>12} {:>12} {:>9} {:>8.0} {:>8.0}",
        r.rate,
        r.bytes / 1e6,
        r.written,
        r.lost,
        if writer == Writer::Nobody {
            0
        } else {
            r.missing.max(0)
        },
        r.sender,
        r.writer,
    );
}

fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// A second of packets at a rate, or as near to it as the machine comes.
fn paced(lab: &Lab, rate: u64) -> Result<Blasted> {
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < STEP {
        let due = rate * begun.elapsed().as_micros() as u64 / 1_000_000 + 1;
        if due > sent {
            sent += blast(lab, (due - sent).min(rate / 10))?.sent;
        }
        std::thread::sleep(PACE);
    }
    Ok(Blasted {
        sent,
        elapsed: begun.elapsed(),
    })
}

fn blast(lab: &Lab, packets: u64) -> Result<Blasted> {
    Blast::to("10.2.0.2:20000")
        .packets(packets)
        .send(lab.ns("a")?)
}

fn rate(send: impl FnOnce() -> Result<Blasted>) -> Result<Round> {
    let used = cpu_time(UsageWho::RUSAGE_THREAD)?;
    let b = send()?;
    let used = cpu_time(UsageWho::RUSAGE_THREAD)? - used;
    let seconds = b.elapsed.as_secs_f64();
    ensure!(seconds > 0.0 && b.sent > 0, "nothing was sent");
    Ok(Round {
        sent: b.sent,
        rate: b.sent as f64 / seconds,
        sender: used * 1e9 / b.sent as f64,
        ..Round::default()
    })
}

/// Seconds of CPU time, of this thread or of the children that have ended.
pub(super) fn cpu_time(who: UsageWho) -> Result<f64> {
    let usage = getrusage(who)?;
    let seconds = |t: TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Seconds of CPU time that a program has used, all threads; in hundredths.
fn cpu_so_far(child: &Child) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    // utime and stime are the 14th and 15th field, the state behind the name is the third
    let ticks: u64 = behind_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / 100.0)
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
