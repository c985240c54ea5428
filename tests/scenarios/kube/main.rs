//! Names from an API server (`--kube`): real packets of pods of this node to what only the server
//! knows. For a tracer that is built with the feature `kube`.

mod server;

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
use server::{ADDRESS, Server, TOKEN, certificate, object};

const LIMIT: Duration = Duration::from_mins(1);
/// The pod of this node.
const WEB: &str = "10.244.1.10";
/// A pod of another node, and the service in front of it.
const DB: &str = "10.244.2.20";
const SERVICE: &str = "10.96.0.10";
/// A pod of another node that nobody knows at first.
const LATE: &str = "10.244.2.30";
const NODE: &str = "10.0.0.2";

/// kube-proxy's rule of the service.
const RULES: &str = "table ip kube {\n chain pre {\n  type nat hook prerouting priority -100\n  \
                     ip daddr 10.96.0.10 udp dport 7 dnat to 10.244.2.20:7\n }\n}\n";

struct Cluster {
    network: Network,
    kubelet: Kubelet,
    _echoes: Vec<Echo>,
}

impl Cluster {
    /// `shop/web-0` has a process, and no log directory.
    fn raise() -> Result<Self> {
        let network = Topology::new("kube")
            .ns(&["n1", "n2"])
            .forwarding(&["n1"])
            .veth(("n1", "eth0"), ("n2", "eth0"))
            .addr("n1", "eth0", &["10.0.0.1/24"])
            .addr(
                "n2",
                "eth0",
                &["10.0.0.2/24", "10.244.2.20/32", "10.244.2.30/32"],
            )
            .route("n1", "default via 10.0.0.2")
            .route("n2", "10.244.1.0/24 via 10.0.0.1")
            .pod("n1", "web", WEB, None)
            .raise()?;
        let mut kubelet = Kubelet::new(Hierarchy::Unified)?;
        kubelet.start(network.ns("web")?, Driver::Systemd, 2)?;
        network
            .ns("n1")?
            .exec_with_input(&["nft", "-f", "-"], RULES)?;
        let mut echoes = Vec::new();
        for address in [DB, LATE, NODE] {
            echoes.extend(Echo::both(network.ns("n2")?, address.parse()?)?);
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "lab", "cluster": {"server": format!("http://{ADDRESS}")}}],
            "users": [{"name": "sre", "user": {"token": TOKEN}}],
            "contexts": [{"name": "here", "context": {"cluster": "lab", "user": "sre"}}],
        });
        fs::write(kubelet.directory().join("config"), config.to_string())?;
        Ok(Self {
            network,
            kubelet,
            _echoes: echoes,
        })
    }

    fn server(&self, forbidden: &[&'static str]) -> Result<Server> {
        Server::start(self.network.ns("n2")?, forbidden, None)
    }

    /// Starts `tracer ARGS… --kube` on the node and waits until it traces.
    fn start(&self, args: &[&str]) -> Result<Tracer> {
        let mut command = Command::new(binary()?);
        let logs = text(&self.kubelet.pod_logs())?;
        // what is told of names is in the log of `-v`
        command
            .args(args)
            .args(["-v", "--kube", "--pod-logs", &logs]);
        command.env("KUBECONFIG", self.kubelet.directory().join("config"));
        let tracer = Tracer::spawn_command(self.network.ns("n1")?, command)?;
        tracer.wait_ready(READY_LIMIT)?;
        Ok(tracer)
    }

    fn send(&self, to: &str) -> Result<()> {
        let sent = Udp::to(&format!("{to}:7"))
            .wait(Duration::from_secs(2))
            .send(self.network.ns("web")?)?;
        ensure!(sent.delivered(), "{sent}");
        Ok(())
    }
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("no UTF-8")?.to_owned())
}

/// Names are there: so many addresses are known.
fn wait_names(tracer: &Tracer, addresses: usize) -> Result<()> {
    let wanted = format!("the API server names {addresses} addresses");
    let limit = Duration::from_secs(30);
    tracer
        .stderr_line(&wanted, limit, |line| line.contains(&wanted))
        .map(drop)
}

