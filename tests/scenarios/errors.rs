//! What goes wrong is said in a sentence, with the exit status that the help names.

#![expect(
    clippy::print_stdout,
    reason = "what was measured and said is in the output"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Ping, Udp};
use harness::{Lab, Netns, Tracer, deadline, expect, tracer};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn an_unknown_device_is_named_with_those_that_there_are() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let ended = run(lab.node(), &["check", "-i", "nosuch", "--for", "1s"])?.expect_code(1)?;
    one_sentence(&ended, &["nosuch", "in", "out"])
}

#[test]
fn a_bad_filter_is_shown_with_a_caret() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    for command in ["check", "watch"] {
        let ended =
            run(lab.node(), &[command, "udp", "and", "hots", "10.0.0.1"])?.expect_code(2)?;
        let mut lines = ended.stderr.lines();
        let shown = lines.position(|line| line.contains("udp and hots 10.0.0.1"));
        ensure!(
            shown.is_some(),
            "the filter is not shown:\n{}",
            ended.stderr
        );
        let text = ended.stderr.lines().nth(shown.unwrap_or_default());
        let caret = lines.find_map(|line| line.find('^'));
        let column = text.and_then(|line| line.find("hots"));
        ensure!(
            caret.is_some() && caret == column,
            "no caret below the word:\n{}",
            ended.stderr
        );
        ensure!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
    Ok(())
}

