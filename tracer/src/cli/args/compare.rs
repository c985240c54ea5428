//! Arguments of `tracer compare`.

use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  tracer record -w n1.pcapng --for 30s     on node 1, and the same on node 2 at the same time
  tracer compare n1.pcapng n2.pcapng       what left one and never reached the other
  tracer compare n1.pcapng n2.pcapng udp port 53

Clocks may differ: their difference is worked out from packets seen on both nodes.

Exit status:
  0  all arrived    3  packets were lost between the nodes
  1  error          4  inconclusive: nothing in common, or a capture is incomplete
  2  wrong arguments";

/// `compare`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct CompareCommand {
    /// A file that `tracer record` wrote on one node
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// A file that `tracer record` wrote on the other
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}
