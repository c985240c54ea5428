//! Arguments of `tracer check`.

use std::time::Duration;

use crate::{cli::duration, view::check::Expectations};

pub(super) const EXAMPLES: &str = "\
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
