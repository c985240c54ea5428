//! A container of the manifests sees enough of its node: tracer runs in a file tree that has nothing
//! but itself, procfs, sysfs and what the manifest mounts, read-only, as root of a container does.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::kubelet::{Driver, Hierarchy, Kubelet, uid};
use harness::tracer::{READY_LIMIT, binary};
use harness::traffic::{Echo, Udp};
use harness::{Network, Topology, Tracer, expect};
use serde_json::{Value, json};

use super::capabilities::bounded;
use super::manifests::{DAEMONSET, DEBUG, added, host_paths};

const LIMIT: Duration = Duration::from_mins(1);
const WEB: &str = "10.244.1.10";
const DB: &str = "10.244.1.11";

/// `ROOT TRACER MOUNTS PROGRAM…`: raises the tree at `ROOT` in a mount namespace of its own and goes on
/// as `PROGRAM` in it. `MOUNTS` has a line `HOST INSIDE` for each. The program that is tested here is
/// not the static one of the image: `/usr` has its libraries.
const CONTAINER: &str = r#"
set -eu
root=$1 tracer=$2 mounts=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
mkdir "$root/proc" "$root/sys" "$root/usr"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --bind -o ro /usr "$root/usr"
for dir in bin sbin lib lib64; do
    [ ! -e "/$dir" ] || ln -s "usr/$dir" "$root/$dir"
done
cp "$tracer" "$root/tracer"
printf '%s' "$mounts" | while read -r host inside; do
    mkdir -p "$root$inside"
    mount --bind "$host" "$root$inside"
    mount -o remount,bind,ro "$root$inside"
done
mount -o remount,ro "$root"
exec chroot "$root" "$@"
"#;

/// A node with two pods, whose kubelet and CNI have their files in a directory of the test.
struct Node {
    network: Network,
    kubelet: Kubelet,
    _echo: Vec<Echo>,
}

impl Node {
    fn raise() -> Result<Self> {
        let network = Topology::new("container")
            .ns(&["n1"])
            .forwarding(&["n1"])
            .pod("n1", "web", WEB, None)
            .pod("n1", "db", DB, None)
            .raise()?;
        let mut kubelet = Kubelet::new(Hierarchy::Unified)?;
        for (ns, number) in [("web", 2), ("db", 4)] {
            kubelet.start(network.ns(ns)?, Driver::Systemd, number)?;
            kubelet.log("shop", ns, number)?;
        }
        let cni = kubelet.directory().join("net.d");
        fs::create_dir(&cni)?;
        fs::write(
            cni.join("10-aws.conflist"),
            r#"{"name": "aws-cni", "plugins": [{"type": "aws-cni"}]}"#,
        )?;
        fs::create_dir(kubelet.directory().join("root"))?;
        let echo = Echo::both(network.ns("db")?, DB.parse()?)?;
        Ok(Self {
            network,
            kubelet,
            _echo: echo.into_iter().collect(),
        })
    }

    /// Where a directory of a node is on this machine.
    fn here(&self, host: &str) -> Result<String> {
        let path = match host {
            "/var/log/pods" => self.kubelet.pod_logs(),
            "/etc/cni/net.d" => self.kubelet.directory().join("net.d"),
            _ => host.into(),
        };
        text(&path)
    }

    /// The report of a check in the container, while one pod sends to the other.
    fn check(&self, capabilities: &[String], mounts: &[(String, String)]) -> Result<Value> {
        let mut lines = String::new();
        for (host, inside) in mounts {
            lines.extend([&self.here(host)?, " ", inside, "\n"]);
        }
        let root = text(&self.kubelet.directory().join("root"))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", CONTAINER, "sh", &root]);
        command.arg(binary()?).arg(&lines);
        command.args(bounded(capabilities)).arg("/tracer");
        command.args(["check", "-o", "json", "--for", "1h", "udp"]);
        let tracer = Tracer::spawn_command(self.network.ns("n1")?, command)?;
        tracer.wait_ready(READY_LIMIT)?;
        let sent = Udp::to(&format!("{DB}:7"))
            .wait(Duration::from_secs(2))
            .send(self.network.ns("web")?)?;
        ensure!(sent.delivered(), "{sent}");
        tracer.interrupt(LIMIT)?.expect_code(0)?.json()
    }
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("no UTF-8")?.to_owned())
}

fn pod(name: Option<&str>, number: u32) -> Value {
    let namespace = name.map(|_| "shop");
    json!({"kind": "pod", "namespace": namespace, "name": name, "id": uid(number)})
}

/// Pods have their names, and the CNI is known.
#[test]
fn mounts_of_the_manifests_are_enough() -> Result<()> {
    let node = Node::raise()?;
    for manifest in [DEBUG, DAEMONSET] {
        let mounts = host_paths(manifest)?;
        let report = node.check(&added(manifest)?, &mounts)?;
        expect::no_loss(&report)?;
        ensure!(report["limits"] == json!([]), "{manifest}: {report}");
        let flow = expect::flow(&report, &json!({"dst": DB, "packets": 3}))?;
        let names = json!({"src": pod(Some("web"), 2), "dst": pod(Some("db"), 4)});
        expect::is(flow, &json!({"names": names})).context(manifest)?;
        let intent = json!({"mode": "native", "cni": {"name": "AWS VPC CNI"}});
        expect::is(&report["intent"], &intent).context(manifest)?;
    }
    Ok(())
}

/// Each mount is there for something: without it that is missing.
#[test]
fn each_mount_is_needed() -> Result<()> {
    let node = Node::raise()?;
    let all = host_paths(DEBUG)?;
    let without = |path: &str| -> Result<Value> {
        let (gone, left): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|(host, _)| host == path);
        ensure!(gone.len() == 1, "{path} is not mounted: {all:?}");
        node.check(&added(DEBUG)?, &left)
    };
    let report = without("/var/log/pods")?;
    let flow = expect::flow(&report, &json!({"dst": DB}))?;
    let names = json!({"src": pod(None, 2), "dst": pod(None, 4)});
    expect::is(flow, &json!({"names": names}))?;
    let report = without("/etc/cni/net.d")?;
    ensure!(report["intent"]["cni"].is_null(), "{}", report["intent"]);
    Ok(())
}
