//! The capabilities of the manifests are enough, and each is needed for what the documentation says.
//!
//! tracer runs as root of a container does: user 0 with these capabilities in its bounding set and no
//! others.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::tracer::{Ended, binary};
use harness::traffic::Udp;
use harness::{Lab, Netns, Tracer, expect};
use serde_json::json;

use super::manifests::{DAEMONSET, DEBUG, added};
use super::{file, root};

const LIMIT: Duration = Duration::from_mins(1);

/// What a container runtime leaves to a pod's own processes.
const OF_A_POD: &str = "-all,+chown,+dac_override,+fowner,+kill,+net_bind_service,+setuid,+setgid";

/// What stands before a program to run it with these capabilities only.
pub(crate) fn bounded(capabilities: &[String]) -> Vec<String> {
    let mut set = String::from("-all");
    for capability in capabilities {
        set.push_str(",+");
        set.push_str(&capability.to_lowercase());
    }
    let none = [
        "--inh-caps",
        "-all",
        "--ambient-caps",
        "-all",
        "--no-new-privs",
    ];
    let words = ["setpriv", "--bounding-set", &set];
    words.into_iter().chain(none).map(str::to_owned).collect()
}

/// `tracer ARGS…` with these capabilities only.
fn with(capabilities: &[String], args: &[&str]) -> Result<Command> {
    let mut command = Command::new("env");
    command
        .args(bounded(capabilities))
        .arg(binary()?)
        .args(args);
    Ok(command)
}

fn run(ns: &Netns, capabilities: &[String], args: &[&str]) -> Result<Ended> {
    Tracer::spawn_command(ns, with(capabilities, args)?)?.wait(LIMIT)
}

/// A node and a pod whose namespace has no name, only a process that has other capabilities than
/// tracer: as with a container runtime that keeps no files below `/run/netns`.
struct Pod {
    lab: Lab,
    process: std::process::Child,
}

