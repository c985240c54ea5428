//! `cargo xtask bench`: measurements, side by side in one run.

mod capture;
mod record;
mod tui;

use std::path::PathBuf;

use anyhow::Result;

use crate::{build, setup};

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Write every packet of a router under full load to a file, as `tcpdump -w` does
    Record {
        /// Packets in each round
        #[arg(long, value_name = "N", default_value_t = 400_000)]
        packets: u64,
        /// Rounds; the programs take turns
        #[arg(long, value_name = "N", default_value_t = 5)]
        rounds: u32,
        /// KiB between kernel and program
        #[arg(long, value_name = "KIB", default_value_t = 32_768)]
        buffer: u32,
        /// This tracer, and not one that is built first
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// Read, list, report and compare a large capture
    Capture {
        /// Packets in it
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        packets: u64,
        /// This tracer, and not one that is built first
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// Frames and updates of the interactive view with 100,000 flows; needs no root
    Tui,
}

/// Builds tracer and measures.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (Args::Record { program, .. } | Args::Capture { program, .. }) = args else {
        setup::all()?;
        return tui::run();
    };
    harness::require_root()?;
    let tracer = if let Some(file) = program {
        file.clone()
    } else {
        setup::all()?;
        build::tracer(true)?
    };
    match args {
        Args::Record {
            packets,
            rounds,
            buffer,
            ..
        } => record::run(&tracer, *packets, *rounds, *buffer),
        Args::Capture { packets, .. } => capture::run(&tracer, *packets),
        Args::Tui => tui::run(),
    }
}
