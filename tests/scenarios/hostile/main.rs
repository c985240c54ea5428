//! What somebody sends on purpose, and nodes that are larger than any test bed: floods, headers that
//! make no sense, packets of every size, a million routes.

#![expect(
    clippy::print_stdout,
    reason = "what was measured and said is in the output"
)]

mod flood;
mod large;
mod malformed;
mod many;
mod scale;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::traffic::Udp;
use harness::{Lab, Tracer, expect};
use serde_json::{Value, json};

/// From SIGINT to the end, with many flows on a loaded machine.
const END: Duration = Duration::from_secs(90);

/// A directory of its own; removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Result<Self> {
        let path =
            std::env::temp_dir().join(format!("tracer-hostile-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A line of `/proc/PID/status` in KiB: `VmRSS:`, `VmHWM:`.
fn memory(pid: u32, key: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .context("no number")
}

/// Sends `count` datagrams of the flow that is there all the time; all must come back.
fn ordinary(lab: &Lab, count: u32) -> Result<()> {
    let udp = Udp::to("10.2.0.2:7").sport(4000).count(count);
    let udp = udp.interval(Duration::from_millis(1));
    let sent = udp.wait(Duration::from_secs(2)).send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    Ok(())
}

/// Requires that the ordinary flow was counted to the packet.
fn ordinary_is_exact(report: &Value, count: u32) -> Result<()> {
    let wanted = json!({"proto": "udp", "dst": "10.2.0.2", "dport": 7, "sport": 4000});
    let flow = expect::flow(report, &wanted)?;
    let packets = json!({"packets": count});
    expect::path(
        flow,
        &[
            expect::hop_with("in", "in", packets.clone()),
            expect::hop_with("out", "out", packets),
        ],
    )?;
    ensure!(flow["reply"]["packets"] == count, "{}", flow["reply"]);
    Ok(())
}

/// `tracer read -o json FILE FILTER`.
fn read(lab: &Lab, file: &str, filter: &str) -> Result<Value> {
    let args = ["read", "-o", "json", file, filter];
    Tracer::run(lab.node(), &args, END)?.expect_code(0)?.json()
}