#[test]
fn without_privileges_the_missing_ones_are_named() -> Result<()> {
    const NOBODY: u32 = 65_534;
    let lab = Lab::raise("router", None)?;
    let copy = Public::copy()?;
    for args in [&["check", "--for", "1s"][..], &["watch"]] {
        let mut command = Command::new(&copy.0);
        command.args(args).uid(NOBODY).gid(NOBODY).current_dir("/");
        let ended = Tracer::spawn_command(lab.node(), command)?.wait(Duration::from_secs(10))?;
        let ended = ended.expect_code(1)?;
        one_sentence(&ended, &["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "sudo"])?;
    }
    Ok(())
}

#[test]
fn missing_type_information_is_told() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let ended = run(
        lab.node(),
        &["--btf", "/nonexistent", "check", "--for", "1s"],
    )?;
    one_sentence(&ended.expect_code(1)?, &["/nonexistent"])?;
    // as on a kernel that is built without it
    let hidden = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" \"$@\"";
    let ended =
        shell(lab.node(), hidden, &["check", "--for", "1s"])?.wait(Duration::from_secs(10))?;
    one_sentence(
        &ended.expect_code(1)?,
        &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF", "--btf"],
    )
}

#[test]
fn tracefs_is_not_needed() -> Result<()> {
    const UNMOUNTED: &str = r#"
        for at in tracing debug; do
            while umount -l "/sys/kernel/$at" 2>/dev/null; do :; done
            [ ! -e "/sys/kernel/$at/README" ] && [ ! -e "/sys/kernel/$at/tracing" ] || exit 99
        done
        exec "$0" "$@""#;
    let lab = Lab::raise("router", None)?;
    let tracer = shell(
        lab.node(),
        UNMOUNTED,
        &["check", "-o", "json", "--for", "1h", "udp port 7"],
    )?;
    tracer.wait_ready(tracer::READY_LIMIT)?;
    let tracefs = format!("/proc/{}/root/sys/kernel/tracing/README", tracer.pid());
    ensure!(!fs::exists(&tracefs)?, "{tracefs} is there");
    let sent = Udp::to("10.2.0.2:7")
        .wait(Duration::from_secs(1))
        .send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    let ended = tracer.interrupt(Duration::from_secs(20))?.expect_code(0)?;
    expect::flow(&ended.json()?, &json!({"dst": "10.2.0.2", "packets": 3}))?;
    Ok(())
}

#[test]
fn a_closed_stdout_ends_it_in_order() -> Result<()> {
    // as `tracer watch | head -1`, and its exit status
    const PIPED: &str = r#"{ "$0" "$@"; echo "status $?" >&2; } | head -n1"#;
    for format in ["text", "json"] {
        let lab = Lab::raise("router", None)?;
        let tracer = shell(lab.node(), PIPED, &["watch", "-o", format])?;
        tracer.wait_ready(tracer::READY_LIMIT)?;
        let end = Instant::now() + deadline::scaled(Duration::from_secs(20));
        // each a flow of its own, so that there is something to write
        while !tracer.stderr().contains("status") && Instant::now() < end {
            let udp = Udp::to("10.2.0.2:7").count(1).wait(Duration::from_secs(1));
            udp.send(lab.ns("a")?)?;
        }
        let ended = tracer.wait(Duration::from_secs(10))?;
        ensure!(
            ended.stderr.lines().any(|line| line == "status 0"),
            "with -o {format}:\n{}",
            ended.stderr
        );
        ensure!(
            !ended.stderr.contains("panicked") && !ended.stderr.contains("roken pipe"),
            "with -o {format}:\n{}",
            ended.stderr
        );
    }
    Ok(())
}

#[test]
fn a_signal_yields_the_verdict_of_what_was_seen() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let args = ["check", "-o", "json", "--for", "1h", "udp port 7"];
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let tracer = Tracer::start(lab.node(), &args)?;
        tracer.signal(signal)?;
        let ended = tracer.wait(Duration::from_secs(20))?.expect_code(4)?;
        let wanted = json!({"verdict": "inconclusive", "exit_code": 4, "flows": []});
        let report = ended.json()?;
        ensure!(
            expect::contains(&report, &wanted),
            "after {signal}: {report}"
        );

        let tracer = Tracer::start(lab.node(), &args)?;
        let sent = Udp::to("10.2.0.2:7")
            .wait(Duration::from_secs(1))
            .send(lab.ns("a")?)?;
        ensure!(sent.delivered(), "{sent}");
        tracer.signal(signal)?;
        // whoever presses ^C has seen enough; what else ends it leaves a part
        let partial = signal != Signal::SIGINT;
        let (code, verdict) = if partial {
            (4, "inconclusive")
        } else {
            (0, "pass")
        };
        let ended = tracer.wait(Duration::from_secs(20))?.expect_code(code)?;
        let report = ended.json()?;
        let wanted = json!({"verdict": verdict, "partial": partial,
            "ended": signal.as_str().to_lowercase()});
        ensure!(
            expect::contains(&report, &wanted),
            "after {signal}: {report}"
        );
        expect::flow(&report, &json!({"dst": "10.2.0.2", "packets": 3}))?;
    }
    Ok(())
}

#[test]
fn without_matching_traffic_it_is_inconclusive_after_the_time() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let args = ["check", "-o", "json", "--for", "2s", "tcp port 65000"];
    let tracer = Tracer::start(lab.node(), &args)?;
    let begun = Instant::now();
    // the answer to another question
    let sent = Udp::to("10.2.0.2:7")
        .wait(Duration::from_secs(1))
        .send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    let ended = tracer.wait(Duration::from_secs(20))?.expect_code(4)?;
    let took = begun.elapsed();
    let report = ended.json()?;
    let wanted = json!({"verdict": "inconclusive", "exit_code": 4, "flows": []});
    ensure!(expect::contains(&report, &wanted), "{report}");
    println!("--for 2s took {took:?} from ready to the end");
    ensure!(
        // `ready` is read a moment after it was written
        took > Duration::from_millis(1800)
            && took < Duration::from_secs(2) + deadline::scaled(Duration::from_secs(1)),
        "--for 2s took {took:?}"
    );
    let told = report["duration_s"].as_f64().context("no duration_s")?;
    ensure!(
        told >= 1.9 && told < 2.0 + deadline::scaled(Duration::from_secs(1)).as_secs_f64(),
        "it says {told} s"
    );
    Ok(())
}

