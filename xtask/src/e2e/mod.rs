//! The end-to-end tests: built here, run on this kernel or on another one in a virtual machine.

mod health;
pub(crate) mod matrix;

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use nix::unistd::Uid;
use serde_json::Value;

use crate::{
    sh,
    test::{self, Args, Sum},
    vm::{self, Job, Version},
};

/// For all test programs together, in a virtual machine.
const LIMIT: Duration = Duration::from_hours(1);

/// How often a test of the documentation tries each lab.
const REPEAT: &str = "TRACER_E2E_REPEAT";

/// A program made of tests, and the directory of its package, in which cargo would run it.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    path: PathBuf,
    package: PathBuf,
}

impl Program {
    /// Whether cargo calls it so: the file's name is followed by a hash.
    fn is(&self, name: &str) -> bool {
        let file = self.path.file_name().and_then(|n| n.to_str());
        file.and_then(|n| n.rsplit_once('-'))
            .is_some_and(|(start, _)| start == name)
    }
}

/// Runs those that cargo builds with `options`, all when there are none, and counts.
pub(crate) fn run(args: &Args, tracer: &Path, options: &[&str]) -> Result<Sum> {
    let Some(place) = place(args)? else {
        return Ok(Sum::failure());
    };
    let mut cargo = sh::cargo()?;
    cargo.args(["test", "--package", "e2e", "--no-run"]);
    cargo.args(options);
    cargo.arg("--message-format=json-render-diagnostics");
    println!("$ {}", sh::line(&cargo));
    let programs = programs(&sh::stdout(&mut cargo)?);
    let env = environment(tracer, args);
    match place {
        Place::Here => here(&programs, &env, args),
        Place::Machine(version) => in_machine(version, &programs, env, args),
    }
}

enum Place {
    Here,
    Machine(Version),
}

/// Where the tests can run. When nowhere, it says why.
fn place(args: &Args) -> Result<Option<Place>> {
    if let Some(version) = args.vm {
        return Ok(Some(Place::Machine(version)));
    }
    if !Uid::effective().is_root() {
        println!(
            "the end-to-end tests were not run: they make network namespaces and load BPF, which \
             needs root; run `cargo xtask test` as root, or `cargo xtask test --unit`"
        );
        return Ok(None);
    }
    if health::network_answers()? {
        return Ok(Some(Place::Here));
    }
    let version = Version::default();
    println!(
        "\nWARNING: this kernel does not answer questions about its network configuration: a task \
         holds the rtnl lock for ever (see dmesg; only a reboot helps). The end-to-end tests run \
         in a virtual machine with Linux {} instead.\n",
        version.name()
    );
    Ok(Some(Place::Machine(version)))
}

/// Besides what cargo sets, the tracer to test. Labs share the kernel's tracepoints and the clock,
/// so tests run one after the other.
fn environment(tracer: &Path, args: &Args) -> Vec<(OsString, OsString)> {
    let mut env = vec![("TRACER_BIN".into(), tracer.into())];
    if let Some(repeat) = args.repeat {
        env.push((REPEAT.into(), repeat.to_string().into()));
    }
    if env::var_os("RUST_TEST_THREADS").is_none() {
        env.push(("RUST_TEST_THREADS".into(), "1".into()));
    }
    env
}

fn here(programs: &[Program], env: &[(OsString, OsString)], args: &Args) -> Result<Sum> {
    let mut sum = Sum::default();
    for Program { path, package } in programs {
        let mut command = Command::new(path);
        command.args(args.for_programs()).current_dir(package);
        command.env("CARGO_MANIFEST_DIR", package);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        sum.add(&test::program(&mut command)?);
    }
    Ok(sum)
}

/// What the guest has said so far.
#[derive(Default)]
struct Results {
    sum: Sum,
    programs: u64,
}

/// Runs all programs in one guest. One that did not come to its result counts as a failure.
fn in_machine(
    version: Version,
    programs: &[Program],
    env: Vec<(OsString, OsString)>,
    args: &Args,
) -> Result<Sum> {
    let job = Job {
        script: script(programs, &args.for_programs()),
        dir: sh::root()?.to_owned(),
        env,
        limit: LIMIT,
    };
    let run = vm::run_job(version, &job, |results: &mut Results, line| {
        let mut out = io::stdout().lock();
        out.write_all(line)?;
        out.flush()?;
        if let Some(result) = test::result(&String::from_utf8_lossy(line)) {
            results.sum.add(&result);
            results.programs += 1;
        }
        Ok(())
    })?;
    let Results {
        mut sum,
        programs: ended,
    } = run.made;
    match run.status {
        None => println!("the end-to-end tests did not end within {LIMIT:?}"),
        Some(0) => {}
        Some(_) if sum.failed > 0 => {}
        Some(status) => println!("a test program ended without a result (status {status})"),
    }
    sum.failed += (programs.len() as u64).saturating_sub(ended);
    if run.status != Some(0) && sum.failed == 0 {
        sum.failed = 1;
    }
    Ok(sum)
}

/// Runs programs one after the other, and fails when one fails.
fn script(programs: &[Program], args: &[String]) -> String {
    let mut script = String::from("status=0\n");
    for Program { path, package } in programs {
        let package = sh::quoted(package.as_os_str());
        let mut line = sh::quoted(path.as_os_str());
        for arg in args {
            line += " ";
            line += &sh::quoted(arg.as_ref());
        }
        let shown = sh::quoted(format!("$ {line}").as_ref());
        // writing to a String cannot fail
        let _ = writeln!(script, "echo {shown}");
        let _ = writeln!(
            script,
            "(cd {package} && CARGO_MANIFEST_DIR={package} {line}) || status=1"
        );
    }
    script + "exit $status\n"
}

/// Reads cargo's messages, one JSON object a line.
fn programs(messages: &str) -> Vec<Program> {
    let program = |line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message.pointer("/profile/test")?.as_bool()?;
        let path = PathBuf::from(message.get("executable")?.as_str()?);
        let manifest = Path::new(message.get("manifest_path")?.as_str()?);
        let package = manifest.parent()?.to_owned();
        is_test.then_some(Program { path, package })
    };
    messages.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labs() -> Program {
        Program {
            path: "/t/deps/labs-1".into(),
            package: "/it's/tests".into(),
        }
    }

    #[test]
    fn test_programs_are_told_from_what_they_use() {
        let messages = [
            r#"{"reason":"compiler-artifact","manifest_path":"/it's/tests/Cargo.toml","profile":{"test":false},"executable":"/t/lab"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/it's/tests/Cargo.toml","profile":{"test":true},"executable":"/t/deps/labs-1"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/x/Cargo.toml","profile":{"test":false},"executable":null}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(programs(&messages.join("\n")), [labs()]);
    }

    #[test]
    fn the_script_goes_on_after_a_failure_and_reports_it() {
        let program = |path: &str| Program {
            path: path.into(),
            package: "/".into(),
        };
        let script = script(&[program("false"), program("echo")], &["it's".to_owned()]);
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("\nit's\n"), "{text}");
    }

    #[test]
    fn the_script_enters_the_package() {
        let script = script(&[labs()], &[]);
        assert!(script.contains(r"(cd '/it'\''s/tests' && "), "{script}");
    }
}
