//! Arguments of `tracer check`.

use std::{path::PathBuf, time::Duration};

use super::{Endpoint, Expect, ProbeArgs};
use crate::cli::duration;

/// How long a check looks when nothing else is said.
pub const DEFAULT_TIME: Duration = Duration::from_secs(30);

pub(super) const EXAMPLES: &str = "\
Examples:
  tracer check net 10.244.2.0/24 --for 10s        nothing lost, misrouted or unanswered?
  tracer check --to 10.1.2.3 --via ens6           does it leave by ens6?
  tracer check host 10.1.2.3 --reply-via ens6     do the answers?
  tracer check net 10.244.0.0/16 --no-tunnel      native routing?
  tracer check --probe 10.244.2.20:443 --probe-netns web       needs no traffic of others
  tracer check --probe 10.244.2.20:53 --probe-proto udp --probe-size 1450    an MTU test
  tracer check tcp port 443 --max-drops 0 -o json
  tracer check -f checks.toml -o junit            several checks at once

--via, --not-via, --tunnel, --no-tunnel, --table, the same with --reply-, and --max-drops replace
the default judgement (no loss, no silence, no finding of severity error); --fail-on and
--min-packets add to either. Paths are judged in the direction that FILTER matches. SIGINT ends
the wait: what was seen is judged. SIGTERM leaves a partial verdict, which is inconclusive.

Exit status:
  0  pass            2  wrong arguments     4  inconclusive: no matching traffic, or
  1  error           3  fail                   events lost that could hide the answer";

/// `check`.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct CheckCommand {
    /// How long to look at most: 30s, 500ms, 2m [default: 30s]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// Several checks, from a TOML file; each has a verdict
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The check, when it is one.
    #[command(flatten)]
    pub check: CheckArgs,
}

/// One check, on the command line or in a file.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct CheckArgs {
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Only flows from there; with FILTER both must match
    #[arg(long, value_name = "ADDR[:PORT]|NET|POD")]
    pub from: Option<Endpoint>,
    /// Only flows to there
    #[arg(long, value_name = "ADDR[:PORT]|NET|POD")]
    pub to: Option<Endpoint>,
    /// Judge as soon as N matching packets were seen
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub until_packets: Option<u64>,
    /// What the traffic must do.
    #[command(flatten)]
    pub expect: Expect,
    /// What to send.
    #[command(flatten)]
    pub probe: ProbeArgs,
}

impl CheckArgs {
    /// Everything that says which flows, as one filter.
    pub fn filter_text(&self) -> String {
        let typed = self.filter.join(" ");
        let ends: Vec<String> = [(&self.from, "src"), (&self.to, "dst")]
            .into_iter()
            .filter_map(|(end, side)| Some(end.as_ref()?.filter(side)))
            .collect();
        if ends.is_empty() {
            return typed;
        }
        let ends = ends.join(" and ");
        if typed.trim().is_empty() {
            ends
        } else {
            format!("{ends} and ({typed})")
        }
    }
}
