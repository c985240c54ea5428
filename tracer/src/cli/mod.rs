//! The command line: arguments, commands, exit codes.

mod allocator;
pub mod args;
mod audit;
mod check;
mod compare;
mod completions;
mod doctor;
mod duration;
mod export;
mod live;
mod log;
mod man;
mod output;
mod read;
mod record;
mod report;
mod size;
mod watch;

use std::{ffi::OsString, io, process::ExitCode};

use anyhow::Result;
use clap::Parser as _;

use crate::probe::leave_the_rest;
use args::{Args, Command};
use output::Output;

use crate::apiserver;

/// Everything is as it should be.
const OK: u8 = 0;
/// Something went wrong at run time.
const ERROR: u8 = 1;
/// The arguments make no sense.
const USAGE: u8 = 2;

/// Parses the arguments and does what they say.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    allocator::give_back();
    let args = match Args::try_parse_from(args::joined(args)) {
        Ok(args) => args,
        Err(e) => {
            // help and version go to stdout and are no error; clap knows which is which
            let code = u8::try_from(e.exit_code()).unwrap_or(USAGE);
            return ExitCode::from(if e.print().is_err_and(|e| !is_closed(&e)) {
                ERROR
            } else {
                code
            });
        }
    };
    log::init(&args.options);
    wait_for_a_line();
    let code = match dispatch(&args) {
        Ok(code) => code,
        Err(e) if is_broken_pipe(&e) => OK,
        Err(e) => {
            output::complain(&e);
            ERROR
        }
    };
    leave_the_rest();
    ExitCode::from(code)
}

/// Set by whoever attaches to the output only after the start, as `kubectl attach` does.
const WAIT: &str = "TRACER_WAIT_STDIN";

/// Waits until somebody is there, who says so with a line (or the end) of stdin.
fn wait_for_a_line() {
    if std::env::var_os(WAIT).is_some_and(|value| !value.is_empty()) {
        // an error says that nobody will come: nothing is gained by waiting for it
        let mut line = String::new();
        drop(io::stdin().read_line(&mut line));
    }
}

fn dispatch(args: &Args) -> Result<u8> {
    let junit = args.options.output == args::Format::Junit;
    if junit && !matches!(args.command, Some(Command::Check(_))) {
        output::complain(&anyhow::anyhow!("-o junit is for the verdicts of check"));
        return Ok(USAGE);
    }
    if args.options.kube && !apiserver::AVAILABLE {
        output::complain(&anyhow::anyhow!(
            "--kube: this tracer cannot ask an API server; one that is built with \
             `cargo build --release --features kube` can"
        ));
        return Ok(USAGE);
    }
    let out = Output::new(&args.options);
    match &args.command {
        None => live::run(&args.options, &args.watch, &args.filter, out),
        Some(Command::Live(c)) => live::run(&args.options, &c.watch, &c.filter, out),
        Some(Command::Watch(c)) => watch::run(&args.options, &c.watch, &c.filter, out),
        Some(Command::Check(c)) => check::run(&args.options, c, out),
        Some(Command::Audit) => audit::run(&args.options, out),
        Some(Command::Record(c)) => record::run(&args.options, c, out),
        Some(Command::Read(c)) => read::run(&args.options, c, out),
        Some(Command::Compare(c)) => compare::run(&args.options, c, out),
        Some(Command::Report(c)) => report::run(&args.options, c, out),
        Some(Command::Export(c)) => export::run(&args.options, c, &out),
        Some(Command::Doctor) => doctor::run(&args.options, out),
        Some(Command::Completions { shell }) => completions::run(*shell, out),
        Some(Command::Man { dir }) => man::run(dir),
    }
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|c| c.downcast_ref::<io::Error>())
        .any(is_closed)
}

fn is_closed(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests;
