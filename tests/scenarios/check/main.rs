//! `tracer check` as the step of a runbook: what it sends, when it ends, what it prints.

mod late;
mod probe;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::bpf::{Hook, attached};
use harness::tmux::Tmux;
use harness::traffic::Udp;
use harness::{Lab, Tracer, deadline, expect, tracer};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Enough for whatever ends by itself.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs `tracer check -o json ARGS` on the lab's node to its end.
fn check(lab: &Lab, args: &[&str], code: i32) -> Result<Value> {
    let words = [&["check", "-o", "json"], args].concat();
    let ended = Tracer::run(lab.node(), &words, LIMIT)?.expect_code(code)?;
    let report = ended.json()?;
    if !report["loss"].is_null() {
        expect::no_loss(&report)?;
    }
    Ok(report)
}

/// A file in the directory for temporary files, gone when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new(text: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tracer-checks-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text)?;
        Ok(Self(path))
    }

    fn path(&self) -> Result<&str> {
        self.0.to_str().context("no UTF-8")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn the_answers_can_be_judged() -> Result<()> {
    for (mode, code) in [("srccheck", 3), ("ok", 0)] {
        let lab = Lab::raise("aws-eni", Some(mode))?;
        let args = [
            "check",
            "-o",
            "json",
            "--for",
            "1h",
            "--to",
            "10.0.0.66",
            "--reply-via",
            "ens6",
        ];
        let tracer = Tracer::start(lab.node(), &args)?;
        lab.traffic(1)?;
        let ended = tracer.interrupt(LIMIT)?.expect_code(code)?;
        let report = ended.json()?;
        expect::is(&report, &json!({"filter": "dst host 10.0.0.66"}))?;
        if code == 3 {
            let reasons = report["reasons"].to_string();
            ensure!(reasons.contains("left by ens5, not by ens6"), "{reasons}");
        }
    }
    Ok(())
}

#[test]
fn enough_packets_end_it() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let args = [
        "check",
        "-o",
        "json",
        "--for",
        "1h",
        "--until-packets",
        "3",
        "udp dst port 7",
    ];
    let tracer = Tracer::start(lab.node(), &args)?;
    let sent = Udp::to("10.2.0.2:7")
        .wait(Duration::from_secs(1))
        .send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    let ended = tracer.wait(LIMIT)?.expect_code(0)?;
    expect::is(&ended.json()?, &json!({"ended": "done", "partial": false}))
}

#[test]
fn a_signal_of_others_leaves_a_part_even_of_a_failure() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", Some("nodefault"))?;
    let tracer = Tracer::start(lab.node(), &["check", "-o", "json", "--for", "1h"])?;
    lab.traffic(1)?;
    tracer.signal(Signal::SIGTERM)?;
    let report = tracer.wait(LIMIT)?.expect_code(4)?.json()?;
    expect::is(
        &report,
        &json!({"verdict": "inconclusive", "partial": true, "ended": "sigterm"}),
    )?;
    let reasons = report["reasons"].as_array().context("no reasons")?;
    ensure!(reasons[0].to_string().contains("SIGTERM"), "{reasons:?}");
    // what was found is there all the same
    ensure!(
        reasons[1].to_string().contains("onlink-prefix-mismatch"),
        "{reasons:?}"
    );
    Ok(())
}

const CHECKS: &str = r#"
for = "1m"

[[check]]
name = "natively to the peer"
to = "10.244.2.0/24"
no-tunnel = true
until-packets = 3

[[check]]
name = "answers"
filter = "net 10.244.0.0/16"
reply-no-tunnel = true
min-packets = 1
until-packets = 3

[[check]]
name = "nobody talks to it"
filter = "tcp port 65000"
probe = "10.0.0.2"
"#;

