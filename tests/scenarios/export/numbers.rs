//! What is exported is what the kernel counts.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Blast, Udp};
use harness::{Lab, Netns, Tracer, deadline};
use serde_json::Value;

use super::scrape::{self, Samples, sum};
use super::{END, LIMIT, export};

/// Counts where the router gets packets and where it sends them, by netfilter.
const COUNTERS: &str = "
table inet seen {
  counter came { }
  counter left { }
  counter lost { }
  chain in {
    type filter hook prerouting priority -300; policy accept;
    ip daddr 10.2.0.2 udp dport 20000-65535 counter name came
    ip daddr 10.9.0.0/16 counter name lost
  }
  chain out {
    type filter hook postrouting priority 300; policy accept;
    ip daddr 10.2.0.2 udp dport 20000-65535 counter name left
  }
}";

/// Ethernet header: netfilter counts IP packets.
const LINK: u64 = 14;

/// Packets and bytes on the wire of a named counter.
fn nft(ns: &Netns, name: &str) -> Result<(u64, u64)> {
    let text = ns.exec(&["nft", "-j", "list", "counter", "inet", "seen", name])?;
    let json: Value = serde_json::from_str(&text)?;
    let number = |what: &str| -> Result<u64> {
        let objects = json["nftables"].as_array().context("no array")?;
        let found = objects.iter().find_map(|o| o["counter"][what].as_u64());
        found.with_context(|| format!("no {what} in {text}"))
    };
    let packets = number("packets")?;
    let bytes = number("bytes")? + packets * LINK;
    Ok((packets, bytes))
}

fn device(samples: &Samples, what: &str, device: &str, direction: &str) -> u64 {
    let metric = format!("tracer_device_{what}_total");
    let (device, direction) = (
        format!("device=\"{device}\""),
        format!("direction=\"{direction}\""),
    );
    sum(samples, &metric, &[&device, &direction])
}

/// Counters of the scrapes never fall, whatever happens between them.
fn never_falls(before: &Samples, after: &Samples) -> Result<()> {
    let counter = |name: &str| {
        name.split('{')
            .next()
            .is_some_and(|n| n.ends_with("_total"))
    };
    for (name, number) in before.iter().filter(|(name, _)| counter(name)) {
        let later = after.get(name).with_context(|| format!("{name} is gone"))?;
        ensure!(later >= number, "{name} fell from {number} to {later}");
    }
    Ok(())
}

#[test]
fn scrapes_beside_traffic_are_what_netfilter_counts() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    lab.node().exec_with_input(&["nft", "-f", "-"], COUNTERS)?;
    let tracer = export(&lab, &["udp"])?;
    let packets = deadline::amount(200_000, 20_000);
    let scrapes = scrape_beside(&lab, packets)?;
    ensure!(scrapes > 3, "only {scrapes} scrapes beside the traffic");

    let (came, lost) = (nft(lab.node(), "came")?, nft(lab.node(), "lost")?);
    ensure!(came.0 > packets / 2 && lost.0 == 5, "{came:?} {lost:?}");
    let mut wrong = String::new();
    deadline::wait_for("the last picture", LIMIT, || {
        wrong = differences(&lab, &scrape::scrape(&lab)?)?;
        Ok(wrong.is_empty().then_some(()))
    })
    .with_context(|| wrong.clone())?;

    let text = scrape::text(&lab)?;
    scrape::accepted_by_prometheus(&text)?;
    let samples = scrape::samples(&text)?;
    ensure!(sum(&samples, "tracer_lost_total", &[]) == 0, "{text}");
    ensure!(sum(&samples, "tracer_flows", &[]) >= 200, "{text}");
    ensure!(
        sum(&samples, "tracer_findings", &["no-route"]) >= 1,
        "{text}"
    );
    cost(&lab, &tracer)?;
    tracer.signal(nix::sys::signal::Signal::SIGTERM)?;
    tracer.wait(END)?.expect_code(0)?;
    Ok(())
}

/// Sends through the router, to where it has a route and to where it has none, and scrapes meanwhile.
/// Returns how often.
fn scrape_beside(lab: &Lab, packets: u64) -> Result<u32> {
    let send = || -> Result<()> {
        let blast = Blast::to("10.2.0.2:20000").packets(packets).flows(200);
        blast
            .limit(deadline::scaled(Duration::from_mins(1)))
            .send(lab.ns("a")?)?;
        let lost = Udp::to("10.9.0.1:9").count(5).wait(Duration::ZERO);
        lost.send(lab.ns("a")?).map(drop)
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send();
            done.store(true, Ordering::Relaxed);
            sent
        });
        let text = scrape::text(lab)?;
        scrape::accepted_by_prometheus(&text)?;
        let (mut scrapes, mut before) = (0, scrape::samples(&text)?);
        while !done.load(Ordering::Relaxed) {
            let after = scrape::scrape(lab)?;
            never_falls(&before, &after)?;
            (scrapes, before) = (scrapes + 1, after);
            thread::sleep(scrape::PAUSE);
        }
        sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(scrapes)
    })
}

