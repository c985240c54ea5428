//! Arguments of `tracer watch`.

use std::time::Duration;

use crate::cli::duration;

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