fn pod(name: &str, id: &str) -> Value {
    json!({"kind": "pod", "namespace": "shop", "name": name, "id": id})
}

fn db() -> Value {
    pod("db-0", "5b0e9a3c-7c6c-4f0e-9f8a-2f2f5a0c1d10")
}

/// Addresses that belong to one owner: two of each pod on the pod network, three of one service and
/// one of the other, one of each node.
const KNOWN: usize = 10;

#[test]
fn pods_services_and_nodes_elsewhere_have_names() -> Result<()> {
    let cluster = Cluster::raise()?;
    let server = cluster.server(&[])?;
    let tracer = cluster.start(&["check", "-o", "json", "--for", "1h", "udp port 7"])?;
    wait_names(&tracer, KNOWN)?;
    for to in [DB, SERVICE, NODE] {
        cluster.send(to)?;
    }
    let report = tracer.interrupt(LIMIT)?.expect_code(0)?.json()?;
    server.was_asked_properly()?;
    expect::no_loss(&report)?;
    let names = |dst: &str, sport_of: Value| -> Result<()> {
        let flow = expect::flow(&report, &json!({"dst": dst, "packets": 3}))?;
        expect::is(&flow["names"], &sport_of).context(dst.to_owned())
    };
    // the log directory does not name it: the server does
    let web = pod("web-0", &uid(2));
    names(DB, json!({"src": web, "dst": db()}))?;
    let service = json!({"kind": "service", "namespace": "shop", "name": "db", "id": null});
    names(
        SERVICE,
        json!({"src": web, "dst": service, "nat_dst": db()}),
    )?;
    let node = json!({"kind": "node", "namespace": null, "name": "n2", "id": null});
    names(NODE, json!({"src": web, "dst": node}))
}

#[test]
fn filters_take_pods_of_other_nodes() -> Result<()> {
    let cluster = Cluster::raise()?;
    let _server = cluster.server(&[])?;
    let args = ["check", "-o", "json", "--for", "1h", "pod shop/db-0"];
    let tracer = cluster.start(&args)?;
    wait_names(&tracer, KNOWN)?;
    cluster.send(DB)?;
    cluster.send(NODE)?;
    let report = tracer.interrupt(LIMIT)?.expect_code(0)?.json()?;
    let flows = report["flows"].as_array().context("no flows")?;
    ensure!(flows.len() == 1, "{report}");
    expect::is(&flows[0], &json!({"dst": DB, "packets": 3}))
}

/// A pod that starts, and one that ends.
#[test]
fn changes_are_followed() -> Result<()> {
    let cluster = Cluster::raise()?;
    let server = cluster.server(&[])?;
    let tracer = cluster.start(&["check", "--for", "1h", "udp port 7"])?;
    wait_names(&tracer, KNOWN)?;
    server.wait_watched("pods")?;
    let mut late = object("pods", "db-0")?;
    late["metadata"]["name"] = "late-0".into();
    late["metadata"]["uid"] = "9a0e9a3c-7c6c-4f0e-9f8a-2f2f5a0c1d99".into();
    late["metadata"]["resourceVersion"] = "901".into();
    late["status"]["podIP"] = LATE.into();
    late["status"]["podIPs"] = json!([{"ip": LATE}]);
    server.send("pods", "ADDED", &late)?;
    wait_names(&tracer, KNOWN + 1)?;
    let mut gone = object("pods", "db-0")?;
    gone["metadata"]["resourceVersion"] = "902".into();
    server.send("pods", "DELETED", &gone)?;
    wait_names(&tracer, KNOWN - 1)?;
    cluster.send(LATE)?;
    cluster.send(DB)?;
    let report = tracer.interrupt(LIMIT)?.expect_code(0)?.stdout;
    ensure!(report.contains("(shop/web-0 > shop/late-0)"), "{report}");
    ensure!(report.contains("(shop/web-0 > -)"), "{report}");
    Ok(())
}

