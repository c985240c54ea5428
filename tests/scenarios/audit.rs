//! `tracer audit` as a user runs it: without root, in other namespaces, with what is known of the
//! cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer, tracer::binary};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);
/// `nobody`.
const NOBODY: u32 = 65534;

/// A directory that goes when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("tracer-audit-{test}-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().context("no directory")?)?;
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn audit(lab: &Lab, args: &[&str]) -> Result<Value> {
    let args: Vec<&str> = ["audit", "-o", "json"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let ended = Tracer::run(lab.node(), &args, LIMIT)?;
    let (report, code) = (ended.json()?, ended.code()?);
    ensure!(report["exit_code"] == code, "{code}: {report:#}");
    Ok(report)
}

fn ids(report: &Value) -> Vec<&str> {
    let all = report["findings"].as_array().into_iter().flatten();
    all.filter_map(|f| f["id"].as_str()).collect()
}

fn shown(path: &Path) -> Result<&str> {
    path.to_str().context("no UTF-8")
}

/// A copy that everybody may run: the build directory may be closed to others.
fn public_copy(dir: &Dir) -> Result<PathBuf> {
    let copy = dir.0.join("tracer");
    fs::copy(binary()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn as_nobody(lab: &Lab, copy: &Path, args: &[&str]) -> Result<(i32, Value)> {
    let mut command = Command::new(copy);
    command.arg("audit").args(["-o", "json"]).args(args);
    command.uid(NOBODY).gid(NOBODY);
    let ended = Tracer::spawn_command(lab.node(), command)?.wait(LIMIT)?;
    Ok((ended.code()?, ended.json()?))
}

#[test]
fn without_root_it_says_the_same_about_the_node() -> Result<()> {
    let dir = Dir::new("nobody")?;
    let copy = public_copy(&dir)?;
    let lab = Lab::raise("config", Some("twodefaults"))?;
    let by_root = audit(&lab, &["--netns", "self"])?;
    let (code, by_nobody) = as_nobody(&lab, &copy, &["--netns", "self"])?;
    ensure!(code == 3, "{by_nobody:#}");
    ensure!(
        by_root["findings"] == by_nobody["findings"],
        "{by_nobody:#}"
    );
    ensure!(
        ids(&by_nobody) == ["duplicate-default", "duplicate-default", "rp-filter"],
        "{by_nobody:#}"
    );
    // what it cannot see forbids a pass, and is said
    let lab = Lab::raise("config", Some("ok"))?;
    let (code, pods) = as_nobody(&lab, &copy, &[])?;
    ensure!(code == 4 && pods["verdict"] == "inconclusive", "{pods:#}");
    let limits = pods["limits"].to_string();
    ensure!(
        limits.contains("CAP_SYS"),
        "what is missing is not named: {limits}"
    );
    let (code, node) = as_nobody(&lab, &copy, &["--netns", "self"])?;
    ensure!(code == 0 && node["verdict"] == "pass", "{node:#}");
    Ok(())
}

#[test]
fn another_namespace_can_be_named() -> Result<()> {
    let lab = Lab::raise("config", Some("norule"))?;
    let name = lab.node().name().to_owned();
    let args = ["audit", "-o", "json", "--netns", &name];
    let report = Tracer::run(lab.ns("fab")?, &args, LIMIT)?
        .expect_code(3)?
        .json()?;
    ensure!(report["node"] == name, "{report:#}");
    ensure!(
        ids(&report) == ["wrong-egress", "wrong-egress"],
        "{report:#}"
    );
    let args = ["audit", "--netns", "no-such-namespace"];
    let ended = Tracer::run(lab.node(), &args, LIMIT)?.expect_code(1)?;
    ensure!(
        ended.stderr.contains("no network namespace"),
        "{}",
        ended.stderr
    );
    Ok(())
}

#[test]
fn people_read_what_is_wrong_and_what_to_type() -> Result<()> {
    let lab = Lab::raise("config", Some("norule"))?;
    let text = Tracer::run(lab.node(), &["audit"], LIMIT)?
        .expect_code(3)?
        .stdout;
    for part in [
        "FAIL: wrong-egress: Packets from 10.1.0.1",
        "meant: nothing is known",
        "warning [wrong-egress]",
        "next: ip rule show; ip rule add from 10.1.0.1 lookup 6",
        "ip -6 rule add from fd01::1 lookup 6",
    ] {
        ensure!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    // the command that it gives is right
    for rule in ["from 10.1.0.1 lookup 6", "from fd01::1 lookup 6"] {
        let family = if rule.contains(':') { "-6" } else { "-4" };
        let words: Vec<&str> = ["ip", family, "rule", "add"]
            .into_iter()
            .chain(rule.split(' '))
            .collect();
        lab.node().exec(&words)?;
    }
    let healthy = Tracer::run(lab.node(), &["audit"], LIMIT)?
        .expect_code(0)?
        .stdout;
    ensure!(healthy.starts_with("PASS: "), "{healthy}");
    Ok(())
}

#[test]
fn a_cluster_file_names_the_missing_route() -> Result<()> {
    let dir = Dir::new("cluster")?;
    let lab = Lab::raise("config", Some("gap"))?;
    let node = |n| {
        format!(
            "[[nodes]]\nname = \"n{n}\"\naddresses = [\"10.0.0.{n}\", \"fd00::{n}\"]\n\
             pod_cidrs = [\"10.244.{n}.0/24\", \"fd44:{n}::/64\"]\n"
        )
    };
    let text = [1, 2, 3].map(node).concat();
    let file = dir.write("cluster.toml", &text)?;
    let report = audit(&lab, &["--cluster", shown(&file)?])?;
    ensure!(ids(&report) == ["no-route"], "{report:#}");
    let next = report.pointer("/findings/0/next").and_then(Value::as_str);
    let next = next.context("no next step")?;
    let command = "ip -6 route add fd44:3::/64 via fd00::3 dev eth0";
    ensure!(next.starts_with(command), "{next}");
    lab.node().exec(&command.split(' ').collect::<Vec<_>>())?;
    let repaired = audit(&lab, &["--cluster", shown(&file)?])?;
    ensure!(repaired["verdict"] == "pass", "{repaired:#}");
    let broken = dir.write("broken.toml", "mode = \"vxlan\"\n")?;
    let args = ["audit", "--cluster", shown(&broken)?];
    let ended = Tracer::run(lab.node(), &args, LIMIT)?.expect_code(1)?;
    ensure!(ended.stderr.contains("native"), "{}", ended.stderr);
    Tracer::run(lab.node(), &["audit", "--pod-cidr", "10.0.0.0/40"], LIMIT)?.expect_code(2)?;
    Ok(())
}

#[test]
fn the_fdb_command_is_whole_where_the_nodes_are_listed() -> Result<()> {
    let dir = Dir::new("fdb")?;
    let lab = Lab::raise("config", Some("nofdb"))?;
    let text = "[[nodes]]\nname = \"n2\"\naddresses = [\"10.0.0.2\"]\n\
                pod_cidrs = [\"10.244.2.0/24\", \"fd44:2::/64\"]\n";
    let file = dir.write("cluster.toml", text)?;
    let report = audit(&lab, &["--cluster", shown(&file)?])?;
    ensure!(ids(&report) == ["fdb-missing"], "{report:#}");
    let command = "bridge fdb append 02:77:00:00:00:02 dev vxlan9 dst 10.0.0.2";
    ensure!(
        report["findings"][0]["next"].to_string().contains(command),
        "{report:#}"
    );
    lab.node().exec(&command.split(' ').collect::<Vec<_>>())?;
    let repaired = audit(&lab, &["--cluster", shown(&file)?])?;
    ensure!(repaired["verdict"] == "pass", "{repaired:#}");
    Ok(())
}

#[test]
fn the_cnis_own_configuration_is_an_intent_and_devices_are_a_guess() -> Result<()> {
    let dir = Dir::new("cni")?;
    let lab = Lab::raise("config", Some("tunnelled"))?;
    let file = dir.write("cluster.toml", "root = \"host\"\n")?;
    let map = "host/var/lib/kubelet/pods/6f2e/volumes/kubernetes.io~configmap/cilium-config-path";
    dir.write(&format!("{map}/routing-mode"), "native")?;
    let report = audit(&lab, &["--cluster", shown(&file)?])?;
    ensure!(ids(&report) == ["tunnel-in-native-mode"], "{report:#}");
    let intent = &report["intent"];
    ensure!(
        intent["mode"] == "native" && intent["source"] == "CNI's configuration",
        "{intent}"
    );
    ensure!(
        intent["cni"]["name"] == "Cilium" && intent["cni"]["guess"] == false,
        "{intent}"
    );
    // what is given on the command line is stronger
    let report = audit(&lab, &["--cluster", shown(&file)?, "--mode", "tunnel"])?;
    ensure!(
        report["verdict"] == "pass" && report["intent"]["source"] == "flag",
        "{report:#}"
    );
    // a name of a device is no statement
    lab.node().exec(&[
        "ip",
        "link",
        "add",
        "cilium_host",
        "type",
        "veth",
        "peer",
        "name",
        "cilium_net",
    ])?;
    let report = audit(&lab, &[])?;
    let intent = &report["intent"];
    ensure!(
        intent["mode"] == "unknown" && intent["cni"]["guess"] == true,
        "{intent}"
    );
    Ok(())
}
