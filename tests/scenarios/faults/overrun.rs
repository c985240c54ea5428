//! More changes of the configuration than the socket has room for.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::traffic::{Echo, Ping, Udp};
use harness::{Lab, Netns, Tracer, command, deadline, expect};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{END, traced};

/// A number that no other device has.
const NUMBER: &str = "7777";

/// While the process stands still, a device goes, another one takes its number, and the messages
/// that tell of it do not fit any more.
#[test]
fn lost_notifications_are_said_and_everything_is_read_again() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let (node, b) = (lab.node(), lab.ns("b")?);
    connect(node, b, "early", "10.8.0")?;
    let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "udp port 7"])?;
    ensure!(traced(node, "early")?, "the device is not traced");
    tracer.signal(Signal::SIGSTOP)?;
    flood(node)?;
    node.exec(&["ip", "link", "del", "early"])?;
    connect(node, b, "late", "10.9.0")?;
    ensure!(!traced(node, "late")?, "it did not stand still");
    tracer.signal(Signal::SIGCONT)?;
    deadline::wait_for("tracing of the new device", Duration::from_secs(10), || {
        Ok(traced(node, "late")?.then_some(()))
    })?;
    let _echoes = Echo::both(b, "10.9.0.2".parse()?)?;
    let sent = Udp::to("10.9.0.2:7")
        .wait(Duration::from_secs(1))
        .send(node)?;
    ensure!(sent.delivered(), "{sent}");
    // what left by the new device before it was known is missing: no pass
    let ended = tracer.interrupt(END)?.expect_code(4)?;
    ensure!(
        ended.stderr.contains("were lost") && ended.stderr.contains("read again"),
        "it is not said:\n{}",
        ended.stderr
    );
    let report = ended.json()?;
    ensure!(
        report["limits"].to_string().contains("were lost"),
        "it is not in the report: {}",
        report["limits"]
    );
    let flow = expect::flow(&report, &json!({"dst": "10.9.0.2", "dport": 7}))?;
    expect::path(
        flow,
        &[
            expect::route(&json!({"dev": "late"})),
            expect::hop_with("late", "out", json!({"packets": 3})),
        ],
    )
}

/// Routes that come and go: each is a message, and 40,000 of them are far more than 8 MiB.
fn flood(node: &Netns) -> Result<()> {
    for verb in ["add", "del"] {
        let lines: Vec<String> = (0..20_000)
            .map(|n| {
                format!(
                    "route {verb} 10.{}.{}.{}/32 dev out\n",
                    64 + n / 65536,
                    n / 256 % 256,
                    n % 256
                )
            })
            .collect();
        node.exec_with_input(&["ip", "-batch", "-"], &lines.concat())?;
    }
    Ok(())
}

/// A pair of devices with the number that stays the same: `dev` on the node, `far` on b.
fn connect(node: &Netns, b: &Netns, dev: &str, net: &str) -> Result<()> {
    node.exec(&[
        "ip",
        "link",
        "add",
        dev,
        "index",
        NUMBER,
        "type",
        "veth",
        "peer",
        "name",
        "far",
        "netns",
        b.name(),
    ])?;
    let ip = |ns: &Netns, line: String| {
        let mut argv = vec!["ip", "-n", ns.name()];
        argv.extend(line.split(' '));
        command::run(&argv, "").map(drop)
    };
    ip(node, format!("addr add {net}.1/24 dev {dev}"))?;
    ip(node, format!("link set {dev} up"))?;
    ip(b, format!("addr add {net}.2/24 dev far"))?;
    ip(b, "link set far up".to_owned())?;
    let to = format!("{net}.2");
    deadline::wait_for("an answer", Duration::from_secs(5), || {
        Ok(Ping::to(&to).send(node)?.delivered().then_some(()))
    })
}
