//! Datapaths beside the stack's own: ipvlan, Open vSwitch. What was not decided here is not said to
//! have been.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use harness::{Netns, Network, Topology, expect};
use serde_json::{Value, json};

use crate::{COUNT, has, traced};

/// A pod with an ipvlan of the node's eth0: it decides by itself.
///
/// ```text
/// pod 10.0.0.50 (ipvlan of eth0) n1 10.0.0.1 == 10.0.0.2 n2
/// ```
#[test]
fn ipvlan() -> Result<()> {
    let network = Topology::new("ipvlan")
        .ns(&["n1", "n2", "pod"])
        .veth(("n1", "eth0"), ("n2", "eth0"))
        .addr("n1", "eth0", &["10.0.0.1/24", "fd00::1/64"])
        .addr("n2", "eth0", &["10.0.0.2/24", "fd00::2/64"])
        .reach("n1", "10.0.0.2")
        .raise()?;
    let (node, pod) = (network.ns("n1")?, network.ns("pod")?);
    let add = "ip link add ipv0 link eth0 type ipvlan mode l2";
    if !has(node, &add.split(' ').collect::<Vec<_>>())? {
        return Ok(());
    }
    node.exec(&["ip", "link", "set", "ipv0", "netns", pod.name()])?;
    let batch =
        "link set ipv0 up\naddr add 10.0.0.50/24 dev ipv0\naddr add fd00::50/64 dev ipv0 nodad\n";
    pod.exec_with_input(&["ip", "-batch", "-"], batch)?;
    let flows = [("10.0.0.50", "10.0.0.2"), ("fd00::50", "fd00::2")];
    let report = traced(&network, ("pod", "n2"), &flows)?;
    for (src, dst) in flows {
        let wanted = json!({"proto": "udp", "src": src, "dst": dst, "dport": 7});
        let flow = expect::flow(&report, &wanted)?;
        expect::hops(flow, u64::from(COUNT), &["out eth0"])?;
        expect::hops(expect::reply(flow)?, u64::from(COUNT), &["in eth0"])?;
        let step = flow["path"].as_array().and_then(|path| path.first());
        let decision = &step.context("no path")?["route"];
        unknown(decision)?;
        let why = decision["why"].as_str().unwrap_or_default();
        ensure!(why.contains("another network namespace"), "{decision}");
    }
    Ok(())
}

/// Nothing is claimed of a decision.
fn unknown(decision: &Value) -> Result<()> {
    expect::is(
        decision,
        &json!({"type": "unknown", "rule": null, "table": null, "gateway": null, "how": "unknown"}),
    )
}

/// Switched from port to port, or sent by the switch's daemon.
fn switched(decision: &Value, from_port: bool) -> Result<()> {
    if !from_port {
        return unknown(decision);
    }
    let bridged = json!({"type": "unknown", "bridged": true, "table": null, "gateway": null});
    expect::is(decision, &bridged)
}

