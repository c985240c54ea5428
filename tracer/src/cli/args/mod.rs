//! Arguments, one file for each command. Parsing validates, and does nothing else.

mod check;
mod compare;
mod endpoint;
mod expect;
mod export;
mod options;
mod probe;
mod read;
mod record;
mod report;
mod watch;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

pub use check::{CheckArgs, CheckCommand, DEFAULT_TIME};
pub use compare::CompareCommand;
pub use endpoint::{Endpoint, Target};
pub use expect::Expect;
pub use export::ExportCommand;
pub use options::{Color, Format, Options, RoutingMode};
pub use probe::{ProbeArgs, ProbeProto};
pub use read::ReadCommand;
pub use record::RecordCommand;
pub use report::ReportCommand;
pub use watch::{WatchCommand, WatchOptions};

use crate::filter::can_start_with;

const EXAMPLES: &str = "\
Examples:
  tracer                                the interactive view (? shows its keys)
  tracer watch                          every flow on this node, its path and its losses
  tracer watch udp port 53              only DNS
  tracer watch -i eth0 --packets tcp    one line per packet, as tcpdump
  tracer watch drop and net 10.0.0.0/8  flows that lose packets
  tracer -o json watch | jq .           the same for programs
  tracer check host 10.1.2.3 --for 10s --via ens6

FILTER is a pcap-filter expression (host, net, port, portrange, src, dst, ip, ip6, tcp, udp,
icmp, icmp6, and, or, not) with more primitives: dev, netns, pod, vni, mark, table,
reason, drop.
Quote it where the shell would read it: 'not (tcp or udp)'.";

const EXIT: &str = "\
Exit status:
  0  good    1  error at run time    2  wrong arguments
  3  check, read: loss or misroute; compare: loss; audit: something is wrong
  4  check, read, compare, audit: inconclusive";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  tracer doctor                     what works here, and what to do about each gap
  tracer doctor -o json             the same for programs

Exit status:
  0  tracing can start here    1  it cannot: the lines say why    2  wrong arguments";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  tracer completions bash > /etc/bash_completion.d/tracer
  tracer completions zsh > /usr/local/share/zsh/site-functions/_tracer
  tracer completions fish > ~/.config/fish/completions/tracer.fish

The packages have them already.";

const AUDIT_EXAMPLES: &str = "\
Examples:
  tracer audit                                       this node, before any packet
  tracer audit --mode native --pod-cidr 10.244.0.0/16
  tracer audit --cluster cluster.toml -o json        compare with a list of the nodes
  tracer audit --netns n1                            another namespace

It loads no BPF, and needs root only to look into other namespaces: --netns self leaves the pods out.

Exit status:
  0  nothing wrong   2  wrong arguments     4  inconclusive: not everything
  1  error           3  an error or warning    could be read";

/// The words as clap wants them: see [`report_file`] and [`tunnels`].
pub fn joined(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    report_file(tunnels(words))
}

/// `tracer report FILE -o report.html` writes there, though `-o` is the output format elsewhere.
fn report_file(mut words: Vec<OsString>) -> Vec<OsString> {
    let is = |word: &OsString, names: &[&str]| names.iter().any(|n| word == n);
    if !words.iter().skip(1).any(|w| w == "report") {
        return words;
    }
    let at = words.iter().position(|w| is(w, &["-o", "--output"]));
    if let Some(at) = at
        && words
            .get(at + 1)
            .is_some_and(|value| !is(value, &["text", "json"]))
    {
        words[at] = "--write".into();
    }
    words
}

/// Writes `--tunnel DEV` as `--tunnel=DEV`, and `--reply-tunnel` so too. The value is optional, so that clap would take the first
/// word of a filter for it, or with `=` required refuse the form with a blank.
fn tunnels(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for word in words {
        let value = word
            .to_str()
            .is_some_and(|w| !w.starts_with('-') && !can_start_with(w));
        match joined.last_mut() {
            Some(last) if value && (last == "--tunnel" || last == "--reply-tunnel") => {
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
    /// For `live`, which is also what happens without a command.
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
    /// The interactive view, which is also what happens without a command on a terminal
    #[command(after_help = EXAMPLES)]
    Live(WatchCommand),
    /// Wait for traffic, judge it, print the verdict
    #[command(after_help = check::EXAMPLES)]
    Check(Box<CheckCommand>),
    /// Read routes, rules, links, neighbours and sysctls, and say what is wrong in them
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit,
    /// Write packets, decisions and drops to a file, for Wireshark and `tracer read`
    #[command(after_help = record::EXAMPLES)]
    Record(RecordCommand),
    /// Show what is in a file of `tracer record`; needs no root
    #[command(after_help = read::EXAMPLES)]
    Read(ReadCommand),
    /// Join the captures of two nodes: what left one and never reached the other
    #[command(after_help = compare::EXAMPLES)]
    Compare(CompareCommand),
    /// Make a page of a file of `tracer record`, to be attached to a ticket
    #[command(after_help = report::EXAMPLES)]
    Report(ReportCommand),
    /// Answer scrapes of Prometheus with what passes, what is lost, and verdicts of checks
    #[command(after_help = export::EXAMPLES)]
    Export(ExportCommand),
    /// Show what this kernel and these privileges allow
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor,
    /// Print what a shell needs to complete arguments of tracer
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages; for packages
    #[command(hide = true)]
    Man {
        /// Directory to write them to
        dir: PathBuf,
    },
}
