//! `cargo xtask vm`: runs a command on another kernel, in a virtual machine that sees this
//! machine's files. It may change them; the changes are gone with the machine.

mod apt;
mod cpio;
mod initramfs;
mod interrupt;
mod kernel;
mod machine;

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kernel::Kernel;
pub(crate) use kernel::Version;
use machine::End;

use crate::{e2e, setup, sh};

/// How often a machine is started before it is given up.
const ATTEMPTS: u32 = 3;

/// An emulated CPU is this much slower: deadlines of tests are multiplied by it.
const SLOW: &str = "10";

/// What to run and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel to boot
    #[arg(long, value_enum, default_value_t = Version::default())]
    kernel: Version,
    /// Give up after this time
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Without a command: run the scenarios on these kernels (`all`; `smoke` for the oldest and the
    /// newest with few scenarios) and print a table
    #[arg(value_name = "KERNEL", conflicts_with = "command")]
    kernels: Vec<String>,
    /// Command and its arguments; it runs as root, in this directory, without a network
    #[arg(required_unless_present = "kernels", last = true)]
    command: Vec<OsString>,
}

/// Something to run in a guest.
pub(crate) struct Job {
    /// A shell script.
    pub(crate) script: String,
    /// Where it runs.
    pub(crate) dir: PathBuf,
    /// Set besides what [`environment`] passes on.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) limit: Duration,
}

/// What became of a job.
pub(crate) struct Run<T> {
    /// Its exit status, unless its time was over before.
    pub(crate) status: Option<i32>,
    /// Made of what it wrote.
    pub(crate) made: T,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.kernels.is_empty() {
        return e2e::matrix::run(&args.kernels);
    }
    let words: Vec<String> = args.command.iter().map(|word| sh::quoted(word)).collect();
    let job = Job {
        script: format!("exec {}\n", words.join(" ")),
        dir: env::current_dir()?,
        env: Vec::new(),
        limit: Duration::from_secs(args.timeout),
    };
    exit_code(&run_job(args.kernel, &job, show)?)
}

/// The Debian archive that this machine already uses.
pub(crate) fn mirror() -> Result<String> {
    apt::mirror()
}

/// Shows what the job writes.
pub(crate) fn show(_: &mut (), line: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    Ok(out.flush()?)
}

/// That of the job.
pub(crate) fn exit_code(run: &Run<()>) -> Result<ExitCode> {
    let status = run
        .status
        .context("the command in the virtual machine did not end in time")?;
    Ok(u8::try_from(status).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Installs what machines need, and has ^C end them. Before a thread is started that runs one.
pub(crate) fn prepare() -> Result<()> {
    setup::virtual_machine()?;
    interrupt::watch()
}

/// Runs a job and returns its end and what `line` made of the lines that it wrote. When the machine fails, and not the job, it starts again with a new `T`.
pub(crate) fn run_job<T: Default>(
    version: Version,
    job: &Job,
    mut line: impl FnMut(&mut T, &[u8]) -> Result<()>,
) -> Result<Run<T>> {
    prepare()?;
    let kernel = Kernel::get(version)?;
    eprintln!(
        "vm: Linux {} of {}, emulated",
        kernel.release,
        kernel.dir.display()
    );
    let script = script(job)?;
    for attempt in 1..=ATTEMPTS {
        let mut made = T::default();
        let end = machine::run(&kernel, &script, job.limit, &mut |text| {
            line(&mut made, text)
        })?;
        match end {
            End::Exit(status) => {
                return Ok(Run {
                    status: Some(status),
                    made,
                });
            }
            End::TooLong => return Ok(Run { status: None, made }),
            End::Failed(console) => {
                eprintln!("vm: the machine failed, {attempt} of {ATTEMPTS} attempts:\n{console}");
            }
        }
    }
    bail!("the virtual machine failed {ATTEMPTS} times")
}

/// The job with its directory and its environment.
fn script(job: &Job) -> Result<String> {
    let mut script = String::new();
    let own = env::current_exe()?;
    let passed = environment(env::vars_os(), &own);
    for (name, value) in passed.into_iter().chain(job.env.iter().cloned()) {
        // writing to a String cannot fail
        let _ = writeln!(script, "export {}={}", name.display(), sh::quoted(&value));
    }
    let dir = sh::quoted(job.dir.as_os_str());
    let _ = writeln!(script, "cd {dir} || exit\n{}", job.script);
    Ok(script)
}

/// What of this program's environment a job in a guest sees. `own` is the path of this program.
fn environment(
    vars: impl Iterator<Item = (OsString, OsString)>,
    own: &Path,
) -> Vec<(OsString, OsString)> {
    let by_name = [
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "LC_ALL",
        "TZ",
        "CARGO_HOME",
        "RUSTUP_HOME",
    ];
    let by_start = ["TRACER_", "RUST_", "INSTA_", "PROPTEST_"];
    let mut passed = vec![("TRACER_E2E_SLOW".into(), SLOW.into())];
    // the demo runs it instead of building one
    let tracer = own.with_file_name("tracer");
    if tracer.exists() {
        passed.push(("TRACER_BIN".into(), tracer.into()));
    }
    passed.extend(vars.filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            by_name.contains(&name) || by_start.iter().any(|start| name.starts_with(start))
        })
    }));
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_sees_what_belongs_to_it_and_nothing_else() {
        let vars = [
            ("PATH", "/bin"),
            ("LD_PRELOAD", "/x"),
            ("TRACER_E2E_SLOW", "3"),
        ];
        let vars = vars.map(|(name, value)| (name.into(), value.into()));
        let passed = environment(vars.into_iter(), Path::new("/nowhere/xtask"));
        // the last one of two counts
        let want = [
            ("TRACER_E2E_SLOW", "10"),
            ("PATH", "/bin"),
            ("TRACER_E2E_SLOW", "3"),
        ];
        assert_eq!(
            passed,
            want.map(|(name, value)| (name.into(), value.into()))
        );
    }

    #[test]
    fn the_script_survives_the_shell() {
        let job = Job {
            script: "echo ok".to_owned(),
            dir: "/tmp/it's".into(),
            env: vec![("TRACER_X".into(), "a b".into())],
            limit: Duration::ZERO,
        };
        let script = script(&job).unwrap();
        assert!(script.contains("export TRACER_X='a b'\n"), "{script}");
        assert!(
            script.ends_with("cd '/tmp/it'\\''s' || exit\necho ok\n"),
            "{script}"
        );
    }
}
