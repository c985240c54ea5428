//! `cargo xtask`: everything that is done to this workspace and is no plain cargo command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command line program"
)]

mod bench;
mod build;
mod ci;
mod demo;
mod dist;
mod e2e;
mod fuzz;
mod kube;
mod layers;
mod setup;
mod sh;
mod soak;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Builds, tests and shows tracer, and installs what that needs
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Task {
    /// Install what building, testing and the demo need and this machine lacks
    Setup,
    /// Build tracer, with its BPF object
    Build {
        /// Optimised
        #[arg(long)]
        release: bool,
    },
    /// Run everything that tests the project (end-to-end tests need root)
    Test(test::Args),
    /// Raise a broken cluster in network namespaces, send traffic, and run tracer on its first node
    Demo(demo::Args),
    /// Measure tracer beside other programs, in one run (needs root)
    #[command(subcommand)]
    Bench(bench::Args),
    /// Run tracer under changing load, and require that memory and descriptors stay flat (needs root)
    Soak(soak::Args),
    /// Run a command on another kernel, in a virtual machine that sees this machine's files
    Vm(vm::Args),
    /// Read damaged captures, with a sanitizer, for as long as wanted
    Fuzz(fuzz::Args),
    /// Make what is handed out: static programs, packages, checksums
    Dist(dist::Args),
    /// Check which module uses which, and the size of files
    Layers,
    /// Check format, layers, lints and documentation
    Lint,
    /// Run what a change must pass: lint, test, test --kube
    Ci,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    match Task::parse() {
        Task::Setup => setup::all()?,
        Task::Build { release } => {
            setup::toolchain()?;
            println!("{}", build::tracer(release)?.display());
        }
        Task::Test(args) => test::run(&args)?,
        Task::Demo(args) => return demo::run(&args),
        Task::Bench(args) => bench::run(&args)?,
        Task::Soak(args) => soak::run(&args)?,
        Task::Vm(args) => return vm::run(&args),
        Task::Fuzz(args) => fuzz::run(&args)?,
        Task::Dist(args) => drop(dist::run(&args)?),
        Task::Layers => layers::check()?,
        Task::Lint => ci::lint()?,
        Task::Ci => ci::run()?,
    }
    Ok(ExitCode::SUCCESS)
}
