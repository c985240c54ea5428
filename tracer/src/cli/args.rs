//! Arguments. Parsing validates, and does nothing else.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use super::duration;
use crate::{
    diagnose::{Intent, Mode, Source},
    filter::{Filter, can_start_with},
    pipeline::SessionConfig,
    view::check::Expectations,
};

const EXAMPLES: &str = "\
Examples:
  tracer watch                          every flow on this node, its path and its losses
  tracer watch udp port 53              only DNS
  tracer watch -i eth0 --packets tcp    one line per packet, as tcpdump
  tracer watch drop and net 10.0.0.0/8  flows that lose packets
  tracer -o json watch | jq .           the same for programs
  tracer check host 10.1.2.3 --for 10s --via ens6

FILTER is a pcap-filter expression (host, net, port, portrange, src, dst, ip, ip6, tcp, udp,
icmp, icmp6, and, or, not) with more primitives: dev, netns, vni, mark, table, reason, drop.
Quote it where the shell would read it: 'not (tcp or udp)'.";

const EXIT: &str = "\
Exit status:
  0  good    1  error at run time    2  wrong arguments
  3  check: loss or misroute         4  check: inconclusive";

const CHECK_EXAMPLES: &str = "\
Examples:
  tracer check net 10.244.2.0/24 --for 10s        nothing lost, misrouted or unanswered?
  tracer check dst host 10.1.2.3 --via ens6       does it leave by ens6?
  tracer check net 10.244.0.0/16 --no-tunnel      native routing?
  tracer check udp port 4789 --tunnel=vxlan --min-packets 10
  tracer check tcp port 443 --max-drops 0 -o json

The expectations --via, --not-via, --tunnel, --no-tunnel, --table and --max-drops replace the
default judgement (no loss, no silence, no finding of severity error); --fail-on and
--min-packets add to either. Paths are judged in the direction that FILTER matches.

Exit status:
  0  pass            2  wrong arguments     4  inconclusive: no matching traffic, or
  1  error           3  fail                   events lost that could hide the answer";

/// Writes `--tunnel DEV` as `--tunnel=DEV`. The value is optional, so that clap would take the first
/// word of a filter for it, or with `=` required refuse the form with a blank.
pub fn joined(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for word in words {
        let value = word
            .to_str()
            .is_some_and(|w| !w.starts_with('-') && !can_start_with(w));
        match joined.last_mut() {
            Some(last) if value && last == "--tunnel" => {
                last.push("=");
                last.push(word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

/// tracer: what this node did with each packet, per flow, and why
#[derive(Clone, Debug, Parser, PartialEq)]
#[command(name = "tracer", version, max_term_width = 100)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT}"))]
#[command(disable_help_subcommand = true)]
#[command(override_usage = "tracer [OPTIONS] [COMMAND] [FILTER]...")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For all commands.
    #[command(flatten)]
    pub options: Options,
    /// For `watch`, which is also what happens without a command.
    #[command(flatten)]
    pub watch: WatchOptions,
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Print a line when a flow appears, changes route, drops or ends
    #[command(after_help = EXAMPLES)]
    Watch(WatchCommand),
    /// What happens without a command: the same as `watch`
    #[command(hide = true)]
    Live(WatchCommand),
    /// Wait for traffic, judge it, print the verdict
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckCommand),
    /// Show what this kernel and these privileges allow
    Doctor,
}

/// `watch`.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct WatchCommand {
    /// How.
    #[command(flatten)]
    pub watch: WatchOptions,
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// How to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct WatchOptions {
    /// One line for each packet at each device, as tcpdump
    #[arg(long)]
    pub packets: bool,
    /// Stop after this time: 30s, 500ms, 2m
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
}

/// `check`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct CheckCommand {
    /// How long to look: 30s, 500ms, 2m
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, default_value = "30s")]
    pub duration: Duration,
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// What the traffic must do.
    #[command(flatten)]
    pub expect: Expect,
}

