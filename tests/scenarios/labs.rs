//! The labs themselves: each mode of each lab comes up, loses exactly the flows that it says, and
//! leaves nothing behind, whatever ends its owner.

#![expect(
    clippy::print_stdout,
    reason = "the counts of a failed test are in its output"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use harness::labs::{Flow, Mode, Scenario};
use harness::traffic::Blast;
use harness::{Lab, Topology, deadline};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Labs wait for timeouts most of the time, so several fit on one CPU.
const AT_ONCE: usize = 6;

#[test]
fn every_mode_loses_what_it_says_and_nothing_else() -> Result<()> {
    let modes: Vec<(&Scenario, &Mode)> = Lab::scenarios()
        .into_iter()
        .flat_map(|scenario| scenario.modes.iter().map(move |mode| (scenario, mode)))
        .collect();
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            while let Some((scenario, mode)) = modes.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = try_mode(scenario, mode) {
                    failures.push(format!("{}:{}: {error:#}", scenario.name, mode.name));
                }
            }
            failures
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn try_mode(scenario: &Scenario, mode: &Mode) -> Result<()> {
    let start = Instant::now();
    let lab = Lab::raise(scenario.name, Some(mode.name))?;
    let raised = start.elapsed();
    let prefix = lab.network().prefix().to_owned();
    let flows = lab.traffic(1)?;
    let sent = start.elapsed().saturating_sub(raised);
    drop(lab);
    println!(
        "{}:{} up in {raised:?}, traffic {sent:?}",
        scenario.name, mode.name
    );
    for flow in &flows {
        println!("    {flow}");
    }
    ensure!(
        !has_namespaces(&prefix)?,
        "namespaces of {prefix} are left behind"
    );
    for name in mode.lost {
        ensure!(
            flows.iter().any(|flow| flow.name == *name),
            "no flow is called {name}"
        );
    }
    for flow in &flows {
        judge(flow, mode)?;
    }
    if !mode.either.is_empty() {
        ensure!(
            flows.iter().any(|flow| flow.sent.lost()),
            "a hash lost no flow"
        );
        ensure!(
            flows.iter().any(|flow| flow.sent.delivered()),
            "a hash delivered no flow"
        );
    }
    Ok(())
}

fn judge(flow: &Flow, mode: &Mode) -> Result<()> {
    if mode.either.iter().any(|start| flow.name.starts_with(start)) {
        ensure!(flow.sent.lost() || flow.sent.delivered(), "in part: {flow}");
    } else if mode.lost.contains(&flow.name.as_str()) {
        ensure!(flow.sent.lost(), "should be lost: {flow}");
    } else {
        ensure!(flow.sent.delivered(), "should be delivered: {flow}");
    }
    Ok(())
}

#[test]
fn too_big_is_told_to_the_sender() -> Result<()> {
    let lab = Lab::raise("encap-loss", Some("toobig"))?;
    let flows = lab.traffic(1)?;
    let large = flows
        .iter()
        .find(|flow| flow.name == "large4")
        .context("no such flow")?;
    ensure!(
        large.sent.errors.contains("EMSGSIZE"),
        "no EMSGSIZE: {large}"
    );
    Ok(())
}

#[test]
fn traffic_can_be_repeated_with_the_same_ports() -> Result<()> {
    let lab = Lab::raise("overlapping-vpc", Some("ok"))?;
    for flow in lab.traffic(3)? {
        ensure!(flow.sent.delivered(), "{flow}");
    }
    Ok(())
}

#[test]
fn a_blast_is_counted_exactly() -> Result<()> {
    const PACKETS: u64 = 100_000;
    let lab = Lab::raise("router", None)?;
    let (before_in, before_bytes) = (
        lab.node().statistic("in", "rx_packets")?,
        lab.node().statistic("in", "rx_bytes")?,
    );
    let blast = Blast::to("10.2.0.2:20000").packets(PACKETS).flows(1000);
    let blasted = blast.send(lab.ns("a")?)?;
    ensure!(blasted.sent == PACKETS, "{blasted:?}");
    let dropped =
        lab.node().statistic("in", "rx_dropped")? + lab.ns("a")?.statistic("eth0", "tx_dropped")?;
    let packets = deadline::wait_for("the blast at n1", Duration::from_secs(10), || {
        let now = lab.node().statistic("in", "rx_packets")? - before_in;
        Ok((now + dropped >= PACKETS).then_some(now))
    })?;
    let bytes = lab.node().statistic("in", "rx_bytes")? - before_bytes;
    println!("{blasted:?}: {packets} packets, {bytes} bytes, {dropped} dropped");
    // neighbours talk as well, in frames of other sizes
    ensure!(packets < PACKETS + 50, "{packets} packets");
    ensure!(
        bytes.abs_diff(packets * 64) < 50 * 100,
        "{bytes} bytes in {packets} packets"
    );
    Ok(())
}

