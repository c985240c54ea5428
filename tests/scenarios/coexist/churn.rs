//! Devices by the hundred that come and go under load, that move to another namespace, whose number
//! is used again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Blast, Echo, Ping, Udp};
use harness::{Lab, Netns, Tracer, deadline, expect};
use serde_json::{Value, json};

use super::{CHECK, END, ip, traced};

/// A number that no other device has.
const NUMBER: &str = "7778";

#[test]
fn five_hundred_devices_come_and_go_under_load() -> Result<()> {
    let devices = deadline::amount(500, 60);
    let packets = deadline::amount(600_000, 40_000);
    let lab = Lab::raise("router", None)?;
    let (node, a) = (lab.node(), lab.ns("a")?);
    let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "udp"])?;
    let (files, before) = (files(&tracer)?, node.statistic("out", "tx_packets")?);
    let begun = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let limit = deadline::scaled(Duration::from_mins(3));
        let load = scope.spawn(move || {
            let blast = Blast::to("10.2.0.2:20000").packets(packets).flows(500);
            blast.limit(limit).send(a)
        });
        let churn = churn(node, devices);
        load.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        churn
    })?;
    println!("{devices} devices came and went in {:?}", begun.elapsed());
    let sent = Udp::to("10.2.0.2:7").wait(Duration::from_secs(2)).send(a)?;
    ensure!(sent.delivered(), "{sent}");
    // a link of each device that is gone would be held
    deadline::wait_for("the end of the links", END, || {
        Ok((self::files(&tracer)? <= files + 4).then_some(()))
    })
    .with_context(|| {
        format!(
            "{files} descriptors before, {} now",
            self::files(&tracer).unwrap_or(0)
        )
    })?;
    let left = node.statistic("out", "tx_packets")? - before;
    let report = tracer.interrupt(END)?.json()?;
    let seen = sum(&report, "out")?;
    println!(
        "{left} packets left, {seen} were counted; loss {}",
        report["loss"]
    );
    ensure!(report["loss"]["evicted"] == 0, "{}", report["loss"]);
    // neighbour discovery of the lab is no UDP
    ensure!(seen <= left && left - seen < 50, "{seen} of {left}");
    Ok(())
}

fn churn(node: &Netns, devices: usize) -> Result<()> {
    const TOGETHER: usize = 50;
    for first in (0..devices).step_by(TOGETHER) {
        let numbers = first..(first + TOGETHER).min(devices);
        let lines: Vec<String> = numbers
            .clone()
            .map(|n| {
                format!(
                    "link add c{n} type veth peer name d{n}\nlink set c{n} up\nlink set d{n} up\n"
                )
            })
            .collect();
        node.exec_with_input(&["ip", "-batch", "-"], &lines.concat())?;
        let lines: Vec<String> = numbers.map(|n| format!("link del c{n}\n")).collect();
        node.exec_with_input(&["ip", "-batch", "-"], &lines.concat())?;
    }
    Ok(())
}

#[test]
fn a_device_moves_to_another_namespace_and_back() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let (node, a, b) = (lab.node(), lab.ns("a")?, lab.ns("b")?);
    connect(node, b, "late", &[])?;
    let _echoes = Echo::both(b, "10.9.0.2".parse()?)?;
    let tracer = Tracer::start(node, &CHECK)?;
    ensure!(traced(node, "late")?, "it is not traced");
    ip(node, &format!("link set late netns {}", a.name()))?;
    // nothing of ours goes along
    deadline::wait_for("the detachment", END, || {
        Ok((!traced(a, "late")?).then_some(()))
    })?;
    ip(a, &format!("link set late netns {}", node.name()))?;
    up(node, "late")?;
    deadline::wait_for("tracing", END, || Ok(traced(node, "late")?.then_some(())))?;
    answers(node)?;
    exact(tracer, node, "late")
}

/// The next device has the number of the one before, at once and later.
#[test]
fn a_number_is_used_again() -> Result<()> {
    for name in ["late", "other"] {
        let lab = Lab::raise("router", None)?;
        let (node, b) = (lab.node(), lab.ns("b")?);
        connect(node, b, "late", &["index", NUMBER])?;
        let echoes = Echo::both(b, "10.9.0.2".parse()?)?;
        let tracer = Tracer::start(node, &CHECK)?;
        let sent = Udp::to("10.9.0.2:7").sport(4000).send(node)?;
        ensure!(sent.delivered(), "{sent}");
        drop(echoes);
        ip(node, "link del late")?;
        connect(node, b, name, &["index", NUMBER])?;
        deadline::wait_for("tracing", END, || Ok(traced(node, name)?.then_some(())))?;
        let _echoes = Echo::both(b, "10.9.0.2".parse()?)?;
        exact(tracer, node, name)?;
    }
    Ok(())
}

/// A round over the device is counted to the packet, and the device has its name.
fn exact(tracer: Tracer, node: &Netns, dev: &str) -> Result<()> {
    let udp = Udp::to("10.9.0.2:7").sport(5000).count(20);
    let sent = udp.wait(Duration::from_secs(1)).send(node)?;
    ensure!(sent.delivered(), "{sent}");
    // the name comes with the configuration, which is read a moment later
    std::thread::sleep(deadline::scaled(Duration::from_secs(1)));
    let report = tracer.interrupt(END)?.expect_code(0)?.json()?;
    let flow = expect::flow(&report, &json!({"dst": "10.9.0.2", "sport": 5000}))?;
    expect::path(
        flow,
        &[
            expect::route(&json!({"dev": dev})),
            expect::hop_with(dev, "out", json!({"packets": 20})),
        ],
    )
}

/// A pair of devices: `dev` on the node, `far` on b.
fn connect(node: &Netns, b: &Netns, dev: &str, more: &[&str]) -> Result<()> {
    let add = ["ip", "link", "add", dev];
    let veth = ["type", "veth", "peer", "name", "far", "netns", b.name()];
    node.exec(&[&add[..], more, &veth[..]].concat())?;
    ip(b, "addr add 10.9.0.2/24 dev far")?;
    ip(b, "link set far up")?;
    up(node, dev)?;
    answers(node)
}

fn up(node: &Netns, dev: &str) -> Result<()> {
    ip(node, &format!("addr add 10.9.0.1/24 dev {dev}"))?;
    ip(node, &format!("link set {dev} up"))
}

fn answers(node: &Netns) -> Result<()> {
    deadline::wait_for("an answer", Duration::from_secs(5), || {
        Ok(Ping::to("10.9.0.2").send(node)?.delivered().then_some(()))
    })
}

fn files(tracer: &Tracer) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", tracer.pid()))?.count())
}

/// Packets that left by a device, over all flows.
fn sum(report: &Value, dev: &str) -> Result<u64> {
    let hop = expect::hop(dev, "out");
    let flows = report["flows"].as_array().context("no flows")?;
    Ok(flows
        .iter()
        .flat_map(|flow| [&flow["path"], &flow["reply"]["path"]])
        .filter_map(Value::as_array)
        .flatten()
        .filter(|step| expect::contains(step, &hop))
        .filter_map(|step| step["hop"]["packets"].as_u64())
        .sum())
}
