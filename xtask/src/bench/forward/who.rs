//! The programs that take turns, and one round of each.

use std::{
    ffi::OsStr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use harness::{Tracer, bpf::floor::Floor, pty::Pty};
use nix::sys::resource::UsageWho;

use super::{
    super::record::cpu_time,
    load::{Load, Router},
};

/// Who traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Nobody,
    /// Programs that do nothing, where tracer has programs.
    Floor,
    /// tracer, all flows.
    Live,
    /// The same in its interactive view.
    View,
    /// tracer with a filter that no packet passes.
    Unwanted,
    Record,
    Tcpdump,
    Bpftrace,
}

/// What tracer does, as far as bpftrace can: packets of each flow at each device, in and out, the
/// route lookups and the losses. (Its tracepoints show neither the decision nor the table.)
const SCRIPT: &str = r#"
tracepoint:net:netif_receive_skb {
  $skb = (struct sk_buff *)args->skbaddr;
  $ip = (struct iphdr *)$skb->data;
  $udp = (struct udphdr *)($skb->data + 20);
  @in[$skb->dev->ifindex, $ip->saddr, $ip->daddr, $udp->source, $udp->dest] = count();
}
tracepoint:net:net_dev_queue {
  $skb = (struct sk_buff *)args->skbaddr;
  $ip = (struct iphdr *)($skb->head + $skb->network_header);
  $udp = (struct udphdr *)($skb->head + $skb->network_header + 20);
  @out[$skb->dev->ifindex, $ip->saddr, $ip->daddr, $udp->source, $udp->dest] = count();
}
tracepoint:fib:fib_table_lookup { @fib[args->tb_id, args->err] = count(); }
tracepoint:skb:kfree_skb { @lost[args->location, args->reason] = count(); }
interval:ms:100 { printf("ready\n"); }
"#;

/// A program that traces.
pub(super) enum Running {
    Lines(Tracer),
    View(Pty),
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Lines(process) => process.pid(),
            Self::View(terminal) => terminal.pid(),
        }
    }

    /// Ends it as its user does, and waits for the end.
    pub(super) fn stop(self) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(30);
        match self {
            Self::Lines(process) => process.interrupt(LIMIT).map(drop),
            Self::View(terminal) => terminal.quit(LIMIT),
        }
    }
}

/// One round of one program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Packets a second that went through the router.
    pub(super) rate: f64,
    /// The same for each second of CPU time of the sender, who also forwards: on a machine that does
    /// other work too it says more.
    pub(super) per_cpu_second: f64,
    /// Both, as a share of what it was without a program, just before and just after.
    pub(super) of_untraced: f64,
    pub(super) of_untraced_cpu: f64,
    /// CPU time of the process while they did, as a share of one CPU.
    pub(super) cpu: f64,
    /// The most memory it had.
    pub(super) memory_mib: f64,
    pub(super) start_ms: f64,
    pub(super) stop_ms: f64,
}