#[test]
fn sigkill_of_the_owner_leaves_nothing_behind() -> Result<()> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["raise", "ipv6-prefix:ok"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(owner.stdout.take().context("no stdout")?).lines();
    let up = lines
        .map_while(Result::ok)
        .any(|line| line.starts_with("up"));
    let pid = owner.id();
    let held = namespaces_of(pid)?;
    // something that would keep the namespace busy
    let mut guest = match held.first() {
        Some(name) => Command::new("ip")
            .args(["netns", "exec", name, "sleep", "1000"])
            .spawn()?,
        None => bail!("the lab has no namespaces (up: {up})"),
    };
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    owner.wait()?;
    deadline::wait_for("the end of the namespaces", Duration::from_secs(20), || {
        Ok(namespaces_of(pid)?.is_empty().then_some(()))
    })?;
    let limit = Duration::from_secs(5);
    let status = deadline::wait_for("the end of the guest", limit, || Ok(guest.try_wait()?))?;
    ensure!(!status.success(), "the guest was not killed");
    Ok(())
}

#[test]
fn a_held_lab_goes_down_at_the_end_of_stdin_and_by_signal() -> Result<()> {
    for signal in [None, Some(Signal::SIGINT)] {
        let mut owner = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["raise", "router", "--traffic"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = owner.stdin.take();
        let lines = BufReader::new(owner.stdout.take().context("no stdout")?).lines();
        let up = lines
            .map_while(Result::ok)
            .any(|line| line.starts_with("up"));
        ensure!(
            up && !namespaces_of(owner.id())?.is_empty(),
            "the lab is not up"
        );
        match signal {
            Some(signal) => kill(Pid::from_raw(i32::try_from(owner.id())?), signal)?,
            None => drop(stdin),
        }
        let limit = Duration::from_secs(20);
        let status = deadline::wait_for("the end of the lab", limit, || Ok(owner.try_wait()?))?;
        ensure!(status.success(), "{status} after {signal:?}");
        ensure!(
            namespaces_of(owner.id())?.is_empty(),
            "left behind after {signal:?}"
        );
    }
    Ok(())
}

#[test]
fn errors_show_the_command_and_what_it_said() -> Result<()> {
    let broken = Topology::new("broken")
        .ns(&["n1"])
        .route("n1", "10.0.0.0/8 via 192.0.2.1");
    let error = broken.raise().expect_err("there is no such gateway");
    let text = format!("{error:#}");
    ensure!(
        text.contains("route add 10.0.0.0/8 via 192.0.2.1"),
        "no command in: {text}"
    );
    ensure!(
        text.contains("Nexthop") || text.contains("unreachable"),
        "no reason in: {text}"
    );
    ensure!(
        namespaces_of(std::process::id())?
            .iter()
            .all(|name| !name.starts_with("broken-"))
    );

    let unknown = Lab::raise("ipv6-prefix", Some("nonsense")).expect_err("no such mode");
    ensure!(
        unknown.to_string().contains("nodefault"),
        "the modes are not listed: {unknown}"
    );
    Ok(())
}

#[test]
fn a_stale_namespace_is_removed() -> Result<()> {
    // larger than any pid of Linux (PID_MAX_LIMIT is 2^22)
    let name = "stale-4999999.0-n1";
    harness::require_root()?;
    harness::command::run(&["ip", "netns", "add", name], "")?;
    drop(Topology::new("fresh").ns(&["n1"]).raise()?);
    ensure!(
        !Path::new("/run/netns").join(name).exists(),
        "{name} is still there"
    );
    Ok(())
}

fn has_namespaces(prefix: &str) -> Result<bool> {
    Ok(names()?
        .iter()
        .any(|name| name.starts_with(&format!("{prefix}-"))))
}

fn namespaces_of(pid: u32) -> Result<Vec<String>> {
    let mark = format!("-{pid}.");
    Ok(names()?
        .into_iter()
        .filter(|name| name.contains(&mark))
        .collect())
}

fn names() -> Result<Vec<String>> {
    let entries = fs::read_dir("/run/netns")?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}