/// What a scrape has other than netfilter.
fn differences(lab: &Lab, samples: &Samples) -> Result<String> {
    let node = lab.node();
    let (came, left, lost) = (nft(node, "came")?, nft(node, "left")?, nft(node, "lost")?);
    let dropped = sum(samples, "tracer_dropped_packets_total", &["device=\"in\""]);
    let mut wrong = String::new();
    for (what, got, wanted) in [
        (
            "packets in",
            device(samples, "packets", "in", "in"),
            came.0 + lost.0,
        ),
        (
            "bytes in",
            device(samples, "bytes", "in", "in"),
            came.1 + lost.1,
        ),
        (
            "packets out",
            device(samples, "packets", "out", "out"),
            left.0,
        ),
        ("bytes out", device(samples, "bytes", "out", "out"), left.1),
        ("dropped", dropped, lost.0),
    ] {
        if got != wanted {
            writeln!(wrong, "{what}: {got}, netfilter has {wanted}")?;
        }
    }
    Ok(wrong)
}

/// Ticks of the processor's clock that a process took (`proc_pid_stat(5)`: utime and stime).
fn ticks(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("stat")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |n: usize| -> Result<u64> { Ok(fields.get(n).context("stat")?.parse()?) };
    Ok(number(11)? + number(12)?)
}

/// What a scrape costs: less than a hundredth of a core when there is one each second.
fn cost(lab: &Lab, tracer: &Tracer) -> Result<()> {
    const SCRAPES: u32 = 100;
    const TICK: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    let before = ticks(tracer.pid())?;
    for _ in 0..SCRAPES {
        scrape::text(lab)?;
    }
    let used = TICK * u32::try_from(ticks(tracer.pid())? - before)?;
    let each = used / SCRAPES;
    writeln!(
        std::io::stderr(),
        "a scrape took {each:?} of a processor ({SCRAPES} in {:?})",
        begun.elapsed()
    )?;
    ensure!(
        each < deadline::scaled(Duration::from_millis(10)),
        "{each:?}"
    );
    Ok(())
}

const CHECKS: &str = r#"
for = "20s"
[[check]]
name = "b answers"
probe = "10.2.0.2"
probe-count = 1
[[check]]
name = "by another way"
probe = "10.2.0.2"
probe-count = 1
not-via = "out"
"#;

#[test]
fn checks_are_repeated_and_their_verdicts_told() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let file = std::env::temp_dir().join(format!("tracer-export-{}.toml", std::process::id()));
    fs::write(&file, CHECKS)?;
    let file_name = file.to_str().context("no UTF-8")?;
    let tracer = export(&lab, &["-f", file_name, "--every", "5s"])?;
    let samples = deadline::wait_for("two runs", Duration::from_mins(2), || {
        let samples = scrape::scrape(&lab)?;
        let runs = sum(&samples, "tracer_check_runs_total", &["b answers"]);
        Ok((runs >= 2).then_some(samples))
    })?;
    drop(fs::remove_file(&file));
    let verdict = |check: &str, verdict: &str| {
        let verdict = format!("verdict=\"{verdict}\"");
        sum(&samples, "tracer_check_verdict", &[check, &verdict])
    };
    ensure!(verdict("b answers", "pass") == 1, "{samples:?}");
    ensure!(verdict("b answers", "fail") == 0, "{samples:?}");
    ensure!(verdict("by another way", "fail") == 1, "{samples:?}");
    ensure!(
        sum(&samples, "tracer_check_errors_total", &[]) == 0,
        "{samples:?}"
    );
    scrape::accepted_by_prometheus(&scrape::text(&lab)?)?;
    // also in the middle of a run
    let begun = Instant::now();
    tracer.signal(nix::sys::signal::Signal::SIGTERM)?;
    tracer.wait(END)?.expect_code(0)?;
    writeln!(std::io::stderr(), "it ended in {:?}", begun.elapsed())?;
    Ok(())
}

#[test]
fn what_the_kernel_cannot_count_is_refused() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    for (args, code, said) in [
        (&["drop"][..], 2, "the kernel counts"),
        (&["-f", "/nonexistent.toml"], 1, "/nonexistent.toml"),
        (
            &["--listen", "203.0.113.9:1"],
            1,
            "cannot listen on 203.0.113.9:1",
        ),
        (&["--every", "1s", "-f", "x"], 2, "at least 5 s"),
    ] {
        let words = [&["export"], args].concat();
        let ended = Tracer::run(lab.node(), &words, LIMIT)?.expect_code(code)?;
        ensure!(ended.stderr.contains(said), "{}", ended.stderr);
        ensure!(!ended.stderr.contains("ready"), "{}", ended.stderr);
    }
    Ok(())
}