/// What the traffic must do.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Expectations")]
pub struct Expect {
    /// Every flow leaves by DEV (repeat for "by one of these")
    #[arg(long, value_name = "DEV")]
    pub via: Vec<String>,
    /// No flow leaves by DEV
    #[arg(long, value_name = "DEV")]
    pub not_via: Vec<String>,
    /// Every flow is encapsulated, by this device or kind (vxlan, geneve, ipip, gre)
    #[arg(
        long,
        value_name = "DEV|KIND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "no_tunnel"
    )]
    pub tunnel: Option<String>,
    /// No flow is encapsulated
    #[arg(long)]
    pub no_tunnel: bool,
    /// Every flow is routed by table T (number, main, local, default)
    #[arg(long, value_name = "T")]
    pub table: Option<String>,
    /// At most N packets are dropped on this node
    #[arg(long, value_name = "N")]
    pub max_drops: Option<u64>,
    /// Inconclusive with fewer than N packets
    #[arg(long, value_name = "N")]
    pub min_packets: Option<u64>,
    /// Fail when this finding appears, whatever its severity
    #[arg(long, value_name = "FINDING")]
    pub fail_on: Vec<String>,
}

/// Options of all commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Only this device (repeatable)
    #[arg(short = 'i', long = "interface", value_name = "DEV", global = true)]
    pub devices: Vec<String>,
    /// Other namespaces: NAME, PID, INODE, self (without the pods) or all (repeatable)
    #[arg(long, value_name = "NETNS", global = true)]
    pub netns: Vec<String>,
    /// Stop after N lines (check: after N matching packets)
    #[arg(short, long, value_name = "N", global = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Output format
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        global = true
    )]
    pub output: Format,
    /// Numbers instead of names for tables, namespaces and errors
    #[arg(short, long, global = true)]
    pub numeric: bool,
    /// Only what was asked for: no summary (check: the verdict alone)
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More: healthy ends, all flows; twice for tracer's own log
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Colour (`NO_COLOR` is respected)
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", global = true)]
    pub color: Color,
    /// ASCII only
    #[arg(long, global = true)]
    pub ascii: bool,
    /// How pods of different nodes are meant to reach each other
    #[arg(long, value_enum, value_name = "MODE", global = true)]
    pub mode: Option<RoutingMode>,
    /// Type information instead of /sys/kernel/btf/vmlinux
    #[arg(long, value_name = "FILE", global = true)]
    pub btf: Option<PathBuf>,
}

/// How pods of different nodes are meant to reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoutingMode {
    /// By routes of the underlay
    Native,
    /// Through a tunnel device
    Tunnel,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Expect {
    /// As the judge wants them.
    pub fn expectations(&self) -> Expectations {
        Expectations {
            via: self.via.clone(),
            not_via: self.not_via.clone(),
            tunnel: self
                .tunnel
                .clone()
                .map(|t| Some(t).filter(|t| !t.is_empty())),
            no_tunnel: self.no_tunnel,
            table: self.table.clone(),
            max_drops: self.max_drops,
            min_packets: self.min_packets,
            fail_on: self.fail_on.clone(),
        }
    }
}

impl Options {
    /// What a session with `filter` looks at.
    pub fn session(&self, filter: Filter) -> SessionConfig {
        SessionConfig {
            devices: self.devices.clone(),
            netns: self.netns.clone(),
            filter,
            each_packet: false,
            duration: None,
            btf: self.btf.clone(),
            intent: self.intent(),
        }
    }

    fn intent(&self) -> Intent {
        let mode = match self.mode {
            Some(RoutingMode::Native) => Mode::Native,
            Some(RoutingMode::Tunnel) => Mode::Tunnel,
            None => return Intent::default(),
        };
        Intent {
            mode,
            source: Source::Flag,
            ..Intent::default()
        }
    }
}