/// What may not be asked for is said once, and what may be asked for has names.
#[test]
fn a_refusal_is_said() -> Result<()> {
    let cluster = Cluster::raise()?;
    let server = cluster.server(&["services"])?;
    let tracer = cluster.start(&["check", "-o", "json", "--for", "1h", "udp port 7"])?;
    // without the services' four
    wait_names(&tracer, KNOWN - 4)?;
    let refused = |line: &str| line.contains("services") && line.contains("forbidden");
    tracer.stderr_line("the refusal", Duration::from_secs(30), refused)?;
    cluster.send(DB)?;
    let ended = tracer.interrupt(LIMIT)?.expect_code(0)?;
    server.was_asked_properly()?;
    let said = ended.stderr.lines().filter(|l| refused(l)).count();
    ensure!(said == 1, "{}", ended.stderr);
    let report = ended.json()?;
    let flow = expect::flow(&report, &json!({"dst": DB}))?;
    expect::is(&flow["names"], &json!({"dst": db()}))
}

/// Nobody answers: what is traced is what is traced without.
#[test]
fn without_an_answer_there_are_no_names() -> Result<()> {
    let cluster = Cluster::raise()?;
    let tracer = cluster.start(&["check", "-o", "json", "--for", "1h", "udp port 7"])?;
    let refused = |line: &str| line.contains("no names from the API server");
    tracer.stderr_line("why", Duration::from_secs(30), refused)?;
    cluster.send(DB)?;
    let ended = tracer.interrupt(LIMIT)?.expect_code(0)?;
    let foreign = ended.stderr.lines().find(|l| l.contains("ERROR"));
    ensure!(foreign.is_none(), "{}", ended.stderr);
    let report = ended.json()?;
    let flow = expect::flow(&report, &json!({"dst": DB, "packets": 3}))?;
    expect::is(&flow["names"], &json!({"dst": null}))
}

/// As in a pod with an account: a token and the authority of the server in files, the address in the
/// environment, and the connection encrypted.
#[test]
fn the_account_of_a_pod_is_enough() -> Result<()> {
    const IN_POD: &str = r#"
        files=$1
        shift
        # the names of namespaces stay
        mkdir "$files/netns"
        mount --rbind /run/netns "$files/netns"
        mount -t tmpfs tmpfs /run
        mkdir /run/netns
        mount --rbind "$files/netns" /run/netns
        at=/run/secrets/kubernetes.io/serviceaccount
        mkdir -p "$at"
        cp "$files/ca.crt" "$at/ca.crt"
        printf %s "$TOKEN" >"$at/token"
        printf %s tracer >"$at/namespace"
        exec "$@""#;
    let cluster = Cluster::raise()?;
    let dir = cluster.kubelet.directory();
    let (_, tls) = certificate(dir)?;
    let n2 = cluster.network.ns("n2")?;
    let server = Server::start(n2, &[], Some(tls))?;
    let mut command = Command::new("sh");
    command.args(["-c", IN_POD, "sh"]).arg(dir).arg(binary()?);
    command.args([
        "check",
        "-v",
        "-o",
        "json",
        "--for",
        "1h",
        "--kube",
        "udp port 7",
    ]);
    command.env_remove("KUBECONFIG").env("HOME", "/nowhere");
    command.env("TOKEN", TOKEN);
    let (host, port) = ADDRESS.split_once(':').context("no port")?;
    command.env("KUBERNETES_SERVICE_HOST", host);
    command.env("KUBERNETES_SERVICE_PORT", port);
    let tracer = Tracer::spawn_command(cluster.network.ns("n1")?, command)?;
    tracer.wait_ready(READY_LIMIT)?;
    wait_names(&tracer, KNOWN)?;
    cluster.send(DB)?;
    let report = tracer.interrupt(LIMIT)?.expect_code(0)?.json()?;
    server.was_asked_properly()?;
    let flow = expect::flow(&report, &json!({"dst": DB}))?;
    expect::is(&flow["names"], &json!({"dst": db()}))
}