impl Pod {
    fn raise() -> Result<Self> {
        let lab = Lab::raise("router", None)?;
        // the capability to make the namespace is given up with the program that made it
        let mut command = Command::new("unshare");
        command.arg("--net").arg("setpriv");
        command.args(["--bounding-set", OF_A_POD, "--inh-caps", "-all"]);
        command.args(["sleep", "3600"]).stdin(Stdio::null());
        let process = command.spawn().context("unshare")?;
        let pod = Self { lab, process };
        let pid = pod.process.id().to_string();
        let own = fs::read_link("/proc/self/ns/net")?;
        harness::deadline::wait_for("the pod's namespace", LIMIT, || {
            let theirs = fs::read_link(format!("/proc/{pid}/ns/net"))?;
            Ok((theirs != own).then_some(()))
        })?;
        let node = pod.lab.node();
        for line in [
            format!("ip link add lxc-p type veth peer name eth0 netns {pid}"),
            "ip link set lxc-p up".to_owned(),
            "ip addr add 10.244.1.1/32 dev lxc-p".to_owned(),
            "ip route add 10.244.1.10/32 dev lxc-p".to_owned(),
            format!("nsenter --target {pid} --net ip addr add 10.244.1.10/24 dev eth0"),
            format!("nsenter --target {pid} --net ip link set eth0 up"),
        ] {
            node.exec(&line.split(' ').collect::<Vec<_>>())?;
        }
        Ok(pod)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Everything is seen with those of each manifest: a flow, its route, a drop in the pod with the
/// kernel's function.
#[test]
fn those_of_the_manifests_are_enough() -> Result<()> {
    let pod = Pod::raise()?;
    let node = pod.lab.node();
    for manifest in [DEBUG, DAEMONSET] {
        let capabilities = added(manifest)?;
        let args = ["check", "-o", "json", "--for", "1h", "udp"];
        let tracer = Tracer::spawn_command(node, with(&capabilities, &args)?)?;
        tracer.wait_ready(harness::tracer::READY_LIMIT)?;
        let status = fs::read_to_string(format!("/proc/{}/status", tracer.pid()))?;
        let bits = |line: &str| -> Result<u32> {
            let hex = status.lines().find_map(|l| l.strip_prefix(line));
            let hex = hex.context(line.to_owned())?;
            Ok(u64::from_str_radix(hex.trim(), 16)?.count_ones())
        };
        let count = u32::try_from(capabilities.len())?;
        ensure!(bits("CapBnd:")? == count, "{status}");
        ensure!(bits("CapEff:")? == count, "{status}");
        let sent = Udp::to("10.2.0.2:7")
            .wait(Duration::from_secs(2))
            .send(pod.lab.ns("a")?)?;
        ensure!(sent.delivered(), "{sent}");
        // nobody listens in the pod
        Udp::to("10.244.1.10:9")
            .wait(Duration::from_millis(200))
            .send(pod.lab.ns("a")?)?;
        let report = tracer.interrupt(LIMIT)?.expect_code(3)?.json()?;
        ensure!(
            report["limits"] == json!([]),
            "{manifest}: {}",
            report["limits"]
        );
        expect::flow(&report, &json!({"dst": "10.2.0.2", "packets": 3}))?;
        let lost = expect::flow(&report, &json!({"dst": "10.244.1.10"}))?;
        let drop = &lost["drops"][0];
        ensure!(drop["symbol"] != json!("?") && drop["count"] == 3, "{lost}");
    }
    Ok(())
}

/// A row of the table in `docs/install.md`.
#[derive(Debug)]
struct Row {
    without: Vec<String>,
    command: String,
    code: i32,
    said: String,
}

fn table() -> Result<Vec<Row>> {
    let text = fs::read_to_string(root()?.join("docs/install.md"))?;
    let (_, section) = text
        .split_once("### What is said when one is missing")
        .context("no section of capabilities")?;
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [without, command, code, said] = cells.as_slice() else {
            anyhow::bail!("{line}")
        };
        let words = without
            .split(',')
            .map(|w| w.trim().trim_matches('`').to_owned());
        Ok(Row {
            without: words.collect(),
            command: command.trim_matches('`').to_owned(),
            code: code.parse()?,
            said: said.trim_matches('`').to_owned(),
        })
    })
    .collect()
}

#[test]
fn each_is_needed_for_what_the_documentation_says() -> Result<()> {
    let pod = Pod::raise()?;
    let all = added(DEBUG)?;
    let rows = table()?;
    for row in &rows {
        let left: Vec<String> = all
            .iter()
            .filter(|c| !row.without.contains(c))
            .cloned()
            .collect();
        ensure!(left.len() + row.without.len() == all.len(), "{row:?}");
        let words: Vec<&str> = row.command.split(' ').skip(1).collect();
        let ended = run(pod.lab.node(), &left, &words)?;
        let text = [ended.stdout.as_str(), &ended.stderr].concat();
        ensure!(text.contains(&row.said), "{row:?}\n{text}");
        let ended = ended
            .expect_code(row.code)
            .with_context(|| format!("{row:?}"))?;
        // with all of them nothing of the kind is said
        let full = run(pod.lab.node(), &all, &words)?;
        let full = [full.stdout.as_str(), &full.stderr].concat();
        ensure!(!full.contains(&row.said), "{row:?}\n{full}");
        drop(ended);
    }
    // none is asked for without a reason
    for capability in &all {
        ensure!(
            rows.iter().any(|row| row.without.contains(capability)),
            "docs/install.md does not say what {capability} is for"
        );
    }
    let daemonset = added(DAEMONSET)?;
    ensure!(daemonset.iter().all(|c| all.contains(c)), "{daemonset:?}");
    ensure!(fs::exists(file(DAEMONSET)?)?, "no {DAEMONSET}");
    Ok(())
}
