//! `cargo xtask test`: unit tests, doc tests and the end-to-end tests, summed up.

use std::{
    env,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use crate::{build, setup, sh};

/// What to run.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only tests whose name contains one of these words
    filter: Vec<String>,
    /// Only the tests that need no root
    #[arg(long, conflicts_with = "e2e")]
    unit: bool,
    /// Only the end-to-end tests
    #[arg(long)]
    e2e: bool,
    /// Handed to each test program
    #[arg(last = true)]
    options: Vec<String>,
}

/// Sums over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.unit {
        setup::toolchain()?;
    } else {
        setup::all()?;
    }
    let tracer = build::tracer(false)?;

    let mut sum = Sum::default();
    if !args.e2e {
        // with neither --lib nor --doc nor --tests this is all of them
        let mut unit = sh::cargo()?;
        unit.args(["test", "--workspace", "--exclude", "e2e", "--no-fail-fast"]);
        sum.add(&program(&mut unit, args)?);
    }
    let may_e2e = Uid::effective().is_root();
    if !args.unit && may_e2e {
        let mut e2e = sh::cargo()?;
        e2e.args(["test", "--package", "e2e", "--no-fail-fast"])
            .env("TRACER_BIN", &tracer);
        // labs share the kernel's tracepoints and the clock: one after the other
        if env::var_os("RUST_TEST_THREADS").is_none() {
            e2e.env("RUST_TEST_THREADS", "1");
        }
        sum.add(&program(&mut e2e, args)?);
    }

    if sum.ignored > 0 {
        println!(
            "{} tests are marked `#[ignore]` and were not run",
            sum.ignored
        );
    }
    if !args.unit && !may_e2e {
        sum.failed += 1;
        println!(
            "the end-to-end tests were not run: they make network namespaces and load BPF, which \
             needs root; run `cargo xtask test` as root, or `cargo xtask test --unit`"
        );
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    match sum {
        Sum { failed: 1.., .. } => bail!("not all tests passed"),
        Sum { passed: 0, .. } => bail!("no test was run"),
        Sum { .. } => Ok(()),
    }
}

/// Runs `cargo test`, passes its output on and counts. A test program that did not come to its
/// result, or does not build, counts as one failure.
fn program(cargo: &mut Command, args: &Args) -> Result<Sum> {
    cargo.arg("--").args(&args.filter).args(&args.options);
    if io::stdout().is_terminal() {
        cargo.arg("--color=always");
    }
    let line = sh::line(cargo);
    println!("$ {line}");
    let child = cargo.stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot start `{line}`"))?;
    let output = child.stdout.take().context("stdout is piped")?;

    let mut sum = Sum::default();
    let mut out = io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        if let Some(result) = result(&String::from_utf8_lossy(&line)) {
            sum.add(&result);
        }
    }
    if !child.wait()?.success() && sum.failed == 0 {
        sum.failed = 1;
    }
    Ok(sum)
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn result(line: &str) -> Option<Sum> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        let part = counts
            .split(';')
            .find_map(|part| part.trim_end().strip_suffix(what))?;
        part.split_whitespace().next_back()?.parse().ok()
    };
    Some(Sum {
        passed: count(" passed")?,
        failed: count(" failed")?,
        ignored: count(" ignored")?,
    })
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_is_read_with_and_without_colour() {
        let counts = "12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s";
        let want = Some(Sum {
            passed: 12,
            failed: 3,
            ignored: 1,
        });
        assert_eq!(result(&format!("test result: FAILED. {counts}")), want);
        assert_eq!(
            result(&format!(
                "test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. {counts}"
            )),
            want
        );
        assert_eq!(result("test a::b ... ok"), None);
    }

    #[test]
    fn a_program_that_dies_counts_as_a_failure() {
        let args = Args::default();
        let died = program(Command::new("sh").args(["-c", "kill -SEGV $$"]), &args).unwrap();
        assert_eq!(
            died,
            Sum {
                passed: 0,
                failed: 1,
                ignored: 0
            }
        );
    }
}