/// A pass of ND, ARP and ping over a healthy lab: lines for flows and no other, on stdout and on
/// stderr only what every run says.
#[test]
fn a_healthy_node_is_quiet() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let tracer = Tracer::start(lab.node(), &["watch"])?;
    for (ns, dev) in [("a", "eth0"), ("b", "eth0"), ("n1", "in"), ("n1", "out")] {
        lab.ns(ns)?.exec(&["ip", "neigh", "flush", "dev", dev])?;
        lab.ns(ns)?
            .exec(&["ip", "-6", "neigh", "flush", "dev", dev])?;
    }
    let (a, n1) = (lab.ns("a")?, lab.node());
    let pings = [
        (a, "10.2.0.2"),
        (a, "fd02::2"),
        (n1, "10.1.0.2"),
        (n1, "fd02::2"),
        (a, "fd01::1"),
    ];
    for (from, to) in pings {
        let sent = Ping::to(to).count(2).send(from)?;
        ensure!(sent.delivered(), "{to}: {sent}");
    }
    for flow in ["10.2.0.2:7", "[fd02::2]:7"] {
        let sent = Udp::to(flow).wait(Duration::from_secs(1)).send(a)?;
        ensure!(sent.delivered(), "{sent}");
    }
    let ended = tracer.interrupt(Duration::from_secs(20))?.expect_code(0)?;
    let lines: Vec<&str> = ended.stdout.lines().collect();
    println!("{}{}", ended.stdout, ended.stderr);
    let is_flow = |line: &&&str| line.split_ascii_whitespace().nth(1) == Some("new");
    let other: Vec<_> = lines.iter().filter(|line| !is_flow(line)).collect();
    ensure!(other.is_empty(), "not only flows: {other:#?}");
    ensure!(
        lines.len() == pings.len() + 2,
        "{} lines for {} flows:\n{}",
        lines.len(),
        pings.len() + 2,
        ended.stdout
    );
    let said: Vec<&str> = ended.stderr.lines().collect();
    ensure!(
        said.len() == 2
            && said[0].starts_with("tracer: ready")
            && said[1].ends_with("0 dropped; tracer lost nothing"),
        "more on stderr than ready and the sum:\n{}",
        ended.stderr
    );
    Ok(())
}

fn run(node: &Netns, args: &[&str]) -> Result<tracer::Ended> {
    Tracer::run(node, args, Duration::from_secs(20))
}

/// Runs a script with tracer as `$0` and `args` as its arguments, in a mount namespace of its own.
fn shell(node: &Netns, script: &str, args: &[&str]) -> Result<Tracer> {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(tracer::binary()?)
        .args(args);
    Tracer::spawn_command(node, command)
}

/// Requires one line on stderr with all `words` in it, and nothing on stdout.
fn one_sentence(ended: &tracer::Ended, words: &[&str]) -> Result<()> {
    let lines = ended.stderr.lines().count();
    ensure!(lines == 1, "not one line:\n{}", ended.stderr);
    for word in words {
        ensure!(
            ended.stderr.contains(word),
            "no {word} in: {}",
            ended.stderr
        );
    }
    ensure!(ended.stdout.is_empty(), "{}", ended.stdout);
    println!("{}", ended.stderr.trim());
    Ok(())
}

/// A copy of the binary where every user can run it; removed when dropped.
struct Public(PathBuf);

impl Public {
    fn copy() -> Result<Self> {
        let name = format!("tracer-e2e-{}", std::process::id());
        let copy = Self(std::env::temp_dir().join(name));
        fs::copy(tracer::binary()?, &copy.0)?;
        fs::set_permissions(&copy.0, fs::Permissions::from_mode(0o755))?;
        Ok(copy)
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        // a leftover in the directory for temporary files does no harm
        drop(fs::remove_file(&self.0));
    }
}
