//! `cargo xtask vm all`: the scenarios on each kernel, as a table.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::ValueEnum as _;

use super::{Program, environment, programs};
use crate::{
    build, setup, sh,
    test::{self, Sum},
    vm::{self, Job, Version},
};

/// For one scenario on one kernel; the longest takes a third of it where nothing else runs.
const LIMIT: Duration = Duration::from_mins(20);
/// Written before each program, so that results can be told apart.
const MARK: &str = "== scenario ";

/// What a test says when its subject is not there.
const ABSENT: &str = "NOT CHECKED, ";

/// A test program, and which of its tests; all when there are no words.
struct Scenario {
    program: &'static str,
    tests: &'static [&'static str],
    /// Also part of the short list.
    smoke: bool,
}

/// What is run. Load and timing are measured on the machine itself; here it matters what each kernel
/// answers.
const SCENARIOS: [Scenario; 12] = [
    Scenario::of("native_tunnel", &[], false),
    Scenario::of("ipv6_prefix", &[], false),
    Scenario::of("aws_eni", &[], false),
    Scenario::of("encap_loss", &[], false),
    Scenario::of("routes", &["results", "neighbour", "optional"], false),
    Scenario::of("nat", &["service"], false),
    Scenario::of("captures", &["ends"], false),
    Scenario::of("coexist", &["several", "qdisc", "a_filter", "moves"], false),
    Scenario::of(
        "faults",
        &["stall", "overrun", "terminal", "clock", "--include-ignored"],
        false,
    ),
    Scenario::of("names", &["cgroup_v1"], false),
    Scenario::of("kinds", &[], false),
    Scenario::of(
        "degraded",
        &["capability", "given_up", "container", "perf_events"],
        true,
    ),
];