/// From one port of Open vSwitch to another.
///
/// ```text
/// a 10.5.0.1 -- pa n1 [ovs] pb -- b 10.5.0.2
/// ```
#[test]
fn open_vswitch() -> Result<()> {
    let network = Topology::new("ovs")
        .ns(&["n1", "a", "b"])
        .veth(("n1", "pa"), ("a", "eth0"))
        .veth(("n1", "pb"), ("b", "eth0"))
        .addr("a", "eth0", &["10.5.0.1/24", "fd05::1/64"])
        .addr("b", "eth0", &["10.5.0.2/24", "fd05::2/64"])
        .raise()?;
    let Some(switch) = Switch::start(network.ns("n1")?)? else {
        return Ok(());
    };
    switch.control(&["add-br", "sw0"])?;
    for port in ["pa", "pb"] {
        switch.control(&["add-port", "sw0", port])?;
    }
    learned(&network)?;
    let flows = [("10.5.0.1", "10.5.0.2"), ("fd05::1", "fd05::2")];
    let report = traced(&network, ("a", "b"), &flows)?;
    for (src, dst) in flows {
        // a packet that the switch's daemon had to look at is sent by it: another flow of the node
        let wanted = json!({"proto": "udp", "src": src, "dst": dst, "dport": 7});
        let parts = expect::flows(&report, &wanted)?;
        let passed = |hop: &str, back: bool| -> u64 {
            let side =
                |flow: &&Value| expect::packets(if back { &flow["reply"] } else { flow }, hop);
            parts.iter().map(side).sum()
        };
        let counts = [
            passed("in pa", false),
            passed("out pb", false),
            passed("in pb", true),
            passed("out pa", true),
        ];
        ensure!(counts == [u64::from(COUNT); 4], "{counts:?}: {parts:#?}");
        for flow in &parts {
            expect::is(flow, &json!({"drops": []}))?;
            // all of it may have gone through the daemon
            if expect::packets(flow, "out pb") > 0 {
                expect::is(flow, &json!({"outcome": "forwarded", "left_by": "pb"}))?;
            }
            let path = flow["path"].as_array().context("no path")?;
            let decisions = path.iter().filter_map(|step| step.get("route"));
            for decision in decisions {
                switched(decision, flow["scope"]["dev"] == "pa")?;
            }
        }
    }
    Ok(())
}

/// Both sides know each other's address.
fn learned(network: &Network) -> Result<()> {
    let a = network.ns("a")?;
    for address in ["10.5.0.2", "fd05::2"] {
        // the switch forgets what comes before it is set up
        harness::deadline::wait_for("an answer through the switch", crate::END, || {
            Ok(a.exec(&["ping", "-c", "1", "-W", "1", address]).ok())
        })?;
    }
    Ok(())
}

/// Open vSwitch in a namespace, with a directory of its own. Ends when dropped.
struct Switch<'n> {
    node: &'n Netns,
    dir: String,
    processes: Vec<std::process::Child>,
}

impl<'n> Switch<'n> {
    fn start(node: &'n Netns) -> Result<Option<Self>> {
        let dir = std::env::temp_dir().join(format!("tracer-ovs-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let mut switch = Self {
            node,
            dir: dir.display().to_string(),
            processes: Vec::new(),
        };
        let (db, schema) = (
            switch.file("conf.db"),
            "/usr/share/openvswitch/vswitch.ovsschema",
        );
        if !has(node, &["ovs-vswitchd", "--version"])?
            || !has(node, &["modprobe", "openvswitch"])?
            || !has(node, &["ovsdb-tool", "create", &db, schema])?
        {
            return Ok(None);
        }
        let socket = format!("unix:{}", switch.file("db.sock"));
        switch.spawn("ovsdb-server", &[&db, &format!("--remote=p{socket}")])?;
        harness::deadline::wait_for("the switch's database", crate::END, || {
            Ok(switch.control(&["--no-wait", "init"]).ok())
        })?;
        switch.spawn("ovs-vswitchd", &[&socket])?;
        Ok(Some(switch))
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    fn spawn(&mut self, program: &str, args: &[&str]) -> Result<()> {
        let mut command = Command::new(program);
        let control = format!("--unixctl={}", self.file(&format!("{program}.ctl")));
        let log = std::fs::File::create(self.file(&format!("{program}.log")))?;
        command.args(args).arg(control).stderr(log);
        command.env("OVS_RUNDIR", &self.dir);
        self.processes.push(self.node.spawn(&mut command)?);
        Ok(())
    }

    /// `ovs-vsctl`, which waits until the switch has done it.
    fn control(&self, words: &[&str]) -> Result<String> {
        let db = format!("--db=unix:{}", self.file("db.sock"));
        let argv: Vec<&str> = ["ovs-vsctl", "--timeout=60", &db]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        self.node.exec(&argv)
    }
}

impl Drop for Switch<'_> {
    fn drop(&mut self) {
        // the datapath would outlive its daemon
        drop(self.control(&["--if-exists", "del-br", "sw0"]));
        for process in self.processes.iter_mut().rev() {
            drop(process.kill());
            drop(process.wait());
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
