//! Raises a lab by hand and holds it: `cargo run -p e2e --bin lab -- raise ipv6-prefix`.
#![expect(clippy::print_stdout, reason = "a command that prints what it did")]

use std::io::{self, IsTerminal as _, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use harness::Lab;
use nix::sys::signal::{SigSet, Signal};

/// Raise the labs of tracer's tests by hand
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the labs and their modes
    List,
    /// Raise a lab and hold it until ^C or the end of stdin
    Raise {
        /// NAME or NAME:MODE
        lab: String,
        /// Repeat the lab's traffic all the time
        #[arg(long)]
        traffic: bool,
    },
    /// Raise a lab, send its traffic, print what became of it
    Try {
        /// NAME or NAME:MODE
        lab: String,
        /// How often
        #[arg(long, default_value_t = 1)]
        rounds: u32,
    },
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::List => list(),
        Command::Raise { lab, traffic } => return raise(&lab, traffic),
        Command::Try { lab, rounds } => {
            let lab = Lab::raise_named(&lab)?;
            println!("{}", lab.describe());
            for flow in lab.traffic(rounds)? {
                println!("{flow}");
            }
        }
    }
    Ok(())
}

fn list() {
    for scenario in Lab::scenarios() {
        println!("{}: {}", scenario.name, scenario.about);
        for mode in scenario.modes {
            println!("  {}:{}\n      {}", scenario.name, mode.name, mode.describe);
        }
    }
}

fn raise(name: &str, traffic: bool) -> Result<()> {
    // before any thread exists, so that all of them leave the signals to the one that waits
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().context("cannot block signals")?;
    let lab = Lab::raise_named(name)?;
    println!(
        "{}:{}: {}",
        lab.scenario().name,
        lab.mode().name,
        lab.describe()
    );
    for (role, ns) in lab.network().spaces() {
        println!(
            "  {role:4} net:[{}]  ip netns exec {} bash",
            ns.inode(),
            ns.name()
        );
    }
    println!("up; ^C takes it down");

    let stop = Arc::new(AtomicBool::new(false));
    let (waiting, end) = (Arc::clone(&stop), end_of_stdin());
    if end {
        thread::spawn(move || {
            let ended = io::stdin().read_to_end(&mut Vec::new());
            // ends as ^C does
            drop(ended.map(|_| nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGTERM)));
        });
    }
    thread::spawn(move || {
        // it fails for an invalid set only; then there is nothing to wait for
        if signals.wait().is_err() {
            thread::park();
        }
        waiting.store(true, Ordering::Relaxed);
    });
    while !stop.load(Ordering::Relaxed) {
        if traffic {
            lab.traffic_until(&stop)?;
        } else {
            thread::park_timeout(std::time::Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Whether the end of stdin is a wish to stop: of a pipe it is, of `/dev/null` it is not.
fn end_of_stdin() -> bool {
    use nix::sys::stat::{SFlag, fstat};
    let pipe = fstat(io::stdin())
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode).contains(SFlag::S_IFIFO));
    pipe || io::stdin().is_terminal()
}
