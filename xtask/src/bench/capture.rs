//! `cargo xtask bench capture`: what it takes to read a large capture.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Netns, deadline, traffic::Blast};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Flows that the packets are of.
const FLOWS: u32 = 256;
/// A buffer that no recording fills.
const BUFFER: &str = "512M";
/// How often the memory of a program is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// What takes longer is not waited for.
const LIMIT: Duration = Duration::from_mins(5);

/// Records `packets` observations on a router and on the host behind it, and reads them.
pub(super) fn run(tracer: &Path, packets: u64) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("tracer-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let done = measure(tracer, packets, &dir);
    fs::remove_dir_all(&dir)?;
    done
}

fn measure(tracer: &Path, packets: u64, dir: &Path) -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let (a, b) = (dir.join("a.pcapng"), dir.join("b.pcapng"));
    let mut first = record(lab.node(), tracer, &a)?;
    let mut second = record(lab.ns("b")?, tracer, &b)?;
    // each is seen coming in and leaving
    Blast::to("10.2.0.2:20000")
        .packets(packets / 2)
        .flows(FLOWS)
        .send(lab.ns("a")?)?;
    end(&mut first)?;
    end(&mut second)?;
    let size = fs::metadata(&a)?.len();
    println!(
        "{packets} packets of {FLOWS} flows, {:.0} MB",
        size as f64 / 1e6
    );
    println!("what                           s   packets/s     MB/s   memory, MiB");
    let (a, b) = (a.display().to_string(), b.display().to_string());
    let tracer = tracer.display().to_string();
    let jobs: [(&str, &str, &[&str]); 6] = [
        ("read", &tracer, &["read", "-o", "json", &a]),
        ("read --packets", &tracer, &["read", "--packets", &a]),
        (
            "read --packets -o json",
            &tracer,
            &["read", "--packets", "-o", "json", &a],
        ),
        ("tcpdump -r", "tcpdump", &["-n", "-r", &a]),
        ("report", &tracer, &["report", &a]),
        (
            "compare with the next node",
            &tracer,
            &["compare", "-o", "json", &a, &b],
        ),
    ];
    for (name, program, args) in jobs {
        let (seconds, memory) = timed(Command::new(program).args(args))?;
        println!(
            "{name:<27} {seconds:>5.2} {:>11.0} {:>8.0} {:>13.0}",
            packets as f64 / seconds,
            size as f64 / 1e6 / seconds,
            memory as f64 / 1024.0
        );
    }
    Ok(())
}

fn record(node: &Netns, tracer: &Path, file: &Path) -> Result<Child> {
    let mut command = Command::new(tracer);
    command
        .args(["-q", "record", "-B", BUFFER, "-w"])
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let child = node.spawn(&mut command)?;
    deadline::wait_for("the file", Duration::from_mins(1), || {
        Ok(fs::metadata(file).is_ok_and(|m| m.len() > 0).then_some(()))
    })?;
    Ok(child)
}

fn end(child: &mut Child) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    let status = child.wait()?;
    ensure!(status.success(), "the recording failed: {status}");
    Ok(())
}

/// Seconds, and the most memory that was resident, KiB.
fn timed(command: &mut Command) -> Result<(f64, u64)> {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|l| l.split_whitespace().next()?.parse().ok());
        memory = peak.unwrap_or(0).max(memory);
        // 3: packets were lost between the nodes
        if let Some(ended) = child.try_wait()? {
            ensure!(matches!(ended.code(), Some(0 | 3)), "{command:?}: {ended}");
            return Ok((begun.elapsed().as_secs_f64(), memory));
        }
        ensure!(begun.elapsed() < LIMIT, "{command:?} takes too long");
        std::thread::sleep(LOOK);
    }
}
