//! Arguments of `tracer record`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::cli::{duration, size};

pub(super) const EXAMPLES: &str = "\
Examples:
  tracer record -w now.pcapng                    until ^C
  tracer record -w dns.pcapng udp port 53 --for 30s
  tracer record -w ring.pcapng -C 100 -W 10      the last 1000 MB, in ten files
  tracer record -w t.pcapng host 10.1.2.3 -- curl -s http://10.1.2.3/
  tracer record -w - | ssh box tracer read -     to a pipe

The file is pcapng: Wireshark, tshark and tcpdump open it, and `tracer read` replays it. It is
readable by its owner only. SIGUSR1 prints the counters.";

/// `record`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct RecordCommand {
    /// The file to write; - for standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    pub file: PathBuf,
    /// Bytes of each packet
    #[arg(
        short,
        long,
        value_name = "BYTES",
        default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(14..=16384)
    )]
    pub snaplen: u32,
    /// Stop after this time: 30s, 500ms, 2m
    #[arg(long = "for", visible_alias = "duration", value_name = "TIME", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// Stop before the file is larger: 100M, 2G (the node's configuration, its beginning, is always written)
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub max_size: Option<u64>,
    /// Begin a new file when this much is written (a bare number: millions of bytes): FILE, FILE1, FILE2, …
    /// without end, as tcpdump does
    #[arg(short = 'C', long, value_name = "SIZE", value_parser = size::millions)]
    pub rotate: Option<u64>,
    /// With -C: keep this many files, overwrite the oldest
    #[arg(
        short = 'W',
        long,
        value_name = "N",
        requires = "rotate",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub files: Option<u64>,
    /// Size of the kernel's buffer (a bare number: KiB)
    #[arg(
        short = 'B',
        long,
        value_name = "SIZE",
        default_value = "32M",
        value_parser = size::buffer
    )]
    pub buffer_size: u32,
    /// Which flows
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Record while CMD runs
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}