impl Scenario {
    const fn of(program: &'static str, tests: &'static [&'static str], smoke: bool) -> Self {
        Self {
            program,
            tests,
            smoke,
        }
    }
}

/// Tests whose subject a kernel does not have: program, part of the name, the first kernel that has
/// it, and what it is.
const NEEDS: [(&str, &str, Version, &str); 3] = [
    (
        "aws_eni",
        "rp_filter_drops",
        Version::V6_1,
        "no drop reasons before 5.17",
    ),
    (
        "ipv6_prefix",
        "without_a_default_route",
        Version::V6_1,
        "no drop reasons before 5.17",
    ),
    (
        "faults",
        "monotonic_clock",
        Version::V6_12,
        "a program that is executed does not enter its time namespace before 6.3",
    ),
];

/// The results on one kernel, by program.
type Outcomes = BTreeMap<String, Outcome>;

/// The results of one program on one kernel.
#[derive(Clone, Debug, Default)]
struct Outcome {
    /// Names of those that failed, as far as they are on a line of their own.
    failed: Vec<String>,
    /// What the tests said is not there; those have passed without it.
    absent: Vec<String>,
    /// What it counted itself, once it came to its end.
    sum: Option<Sum>,
}

/// Runs the scenarios on `kernels` (`all`, `smoke`, or names) and prints the table.
pub(crate) fn run(kernels: &[String]) -> Result<ExitCode> {
    let (versions, smoke) = chosen(kernels)?;
    setup::all()?;
    let tracer = build::tracer(false)?;
    let mut cargo = sh::cargo()?;
    cargo.args(["test", "--package", "e2e", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics");
    println!("$ {}", sh::line(&cargo));
    let programs = programs(&sh::stdout(&mut cargo)?);
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(|s| s.smoke || !smoke).collect();
    vm::prepare()?;
    let jobs = jobs(&versions, &scenarios, &programs, &tracer)?;
    let table = at_once(jobs)?;
    let good = table.values().all(|outcomes| {
        scenarios.iter().all(|s| {
            outcomes
                .get(s.program)
                .and_then(|o| o.sum.as_ref())
                .is_some_and(|sum| sum.failed == 0 && sum.passed > 0)
        })
    });
    println!("\n{}", shown(&scenarios, &table));
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is to be run: each scenario on each kernel in a machine of its own, so that one that fails takes
/// nothing along.
fn jobs(
    versions: &[Version],
    scenarios: &[&Scenario],
    programs: &[Program],
    tracer: &Path,
) -> Result<Vec<(Version, Job)>> {
    let mut jobs = Vec::new();
    for scenario in scenarios {
        for version in versions {
            let job = Job {
                script: script(*version, scenario, programs)?,
                dir: sh::root()?.to_owned(),
                env: environment(tracer, &test::Args::default()),
                limit: LIMIT,
            };
            jobs.push((*version, job));
        }
    }
    Ok(jobs)
}

/// As many jobs at a time as this machine has CPUs: an emulated one keeps one of them busy.
fn at_once(jobs: Vec<(Version, Job)>) -> Result<BTreeMap<Version, Outcomes>> {
    let mut table: BTreeMap<Version, Outcomes> = BTreeMap::new();
    let threads = thread::available_parallelism()?.get().min(jobs.len());
    let waiting = Mutex::new(jobs.into_iter());
    // a thread that panicked holds it for no longer than it takes to go to the next job
    let next = || waiting.lock().ok()?.next();
    let work = || {
        let mut done = Vec::new();
        while let Some((version, job)) = next() {
            // the others' results are worth having
            let made = outcomes(version, &job).unwrap_or_else(|e| {
                println!("Linux {}: {e:#}", version.name());
                Outcomes::new()
            });
            done.push((version, made));
        }
        done
    };
    thread::scope(|scope| -> Result<()> {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for one in running {
            let Ok(done) = one.join() else {
                bail!("a thread panicked");
            };
            for (version, outcomes) in done {
                table.entry(version).or_default().extend(outcomes);
            }
        }
        Ok(())
    })?;
    Ok(table)
}

/// Runs a scenario on a kernel, and shows what it writes behind the kernel's name.
fn outcomes(version: Version, job: &Job) -> Result<Outcomes> {
    let begun = Instant::now();
    let run = vm::run_job(version, job, |results: &mut Results, line| {
        let line = String::from_utf8_lossy(line);
        let mut out = io::stdout().lock();
        write!(out, "{}: {line}", version.name())?;
        out.flush()?;
        results.read(&line);
        Ok(())
    })?;
    println!("Linux {}: {:?}", version.name(), begun.elapsed());
    Ok(run.made.outcomes)
}

fn chosen(kernels: &[String]) -> Result<(Vec<Version>, bool)> {
    match kernels {
        [word] if word == "all" => Ok((Version::ALL.to_vec(), false)),
        [word] if word == "smoke" => Ok((vec![Version::OLDEST, Version::NEWEST], true)),
        names => {
            let mut versions = Vec::new();
            for name in names {
                match Version::from_str(name, false) {
                    Ok(version) => versions.push(version),
                    Err(e) => bail!("no kernel {name}: {e}; there are all, smoke and their names"),
                }
            }
            Ok((versions, false))
        }
    }
}

/// Runs the program after a line that names it.
fn script(version: Version, scenario: &Scenario, programs: &[Program]) -> Result<String> {
    let Some(program) = programs.iter().find(|p| p.is(scenario.program)) else {
        bail!("there is no end-to-end program {}", scenario.program);
    };
    let (path, package) = (
        sh::quoted(program.path.as_os_str()),
        sh::quoted(program.package.as_os_str()),
    );
    let missing = NEEDS
        .iter()
        .filter(|(p, _, since, _)| *p == scenario.program && version < *since);
    let skipped: Vec<String> = missing
        .map(|(_, test, _, _)| format!("--skip {test}"))
        .collect();
    let words = [scenario.tests.join(" "), skipped.join(" ")].join(" ");
    let mark = format!("{MARK}{}", scenario.program);
    Ok(format!(
        "echo '{mark}'\ncd {package} && CARGO_MANIFEST_DIR={package} {path} {words}\n"
    ))
}

/// What the guest has said so far.
#[derive(Default)]
struct Results {
    program: String,
    outcomes: Outcomes,
}

impl Results {
    /// Reads `test NAME ... ok`, `test NAME ... FAILED` and the sum of a program.
    fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(program) = line.strip_prefix(MARK) {
            program.clone_into(&mut self.program);
            self.outcomes.entry(program.to_owned()).or_default();
            return;
        }
        let Some(outcome) = self.outcomes.get_mut(&self.program) else {
            return;
        };
        // it may stand behind the name of a test
        if let Some((_, what)) = line.split_once(ABSENT) {
            outcome.absent.push(what.to_owned());
        } else if let Some(sum) = test::result(line) {
            outcome.sum = Some(sum);
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            outcome.failed.push(name.to_owned());
        }
    }
}

/// A table in Markdown, and a line for each test that failed or is not available.
fn shown(scenarios: &[&Scenario], table: &BTreeMap<Version, Outcomes>) -> String {
    let mut text = String::from("| scenario |");
    let mut notes = String::new();
    for version in table.keys() {
        let _ = write!(text, " {} |", version.name());
    }
    text += "\n|---|";
    text += &"---|".repeat(table.len());
    for scenario in scenarios {
        let _ = write!(text, "\n| `{}` |", scenario.program);
        for (version, outcomes) in table {
            let outcome = outcomes.get(scenario.program).cloned().unwrap_or_default();
            let _ = match &outcome.sum {
                None => write!(text, " did not end |"),
                Some(Sum { passed, failed, .. }) => {
                    let word = if *failed == 0 { "pass" } else { "FAIL" };
                    let ran = passed.saturating_sub(outcome.absent.len() as u64);
                    write!(text, " {word} {ran} of {} |", passed + failed)
                }
            };
            for what in &outcome.absent {
                let _ = writeln!(
                    notes,
                    "- {}: `{}`, {what}",
                    version.name(),
                    scenario.program
                );
            }
            for test in &outcome.failed {
                let _ = writeln!(
                    notes,
                    "- {}: `{} {test}` failed",
                    version.name(),
                    scenario.program
                );
            }
            for (program, test, since, why) in &NEEDS {
                if *program == scenario.program && version < since {
                    let _ = writeln!(
                        notes,
                        "- {}: `{program} {test}` is not available: {why}",
                        version.name()
                    );
                }
            }
        }
    }
    text + "\n\n" + &notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_apart_by_program() {
        let mut results = Results::default();
        for line in [
            "== scenario nat\n",
            "test service::a ... ok\n",
            "test service::b ... FAILED\n",
            "test service::c ... NOT CHECKED, no vrf here\n",
            "ok\n",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n",
            "== scenario faults\n",
            "test stall::c ... ok\n",
        ] {
            results.read(line);
        }
        let nat = &results.outcomes["nat"];
        let sum = Sum {
            passed: 2,
            failed: 1,
            ignored: 0,
        };
        assert_eq!(nat.sum, Some(sum));
        assert_eq!(results.outcomes["faults"].sum, None);
        let scenarios: Vec<&Scenario> = SCENARIOS
            .iter()
            .filter(|s| ["nat", "faults"].contains(&s.program))
            .collect();
        let text = shown(
            &scenarios,
            &BTreeMap::from([(Version::V5_10, results.outcomes)]),
        );
        assert!(text.contains("| `nat` | FAIL 1 of 3 |"), "{text}");
        assert!(text.contains("| `faults` | did not end |"), "{text}");
        assert!(text.contains("5.10: `nat service::b` failed"), "{text}");
        assert!(text.contains("5.10: `nat`, no vrf here"), "{text}");
    }

    #[test]
    fn kernels_are_chosen_by_name() {
        let names = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        assert!(chosen(&names(&["5.9"])).is_err());
        let (versions, smoke) = chosen(&names(&["smoke"])).unwrap();
        assert_eq!(versions, [Version::OLDEST, Version::NEWEST]);
        assert!(smoke);
    }
}
