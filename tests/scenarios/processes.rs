//! The harness runs programs where it says, and reads what they say.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Topology, Tracer, tmux::Tmux};

#[test]
fn a_terminal_shows_what_the_program_wrote() -> Result<()> {
    let limit = Duration::from_secs(10);
    let network = Topology::new("terminal").ns(&["n1"]).raise()?;
    let terminal = Tmux::start(network.ns("n1")?, (80, 24), &["sh"])?;
    terminal.send_text("readlink /proc/self/ns/net; stty size")?;
    terminal.send_keys(&["Enter"])?;
    let screen = terminal.wait_for("a size", limit, |screen| screen.contains("24 80"))?;
    // behind the prompt, when the shell read the line before it had shown one
    let own = format!("net:[{}]", network.ns("n1")?.inode());
    ensure!(
        screen.lines().any(|line| line.trim().ends_with(&own)),
        "not in the namespace {own}:\n{screen}"
    );
    terminal.resize((100, 30))?;
    terminal.send_text("stty size")?;
    terminal.send_keys(&["Enter"])?;
    terminal.wait_for("the new size", limit, |screen| screen.contains("30 100"))?;
    Ok(())
}

#[test]
fn a_process_runs_in_the_namespace_and_ends_by_signal() -> Result<()> {
    const SCRIPT: &str = r#"
        trap 'echo "{\"code\": 3}"; kill $!; exit 3' INT
        ls /sys/class/net
        sleep 1000 &
        echo '{"type":"ready"}' >&2
        wait
    "#;
    let limit = Duration::from_secs(10);
    let network = Topology::new("process").ns(&["n1"]).raise()?;
    let ns = network.ns("n1")?;
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT]);
    let process = Tracer::spawn_command(ns, command)?;
    process.wait_ready(limit)?;
    process.stdout_line("its device", limit, |line| line == "lo")?;
    let link = fs::read_link(format!("/proc/{}/ns/net", process.pid()))?;
    ensure!(
        link.to_string_lossy() == format!("net:[{}]", ns.inode()),
        "it is in {link:?}"
    );
    let (own, its) = (mounts("self")?, mounts(&process.pid().to_string())?);
    for point in own.iter().filter(|point| point.starts_with("/sys/")) {
        ensure!(its.contains(point), "{point} is hidden from it");
    }
    let ended = process.interrupt(limit)?.expect_code(3)?;
    let last = ended.stdout.lines().last().context("it said nothing")?;
    ensure!(last == r#"{"code": 3}"#, "it said {last}");

    let mut command = Command::new("sh");
    command.args(["-c", "echo no such option >&2; exit 2"]);
    let failed = Tracer::spawn_command(ns, command)?;
    let error = failed
        .wait_ready(limit)
        .expect_err("it never gets ready")
        .to_string();
    ensure!(
        error.contains("no such option") && error.contains("ended"),
        "no reason in: {error}"
    );
    Ok(())
}

fn mounts(pid: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    Ok(text
        .lines()
        .filter_map(|line| Some(line.split(' ').nth(4)?.to_owned()))
        .collect())
}
