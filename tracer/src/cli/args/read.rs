//! Arguments of `tracer read`.

use std::path::PathBuf;

use super::Expect;

pub(super) const EXAMPLES: &str = "\
Examples:
  tracer read now.pcapng                       findings and flows
  tracer read now.pcapng udp port 53           of these flows
  tracer read now.pcapng --packets drop        packets that ended, and why
  tracer read now.pcapng --tui                 the interactive view: play, step, next drop
  tracer read now.pcapng -o json | jq .        the same for programs
  tracer read now.pcapng --via ens6            judge it, as `tracer check` does

With an expectation the exit status is that of `tracer check`.";

/// `read`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct ReadCommand {
    /// A file that `tracer record` wrote; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// One line for each packet at each device, as tcpdump
    #[arg(long)]
    pub packets: bool,
    /// The interactive view, with a place in the recording's time (? shows its keys)
    #[arg(long, conflicts_with = "packets")]
    pub tui: bool,
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// What the traffic must have done.
    #[command(flatten)]
    pub expect: Expect,
}
