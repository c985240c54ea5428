//! `cargo xtask bench`: measurements, side by side in one run.

mod capture;
mod forward;
mod instructions;
mod numbers;
mod record;
mod tui;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{build, setup};

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Forward packets through a router that is traced, and through one that is not
    Forward {
        /// Packets in each round
        #[arg(long, value_name = "N", default_value_t = 300_000)]
        packets: u64,
        /// Rounds; the programs take turns
        #[arg(long, value_name = "N", default_value_t = 5)]
        rounds: u32,
        /// IPv4, 64 bytes and 10 flows only, and neither devices nor TCP
        #[arg(long)]
        quick: bool,
        /// Only these programs (repeatable; none and tracer's are always there)
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// The results for programs, too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// This tracer, and not one that is built first
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// Count the instructions of each part of user space, and compare with what is known (no root)
    Instructions {
        /// Keep the new figures
        #[arg(long)]
        write: bool,
    },
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
    Tui {
        /// Instead: from a key to the screen while 100,000 packets a second arrive (root)
        #[arg(long)]
        live: bool,
    },
}

/// Builds what is measured, and measures.
pub(crate) fn run(args: &Args) -> Result<()> {
    match args {
        Args::Instructions { write } => instructions::run(*write),
        Args::Forward {
            packets,
            rounds,
            quick,
            only,
            json,
            program,
        } => {
            let tracer = tracer(program.as_deref())?;
            setup::comparison()?;
            let plan = forward::Plan {
                packets: *packets,
                rounds: *rounds,
                quick: *quick,
                only: only.clone(),
            };
            forward::run(&tracer, &plan, json.as_deref())
        }
        Args::Record {
            packets,
            rounds,
            buffer,
            program,
        } => record::run(&tracer(program.as_deref())?, *packets, *rounds, *buffer),
        Args::Capture { packets, program } => capture::run(&tracer(program.as_deref())?, *packets),
        Args::Tui { live: true } => tui::live(&tracer(None)?),
        Args::Tui { live: false } => {
            setup::all()?;
            tui::run()
        }
    }
}

/// The tracer to measure, as it is shipped.
fn tracer(program: Option<&Path>) -> Result<PathBuf> {
    harness::require_root()?;
    if let Some(file) = program {
        return Ok(file.to_owned());
    }
    setup::all()?;
    build::tracer(true)
}
