//! Pods by name: real processes in real namespaces, in cgroups as kubelets and runtimes make them.

mod later;
mod views;

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::kubelet::{Driver, Hierarchy, Kubelet};
use harness::tracer::Ended;
use harness::traffic::{Echo, Sent, Udp};
use harness::{Network, Topology, Tracer, expect};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(1);
const WEB: &str = "10.244.1.10";
const DB: &str = "10.244.1.11";
/// A pod of another node.
const FAR: &str = "10.244.2.20";

/// A node with the pods `shop/web-0` (systemd driver) and the static pod `kube-system/db-n1` (cgroupfs
/// driver), and a node behind `eth0` with a pod that nothing here knows.
struct Cluster {
    network: Network,
    kubelet: Kubelet,
    web: u32,
    _echoes: Vec<Echo>,
}

impl Cluster {
    fn raise() -> Result<Self> {
        Self::raise_in(Hierarchy::Unified)
    }

    fn raise_in(hierarchy: Hierarchy) -> Result<Self> {
        let network = Topology::new("names")
            .ns(&["n1", "far", "late"])
            .forwarding(&["n1"])
            .veth(("n1", "eth0"), ("far", "eth0"))
            .addr("n1", "eth0", &["10.0.0.1/24"])
            .addr("far", "eth0", &["10.0.0.2/24", "10.244.2.20/32"])
            .route("n1", "default via 10.0.0.2")
            .route("far", "10.244.1.0/24 via 10.0.0.1")
            .pod("n1", "web", WEB, Some("fd44:1::10"))
            .pod("n1", "db", DB, None)
            .raise()?;
        let mut kubelet = Kubelet::new(hierarchy)?;
        let web = kubelet.start(network.ns("web")?, Driver::Systemd, 2)?;
        kubelet.log("shop", "web-0", 2)?;
        kubelet.start(network.ns("db")?, Driver::Cgroupfs, 5)?;
        kubelet.log("kube-system", "db-n1", 5)?;
        let mut echoes = Vec::new();
        for (ns, address) in [("db", DB), ("far", FAR)] {
            echoes.extend(Echo::both(network.ns(ns)?, address.parse::<IpAddr>()?)?);
        }
        Ok(Self {
            network,
            kubelet,
            web,
            _echoes: echoes,
        })
    }

    fn logs(&self) -> Result<String> {
        text(&self.kubelet.pod_logs())
    }

    /// `ARGS --pod-logs …` on the node.
    fn start(&self, args: &[&str]) -> Result<Tracer> {
        let logs = self.logs()?;
        let all = [args, &["--pod-logs", &logs]].concat();
        Tracer::start(self.network.ns("n1")?, &all)
    }

    /// The same to its end.
    fn run(&self, args: &[&str]) -> Result<Ended> {
        let logs = self.logs()?;
        let all = [args, &["--pod-logs", &logs]].concat();
        Tracer::run(self.network.ns("n1")?, &all, LIMIT)
    }

    /// Three datagrams from `shop/web-0`.
    fn send(&self, to: &str) -> Result<Sent> {
        let sent = Udp::to(&format!("{to}:7"))
            .wait(Duration::from_secs(1))
            .send(self.network.ns("web")?)?;
        ensure!(sent.delivered(), "{sent}");
        Ok(sent)
    }

    /// `check ARGS` while `shop/web-0` sends to the other pod and to the other node.
    fn check(&self, args: &[&str]) -> Result<Ended> {
        let words = [&["check", "--for", "1h"], args].concat();
        let tracer = self.start(&words)?;
        self.send(DB)?;
        self.send(FAR)?;
        tracer.interrupt(LIMIT)
    }
}

/// A node whose cgroups are of the first version, as those of older distributions.
#[test]
fn cgroup_v1_is_as_good() -> Result<()> {
    let cluster = Cluster::raise_in(Hierarchy::V1)?;
    let lines = fs::read_to_string(format!("/proc/{}/cgroup", cluster.web))?;
    let names = |line: &str| line.contains("-pod");
    ensure!(
        lines
            .lines()
            .any(|line| names(line) && line.contains(":name="))
            && !lines
                .lines()
                .any(|line| names(line) && line.starts_with("0::")),
        "{lines}"
    );
    let report = cluster.check(&["-o", "json"])?.json()?;
    let names = &flow(&report, DB)?["names"];
    ensure!(
        expect::contains(names, &json!({"src": web(), "dst": db()})),
        "{names}"
    );
    Ok(())
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("no UTF-8")?.to_owned())
}

/// The flow to an address.
fn flow<'a>(report: &'a Value, dst: &str) -> Result<&'a Value> {
    let flows = report["flows"].as_array().context("no flows")?;
    let found = flows.iter().find(|f| f["dst"] == dst);
    found.with_context(|| format!("no flow to {dst} in {report}"))
}

fn web() -> Value {
    json!({"kind": "pod", "namespace": "shop", "name": "web-0", "id": harness::kubelet::uid(2)})
}

fn db() -> Value {
    json!({"kind": "pod", "namespace": "kube-system", "name": "db-n1", "id": harness::kubelet::uid(5)})
}

#[test]
fn flows_have_the_names_of_their_pods() -> Result<()> {
    let cluster = Cluster::raise()?;
    let report = cluster.check(&["-o", "json"])?.expect_code(0)?.json()?;
    expect::no_loss(&report)?;
    expect::is(
        flow(&report, DB)?,
        &json!({"names": {"src": web(), "dst": db(), "nat_src": null, "nat_dst": null}, "packets": 3}),
    )?;
    let path = flow(&report, DB)?["path"].as_array().context("no path")?;
    let (first, last) = (
        path.first().context("empty")?,
        path.last().context("empty")?,
    );
    expect::is(&first["hop"], &json!({"dev": "lxc-web", "behind": web()}))?;
    expect::is(&last["hop"], &json!({"dev": "lxc-db", "behind": db()}))?;
    // nobody here knows whose address it is
    expect::is(
        flow(&report, FAR)?,
        &json!({"names": {"src": web(), "dst": null}}),
    )
}

