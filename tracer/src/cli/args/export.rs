//! Arguments of `tracer export`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::cli::duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  tracer export                                      metrics at http://127.0.0.1:9753/metrics
  tracer export --listen 0.0.0.0:9753                reachable from elsewhere
  tracer export net 10.244.0.0/16                    only these packets are counted
  tracer export -f checks.toml --every 5m            and checks, with a verdict each

docs/metrics.md describes each metric. /healthz answers 200 once everything is attached. SIGTERM
ends it within a second.";

/// The shortest time from one run of the checks to the next.
const SHORTEST: Duration = Duration::from_secs(5);

/// `export`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct ExportCommand {
    /// Where to answer
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9753")]
    pub listen: SocketAddr,
    /// Checks of a TOML file, repeated (docs/checks.md)
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// From one start of the checks to the next
    #[arg(long, value_name = "TIME", default_value = "1m", requires = "file", value_parser = every)]
    pub every: Duration,
    /// Which packets are counted
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = duration::parse(text)?;
    if every < SHORTEST {
        return Err(format!("at least {} s", SHORTEST.as_secs()));
    }
    Ok(every)
}