#[test]
fn several_checks_have_a_verdict_each() -> Result<()> {
    let file = Temporary::new(CHECKS)?;
    let lab = Lab::raise("native-tunnel", Some("tunnel"))?;
    let run = |format: &str| -> Result<tracer::Ended> {
        let args = ["check", "-o", format, "-f", file.path()?];
        let tracer = Tracer::start(lab.node(), &args)?;
        let programs = attached(lab.node(), "eth0", Hook::Egress)?;
        ensure!(programs.len() == 1, "one is enough for all: {programs:?}");
        lab.traffic(1)?;
        tracer.wait(LIMIT)?.expect_code(3)
    };
    let report = run("json")?.json()?;
    let wanted = json!({"schema": "tracer.checks/1", "verdict": "fail", "exit_code": 3,
        "summary": {"pass": 1, "fail": 1, "inconclusive": 1}});
    ensure!(
        expect::contains(&report, &wanted),
        "wanted {wanted}, got {report}"
    );
    let codes: Vec<_> = report["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| c["exit_code"].as_u64())
        .collect();
    ensure!(codes == [Some(3), Some(0), Some(4)], "{codes:?}");
    expect::is(
        &report["checks"][2],
        &json!({"name": "nobody talks to it", "probe": {"sent": 3, "answered": 3}}),
    )?;

    let xml = run("junit")?.stdout;
    for part in [
        "tests=\"3\"",
        "failures=\"1\"",
        "errors=\"1\"",
        "name=\"natively to the peer\"",
    ] {
        ensure!(xml.contains(part), "no {part} in {xml}");
    }
    let text = run("text")?.stdout;
    let summary = "3 checks: 1 passed, 1 failed, 1 inconclusive";
    ensure!(text.lines().last() == Some(summary), "{text}");
    ensure!(
        text.lines()
            .any(|l| l.starts_with("natively to the peer: FAIL: ")),
        "{text}"
    );
    Ok(())
}

#[test]
fn what_makes_no_sense_is_said_before_anything_starts() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let run = |args: &[&str], code: i32, said: &str| -> Result<()> {
        let words = [&["check"], args].concat();
        let ended = Tracer::run(lab.node(), &words, LIMIT)?.expect_code(code)?;
        ensure!(
            ended.stderr.contains(said),
            "no {said:?} in {}",
            ended.stderr
        );
        ensure!(!ended.stderr.contains("ready"), "{}", ended.stderr);
        ensure!(ended.stdout.is_empty(), "{}", ended.stdout);
        Ok(())
    };
    let wrong = Temporary::new("[[check]]\nname = 'x'\nvai = 'eth0'")?;
    run(
        &["-f", wrong.path()?],
        2,
        "check \"x\": unexpected argument '--vai'",
    )?;
    run(
        &["-f", "/nonexistent.toml"],
        1,
        "cannot read /nonexistent.toml",
    )?;
    run(
        &["-f", wrong.path()?, "--via", "eth0"],
        2,
        "what to check is in",
    )?;
    run(&["--fail-on", "no-rout"], 2, "no-route")?;
    run(
        &["--fail-on", "no-route", "--ignore", "no-route"],
        2,
        "exclude each other",
    )?;
    run(
        &["--probe", "10.2.0.2", "--probe-netns", "nowhere"],
        1,
        "no network namespace \"nowhere\"",
    )?;
    run(
        &["--probe", "10.2.0.2", "--probe-proto", "udp"],
        2,
        "need a port",
    )?;
    run(&["--probe", "ff02::1"], 2, "one host")?;
    let ended = Tracer::run(lab.node(), &["watch", "-o", "junit"], LIMIT)?.expect_code(2)?;
    ensure!(ended.stderr.contains("check"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn progress_is_shown_on_a_terminal_only() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let args = ["check", "--for", "1h", "--color", "never", "udp port 7"];
    let tracer = Tracer::start(lab.node(), &args)?;
    let binary = tracer::binary()?;
    let argv = [&[binary.to_str().context("no UTF-8")?], &args[..]].concat();
    let terminal = Tmux::start(lab.node(), (100, 20), &argv)?;
    let shown =
        |text: &str| text.contains("tracer: ") && text.contains("packets in 1 flows, 0 dropped");
    let end = Instant::now() + deadline::scaled(LIMIT);
    loop {
        let sent = Udp::to("10.2.0.2:7")
            .sport(4242)
            .wait(Duration::from_secs(1))
            .send(lab.ns("a")?)?;
        ensure!(sent.delivered(), "{sent}");
        let screen = terminal.screen()?;
        if shown(&screen) {
            break;
        }
        ensure!(Instant::now() < end, "no progress on:\n{screen}");
    }
    let ended = tracer.interrupt(LIMIT)?.expect_code(0)?;
    ensure!(
        !ended.stderr.contains("packets in") && !ended.stderr.contains('\r'),
        "{}",
        ended.stderr
    );
    Ok(())
}
