//! Every view shows them, and `-n` none of them.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::tmux::Tmux;
use harness::tracer::{READY_LIMIT, binary};
use harness::{Tracer, expect};
use serde_json::{Value, json};

use super::{Cluster, DB, FAR, LIMIT, flow, text, web};

const BOTH: &str = "(shop/web-0 > kube-system/db-n1)";

#[test]
fn text_and_junit() -> Result<()> {
    let cluster = Cluster::raise()?;
    let plain = cluster.check(&["-v"])?.expect_code(0)?.stdout;
    ensure!(plain.contains(BOTH), "{plain}");
    ensure!(plain.contains("lxc-web (shop/web-0) →"), "{plain}");
    ensure!(plain.contains("(shop/web-0 > -)"), "{plain}");
    let numeric = cluster.check(&["-v", "-n"])?.expect_code(0)?.stdout;
    ensure!(
        numeric.contains("lxc-web") && !numeric.contains("web-0"),
        "{numeric}"
    );
    let junit = cluster
        .check(&["-v", "-o", "junit"])?
        .expect_code(0)?
        .stdout;
    ensure!(
        junit.contains("(shop/web-0 &gt; kube-system/db-n1)"),
        "{junit}"
    );
    let report = cluster
        .check(&["-n", "-o", "json"])?
        .expect_code(0)?
        .json()?;
    ensure!(!report.to_string().contains("web-0"), "{report}");
    expect::is(flow(&report, DB)?, &json!({"names": null}))
}

#[test]
fn a_stream() -> Result<()> {
    let cluster = Cluster::raise()?;
    let watched = |args: &[&str]| -> Result<String> {
        let tracer = cluster.start(&[&["watch"], args].concat())?;
        cluster.send(DB)?;
        tracer.stdout_line("the flow", Duration::from_secs(10), |l| l.contains(DB))?;
        Ok(tracer.interrupt(LIMIT)?.stdout)
    };
    let lines = watched(&["dst", "pod", "db-n1"])?;
    ensure!(lines.contains(&format!("{BOTH}:")), "{lines}");
    let packets = watched(&["--packets", "pod web-0"])?;
    let first = packets
        .lines()
        .find(|l| l.contains("lxc-web") && l.contains("In"));
    ensure!(first.is_some_and(|l| l.ends_with(BOTH)), "{packets}");
    let numeric = watched(&["-n", "--packets"])?;
    ensure!(!numeric.contains("web-0"), "{numeric}");
    Ok(())
}

/// A drop with a finding.
#[test]
fn what_is_wrong_says_who_suffers() -> Result<()> {
    let cluster = Cluster::raise()?;
    let node = cluster.network.ns("n1")?;
    node.exec(&["ip", "route", "add", "blackhole", "10.244.2.0/24"])?;
    let tracer = cluster.start(&["check", "-o", "json", "--for", "1h"])?;
    let sent = harness::traffic::Udp::to("10.244.2.20:7")
        .wait(Duration::from_millis(300))
        .send(cluster.network.ns("web")?)?;
    ensure!(sent.lost(), "{sent}");
    let report = tracer.interrupt(LIMIT)?.expect_code(3)?.json()?;
    let names = report["findings"][0]["subject"]["names"].clone();
    let suffers = names
        .as_array()
        .into_iter()
        .flatten()
        .any(|n| n["name"] == "web-0");
    ensure!(suffers, "{report}");
    expect::is(&flow(&report, FAR)?["drops"][0], &json!({"behind": web()}))?;
    let audit = cluster.run(&["audit"])?;
    ensure!(audit.stdout.contains("blackhole-route"), "{}", audit.stdout);
    Ok(())
}

/// A capture shows the same names where nothing of the node is.
#[test]
fn captures_keep_names() -> Result<()> {
    let cluster = Cluster::raise()?;
    let file = text(&cluster.kubelet.directory().join("a.pcapng"))?;
    let page = text(&cluster.kubelet.directory().join("a.html"))?;
    let tracer = cluster.start(&["record", "-o", "json", "-w", &file])?;
    cluster.send(DB)?;
    let live = tracer.interrupt(LIMIT)?.expect_code(0)?.json()?;
    expect::is(&flow(&live, DB)?["names"], &json!({"src": web()}))?;
    // elsewhere: no process, no log directory
    let elsewhere = cluster.network.ns("far")?;
    let read = |args: &[&str]| -> Result<String> {
        let nowhere = ["--proc", "/nowhere", "--pod-logs", "/nowhere"];
        let ended = Tracer::run(elsewhere, &[args, &nowhere].concat(), LIMIT)?;
        Ok(ended.expect_code(0)?.stdout)
    };
    let again: Value = serde_json::from_str(&read(&["read", "-o", "json", &file])?)?;
    ensure!(again["flows"] == live["flows"], "{again}\n{live}");
    ensure!(read(&["read", "-v", &file])?.contains(BOTH));
    ensure!(read(&["read", "-v", &file, "pod", "db-n1"])?.contains(BOTH));
    ensure!(read(&["read", "--packets", &file, "src pod db-n1"])?.contains("kube-system/db-n1"));
    ensure!(!read(&["read", "-v", "-n", &file])?.contains("web-0"));
    read(&["report", &file, "-o", &page])?;
    ensure!(fs::read_to_string(&page)?.contains("shop/web-0"), "{page}");
    let compared = Tracer::run(elsewhere, &["compare", &file, &file, "-v"], LIMIT)?;
    ensure!(!compared.stdout.is_empty(), "{}", compared.stderr);
    Ok(())
}

#[test]
fn the_interactive_view() -> Result<()> {
    let cluster = Cluster::raise()?;
    let (tracer, logs) = (text(&binary()?)?, cluster.logs()?);
    let open = |numeric: &[&str]| -> Result<Tmux> {
        let argv = [&[tracer.as_str(), "live", "--pod-logs", &logs], numeric].concat();
        let terminal = Tmux::start(cluster.network.ns("n1")?, (160, 40), &argv)?;
        terminal.wait_for("the first screen", READY_LIMIT, |s| s.contains("LIVE"))?;
        Ok(terminal)
    };
    let terminal = open(&[])?;
    cluster.send(DB)?;
    let screen = terminal.wait_for("names", Duration::from_secs(20), |s| {
        s.contains("udp shop/web-0:") && s.contains(BOTH)
    })?;
    ensure!(screen.contains("lxc-web (shop/web-0)"), "{screen}");
    terminal.send_keys(&["q"])?;
    let terminal = open(&["-n"])?;
    cluster.send(DB)?;
    let screen = terminal.wait_for("addresses", Duration::from_secs(20), |s| s.contains(DB))?;
    ensure!(!screen.contains("web-0"), "{screen}");
    terminal.send_keys(&["q"])
}