impl Who {
    pub(super) const ALL: [Self; 8] = [
        Self::Nobody,
        Self::Floor,
        Self::Live,
        Self::View,
        Self::Unwanted,
        Self::Record,
        Self::Tcpdump,
        Self::Bpftrace,
    ];
    /// For loads beside the main one.
    pub(super) const FEW: [Self; 4] = [Self::Nobody, Self::Floor, Self::Live, Self::Unwanted];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Floor => "empty programs",
            Self::Live => "tracer",
            Self::View => "tracer's view",
            Self::Unwanted => "tracer, no match",
            Self::Record => "tracer record",
            Self::Tcpdump => "tcpdump",
            Self::Bpftrace => "bpftrace",
        }
    }

    pub(super) fn command(self, tracer: &Path) -> Option<Command> {
        let with = |program: &Path, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args);
            Some(command)
        };
        match self {
            Self::Nobody | Self::Floor => None,
            // room for 100,000 flows at two devices
            Self::Live => with(tracer, &["watch", "-q", "-o", "json", "--flows", "262144"]),
            Self::View => with(tracer, &["live"]),
            Self::Unwanted => with(tracer, &["watch", "-q", "-o", "json", "host", "192.0.2.1"]),
            Self::Record => with(tracer, &["record", "-s", "128", "-w", "/dev/null"]),
            Self::Tcpdump => with(
                Path::new("tcpdump"),
                &[
                    "-n",
                    "-i",
                    "any",
                    "-Z",
                    "root",
                    "-s",
                    "128",
                    "-w",
                    "/dev/null",
                ],
            ),
            // its tracepoints are found by tracefs, which need not be mounted where it looks
            Self::Bpftrace => with(
                Path::new("unshare"),
                &[
                    "--mount",
                    "sh",
                    "-c",
                    "mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace -e \"$1\"",
                    "sh",
                    SCRIPT,
                ],
            ),
        }
    }

    /// Starts the program and waits until it traces.
    pub(super) fn start(self, tracer: &Path, router: &Router) -> Result<Option<Running>> {
        const LIMIT: Duration = Duration::from_secs(30);
        let Some(command) = self.command(tracer) else {
            return Ok(None);
        };
        let node = router.ns("n1")?;
        if self == Self::View {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let words: Option<Vec<&str>> = words.map(OsStr::to_str).collect();
            let words = words.context("the path of tracer is no text")?;
            let terminal = Pty::start(node, (120, 40), &words)?;
            terminal.wait_for("the first screen", LIMIT, |s| s.contains("LIVE"))?;
            return Ok(Some(Running::View(terminal)));
        }
        let process = Tracer::spawn_command(node, command)?;
        match self {
            Self::Tcpdump => {
                process.stderr_line("listening", LIMIT, |line| line.contains("listening"))?;
            }
            Self::Bpftrace => {
                process.stdout_line("ready", LIMIT, |line| line.contains("ready"))?;
            }
            _ => process.wait_ready(LIMIT)?,
        }
        Ok(Some(Running::Lines(process)))
    }

    /// The speed of a machine that is shared changes within seconds: what a round is compared with is the mean
    /// of two without a program around it, each half as long.
    pub(super) fn round(
        self,
        tracer: &Path,
        router: &Router,
        load: &Load,
        packets: u64,
    ) -> Result<Round> {
        let alone = || Self::Nobody.once(tracer, router, load, packets / 2);
        let before = alone()?;
        let mut round = self.once(tracer, router, load, packets)?;
        let after = alone()?;
        round.of_untraced = round.rate / f64::midpoint(before.rate, after.rate);
        round.of_untraced_cpu =
            round.per_cpu_second / f64::midpoint(before.per_cpu_second, after.per_cpu_second);
        Ok(round)
    }

    fn once(self, tracer: &Path, router: &Router, load: &Load, packets: u64) -> Result<Round> {
        let _floor = match self {
            Self::Floor => Some(Floor::attach(router.ns("n1")?, &["in", "out"])?),
            _ => None,
        };
        let begun = Instant::now();
        let process = self.start(tracer, router)?;
        let start_ms = begun.elapsed().as_secs_f64() * 1e3;
        let used = |process: &Option<Running>| process.as_ref().map_or(Ok(0.0), cpu_seconds);
        let before = used(&process)?;
        let sender = cpu_time(UsageWho::RUSAGE_THREAD)?;
        let sent = router.send(load, packets)?;
        let sender = cpu_time(UsageWho::RUSAGE_THREAD)? - sender;
        let seconds = sent.elapsed.as_secs_f64();
        let cpu = (used(&process)? - before) / seconds;
        let mut round = Round {
            rate: sent.sent as f64 / seconds,
            per_cpu_second: sent.sent as f64 / sender,
            cpu,
            ..Round::default()
        };
        if let Some(process) = process {
            round.start_ms = start_ms;
            round.memory_mib = peak_mib(&process)?;
            let begun = Instant::now();
            process.stop().with_context(|| self.name())?;
            round.stop_ms = begun.elapsed().as_secs_f64() * 1e3;
        }
        Ok(round)
    }
}

/// CPU time of a process so far, user and system.
fn cpu_seconds(process: &Running) -> Result<f64> {
    // one hundredth of a second is the unit of /proc on every architecture (USER_HZ)
    const HZ: f64 = 100.0;
    let path = format!("/proc/{}/stat", process.pid());
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // the name in parentheses may hold anything; utime and stime are the 14th and 15th field
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|n| n.parse().unwrap_or(0)).sum();
    Ok(ticks as f64 / HZ)
}

fn peak_mib(process: &Running) -> Result<f64> {
    let path = format!("/proc/{}/status", process.pid());
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no VmHWM in {path}"))? / 1024.0)
}
