//! `cargo xtask`: everything that is done to this workspace and is no plain cargo command.

#![expect(clippy::print_stdout, reason = "xtask is a command line program")]

mod setup;
mod sh;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, version)]
enum Task {
    /// Install what building, testing and the demo need and this machine lacks
    Setup,
    /// Build tracer, with its BPF object
    Build {
        /// Optimised
        #[arg(long)]
        release: bool,
    },
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Setup => setup::all(),
        Task::Build { release } => {
            setup::toolchain()?;
            let mut cargo = sh::cargo()?;
            cargo.args(["build", "--package", "tracer"]);
            if release {
                cargo.arg("--release");
            }
            sh::run(&mut cargo)
        }
    }
}
