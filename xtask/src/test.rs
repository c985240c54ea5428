//! `cargo xtask test`: unit tests, doc tests and the end-to-end tests, summed up.

use std::{
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{build, dist, e2e, kube, setup, sh, vm::Version};

/// What to run.
#[derive(clap::Args, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub(crate) struct Args {
    /// Only tests whose name contains one of these words
    filter: Vec<String>,
    /// Only the tests that need no root
    #[arg(long, conflicts_with = "e2e")]
    unit: bool,
    /// Only the end-to-end tests
    #[arg(long)]
    e2e: bool,
    /// Run the end-to-end tests in a virtual machine with this kernel
    #[arg(
        long,
        value_enum,
        value_name = "KERNEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = Version::default().name(),
        conflicts_with = "unit"
    )]
    pub(crate) vm: Option<Version>,
    /// Only the tests of what `cargo xtask dist` makes: another build, so not part of the rest
    #[arg(long, conflicts_with_all = ["unit", "e2e", "vm", "filter"])]
    dist: bool,
    /// Start the static program that `cargo xtask dist` made on other kernels, in virtual machines
    #[arg(long, conflicts_with_all = ["unit", "e2e", "vm", "filter"])]
    kernels: bool,
    /// Only the tests of names from an API server, with a tracer that has the feature `kube`
    #[arg(long, conflicts_with_all = ["unit", "e2e", "vm", "filter"])]
    kube: bool,
    /// Try each lab's verdict so often; with `--e2e each_lab` nothing else
    #[arg(long, value_name = "N", conflicts_with = "unit")]
    pub(crate) repeat: Option<u32>,
    /// Handed to each test program
    #[arg(last = true)]
    options: Vec<String>,
}

/// Sums over all test programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut sum = Sum::default();
    if args.dist || args.kernels || args.kube {
        if args.dist {
            sum.add(&dist::packages()?);
        }
        if args.kernels {
            sum.add(&dist::kernels()?);
        }
        if args.kube {
            sum.add(&kube::run(args)?);
        }
        return conclude(&sum);
    }
    if args.unit {
        setup::toolchain()?;
    } else {
        setup::all()?;
    }
    let tracer = build::tracer(false)?;

    if !args.e2e {
        // with neither --lib nor --doc nor --tests this is all of them
        let all = ["test", "--workspace", "--exclude", "e2e", "--no-fail-fast"];
        // the examples of the harness need no root
        let examples = ["test", "--doc", "--package", "e2e"];
        for tests in [all.as_slice(), &examples] {
            let mut cargo = sh::cargo()?;
            cargo.args(tests).arg("--").args(args.for_programs());
            sum.add(&program(&mut cargo)?);
        }
    }
    if !args.unit {
        match e2e::run(args, &tracer, &[]) {
            Ok(result) => sum.add(&result),
            Err(error) => {
                eprintln!("error: the end-to-end tests: {error:#}");
                sum.add(&Sum::failure());
            }
        }
    }

    conclude(&sum)
}

/// The last lines, and the exit status.
fn conclude(sum: &Sum) -> Result<()> {
    if sum.ignored > 0 {
        println!(
            "{} tests are marked `#[ignore]` and were not run",
            sum.ignored
        );
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    match sum {
        Sum { failed: 1.., .. } => bail!("not all tests passed"),
        Sum { passed: 0, .. } => bail!("no test was run"),
        Sum { .. } => Ok(()),
    }
}

impl Args {
    /// Those of `cargo xtask test --kube`.
    pub(crate) fn of_kube() -> Self {
        Self {
            kube: true,
            ..Self::default()
        }
    }

    /// What each test program is given.
    pub(crate) fn for_programs(&self) -> Vec<String> {
        let color = io::stdout().is_terminal().then(|| "--color=always".into());
        let given = self.filter.iter().chain(&self.options).cloned();
        given.chain(color).collect()
    }
}

/// Runs `cargo test` or a test program, passes its output on and counts. A test program that did not
/// come to its result, or does not build, counts as one failure.
pub(crate) fn program(command: &mut Command) -> Result<Sum> {
    let line = sh::line(command);
    println!("$ {line}");
    let child = command.stdout(Stdio::piped()).spawn();
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
pub(crate) fn result(line: &str) -> Option<Sum> {
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
    /// Of tests that could not be run.
    pub(crate) fn failure() -> Self {
        Self {
            failed: 1,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
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
        let died = program(Command::new("sh").args(["-c", "kill -SEGV $$"])).unwrap();
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
