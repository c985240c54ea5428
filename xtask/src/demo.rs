//! `cargo xtask demo`: a broken two-node cluster in network namespaces, traffic, and tracer on it.

use std::{
    env,
    io::{self, IsTerminal as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use harness::{Lab, labs::SCENARIOS};
use nix::{
    sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal},
    unistd::Pid,
};

use crate::{
    build, setup, sh,
    vm::{self, Job, Version},
};

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Lab to raise, and one of its modes behind a colon
    scenario: Option<String>,
    /// Name the labs and their modes
    #[arg(long)]
    list: bool,
    /// How long to trace when stdout is no terminal
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    r#for: u32,
    /// Show it in a virtual machine with this kernel, as text
    #[arg(
        long,
        value_enum,
        value_name = "KERNEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = Version::default().name(),
    )]
    vm: Option<Version>,
    /// Arguments for tracer instead of those chosen here
    #[arg(last = true)]
    options: Vec<String>,
}

/// The signal that asked to stop, 0 as long as none did.
static STOP: AtomicI32 = AtomicI32::new(0);

/// How long a demo in a virtual machine may take besides the time to trace.
const BOOT_AND_LAB: Duration = Duration::from_mins(10);

/// How long tracer may take to end by itself after a signal.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

extern "C" fn on_signal(signal: i32) {
    STOP.store(signal, Ordering::Relaxed);
}

/// From here on Ctrl-C and SIGTERM end the demo in order, so that the lab goes away. Children do
/// not inherit this.
fn catch_signals() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::empty(),
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe
        unsafe { signal::sigaction(signal, &action) }.context("catching signals")?;
    }
    Ok(())
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(version) = args.vm {
        return in_machine(version, args);
    }
    harness::require_root()?;
    let tracer = if let Some(built) = env::var_os("TRACER_BIN") {
        built.into()
    } else {
        setup::all()?;
        build::tracer(false)?
    };

    catch_signals()?;
    let wanted = match &args.scenario {
        Some(wanted) => wanted.as_str(),
        None => SCENARIOS[0].name,
    };
    let lab = Lab::raise_named(wanted).with_context(|| format!("raising the lab {wanted}"))?;
    println!(
        "{}:{}. {}\n",
        lab.scenario().name,
        lab.mode().name,
        lab.describe()
    );
    let enough = AtomicBool::new(false);
    let (status, traffic) = thread::scope(|scope| {
        let traffic = scope.spawn(|| lab.traffic_until(&enough));
        let status = trace(&lab, &mut tracer_command(&tracer, args));
        enough.store(true, Ordering::Relaxed);
        (status, traffic.join())
    });
    drop(lab);
    let status = status?;
    match traffic {
        Ok(sent) => sent.context("the traffic of the lab")?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    Ok(exit_code(status))
}

/// Runs this program again in a guest, where cargo could build nothing: there is no network.
fn in_machine(version: Version, args: &Args) -> Result<ExitCode> {
    setup::all()?;
    let tracer = build::tracer(false)?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["demo", "--for"]).arg(args.r#for.to_string());
    command.args(&args.scenario).arg("--").args(&args.options);
    let job = Job {
        script: format!("exec {}\n", sh::line(&command)),
        dir: env::current_dir()?,
        env: vec![("TRACER_BIN".into(), tracer.into())],
        limit: BOOT_AND_LAB + Duration::from_secs(args.r#for.into()),
    };
    vm::exit_code(&vm::run_job(version, &job, vm::show)?)
}

fn list() {
    for scenario in SCENARIOS {
        println!("{:<16} {}", scenario.name, scenario.about);
        for mode in scenario.modes {
            let healthy = if mode.healthy { " (healthy)" } else { "" };
            println!("    {}:{}{healthy}", scenario.name, mode.name);
        }
    }
}

/// The interactive view on a terminal. Elsewhere a verdict after a while.
fn tracer_command(tracer: &Path, args: &Args) -> Command {
    let mut command = Command::new(tracer);
    if !args.options.is_empty() {
        command.args(&args.options);
    } else if io::stdin().is_terminal() && io::stdout().is_terminal() {
        command.arg("live");
    } else {
        command
            .args(["check", "--for"])
            .arg(format!("{}s", args.r#for));
    }
    command
}

fn trace(lab: &Lab, tracer: &mut Command) -> Result<ExitStatus> {
    let mut child = lab.node().spawn(tracer)?;
    let ended = wait(&mut child);
    if ended.is_err() {
        // it must not outlive the namespace that it is in
        child.kill()?;
        child.wait()?;
    }
    ended
}

/// That of tracer; as a shell says it when a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Waits for a program to end. When we are asked to stop, it is asked as well, and made to when it
/// does not.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked {
            None if STOP.load(Ordering::Relaxed) != 0 => {
                let pid = Pid::from_raw(i32::try_from(child.id())?);
                signal::kill(pid, Signal::SIGTERM).context("stopping tracer")?;
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > PATIENCE => child.kill()?,
            _ => {}
        }
        thread::sleep(POLL);
    }
}