/// Nodes have the names that the cluster's file gives them.
#[test]
fn listed_nodes_have_names() -> Result<()> {
    let cluster = Cluster::raise()?;
    let file = cluster.kubelet.directory().join("cluster.toml");
    fs::write(
        &file,
        "[[nodes]]\nname = \"n2\"\naddresses = [\"10.0.0.2\"]\n",
    )?;
    let path = text(&file)?;
    let tracer = cluster.start(&["check", "-o", "json", "--for", "1h", "--cluster", &path])?;
    let _echoes = Echo::both(cluster.network.ns("far")?, "10.0.0.2".parse()?)?;
    cluster.send("10.0.0.2")?;
    let report = tracer.interrupt(LIMIT)?.expect_code(0)?.json()?;
    let node = json!({"kind": "node", "namespace": null, "name": "n2", "id": null});
    expect::is(
        flow(&report, "10.0.0.2")?,
        &json!({"names": {"src": web(), "dst": node}}),
    )
}

/// What a pod says to the node itself, or to a pod on the node's network.
#[test]
fn the_nodes_own_addresses_have_its_name() -> Result<()> {
    let cluster = Cluster::raise()?;
    let n1 = cluster.network.ns("n1")?;
    let _echoes = Echo::both(n1, "10.0.0.1".parse()?)?;
    let tracer = cluster.start(&["check", "-o", "json", "--for", "1h"])?;
    cluster.send("10.0.0.1")?;
    let report = tracer.interrupt(LIMIT)?.expect_code(0)?.json()?;
    let node = json!({"kind": "node", "namespace": null, "name": n1.name(), "id": null});
    expect::is(
        flow(&report, "10.0.0.1")?,
        &json!({"names": {"src": web(), "dst": node}}),
    )
}

#[test]
fn pods_can_be_filtered_by() -> Result<()> {
    let cluster = Cluster::raise()?;
    for (args, flows) in [
        (vec!["pod shop/web-0"], 2),
        (vec!["pod db-n1"], 1),
        (vec!["pod", "*/db-*"], 1),
        (vec!["not pod kube-system/db-n1"], 1),
        (vec!["dst pod web-0 and udp"], 2),
        (vec!["--from", "shop/web-0", "--to", "pod db-n1"], 1),
        (vec!["--to", "kube-system/db-n1:7"], 1),
    ] {
        let report = cluster.check(&[&["-o", "json"][..], &args].concat())?;
        let report = report.expect_code(0)?.json()?;
        let n = report["flows"].as_array().map_or(0, Vec::len);
        ensure!(n == flows, "{args:?}: {report}");
        let packets = report["flows"][0]["packets"].as_u64();
        ensure!(packets == Some(3), "{args:?}: {report}");
    }
    for args in [["pod shop/web-1"], ["pod kube-system/web-0"]] {
        cluster.check(&args)?.expect_code(4)?;
    }
    let wrong = cluster.run(&["check", "pod", "Shop/Web"])?.expect_code(2)?;
    let hint = "hint: write `pod shop/web`";
    ensure!(wrong.stderr.contains(hint), "{}", wrong.stderr);
    Ok(())
}

#[test]
fn a_probe_is_sent_from_a_pod() -> Result<()> {
    let cluster = Cluster::raise()?;
    let probe = [
        "check",
        "-o",
        "json",
        "--probe",
        "10.244.2.20:7",
        "--probe-proto",
        "udp",
    ];
    for pod in ["shop/web-0", "web-0"] {
        let args = [&probe[..], &["--probe-netns", pod]].concat();
        let report = cluster.run(&args)?.expect_code(0)?.json()?;
        expect::is(
            &report["probe"],
            &json!({"sent": 3, "answered": 3, "netns": pod}),
        )?;
        expect::is(
            flow(&report, FAR)?,
            &json!({"src": WEB, "names": {"src": web()}}),
        )?;
    }
    let args = [&probe[..], &["--probe-netns", "shop/web-9"]].concat();
    let ended = cluster.run(&args)?.expect_code(1)?;
    let why = "no pod on this node is called shop/web-9";
    ensure!(ended.stderr.contains(why), "{}", ended.stderr);
    Ok(())
}

/// As in a container that has the host's procfs mounted elsewhere: the tree is made up, the
/// namespaces behind its links are real.
#[test]
fn the_hosts_procfs_can_be_elsewhere() -> Result<()> {
    let cluster = Cluster::raise()?;
    let proc = cluster.kubelet.directory().join("proc");
    let (pid, process) = (proc.join("7"), cluster.web);
    fs::create_dir_all(pid.join("ns"))?;
    symlink(format!("/proc/{process}/ns/net"), pid.join("ns/net"))?;
    fs::write(
        pid.join("cgroup"),
        format!(
            "0::/../kubepods/pod{}/{:064x}\n",
            harness::kubelet::uid(2),
            7
        ),
    )?;
    let report = cluster.check(&["-o", "json", "--proc", &text(&proc)?])?;
    let report = report.expect_code(0)?.json()?;
    expect::is(
        flow(&report, DB)?,
        &json!({"names": {"src": web(), "dst": null}}),
    )?;
    let doctor = cluster.run(&["doctor", "--proc", &text(&proc)?])?;
    ensure!(
        doctor.stdout.contains("process 1 is not there"),
        "{}",
        doctor.stdout
    );
    ensure!(doctor.stdout.contains("(2 there now)"), "{}", doctor.stdout);
    Ok(())
}
