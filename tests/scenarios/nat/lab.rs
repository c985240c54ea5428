//! A node with two pods, a second node behind it, and a network beyond that.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::traffic::Echo;
use harness::truth::Truth;
use harness::{Network, Topology, Tracer, expect};
use serde_json::{Value, json};

/// One of the two address families, and what things are called in it.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// As nftables calls it.
    pub(crate) table: &'static str,
    pub(crate) client: &'static str,
    pub(crate) other: &'static str,
    pub(crate) server: &'static str,
    pub(crate) service: &'static str,
    pub(crate) node: &'static str,
    pub(crate) outside: &'static str,
}

pub(crate) const FAMILIES: [Family; 2] = [
    Family {
        name: "ipv4",
        table: "ip",
        client: "10.244.1.10",
        other: "10.244.1.11",
        server: "10.244.2.20",
        service: "10.96.0.10",
        node: "10.0.0.1",
        outside: "198.51.100.9",
    },
    Family {
        name: "ipv6",
        table: "ip6",
        client: "fd44:1::10",
        other: "fd44:1::11",
        server: "fd44:2::20",
        service: "fd96::10",
        node: "fd00::1",
        outside: "fd99::9",
    },
];

/// `ADDRESS:PORT`.
pub(crate) fn end(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// The same for a socket.
pub(crate) fn socket(address: &str, port: u16) -> Result<SocketAddr> {
    Ok(end(address, port).parse()?)
}

impl Family {
    /// What kube-proxy sets up: a service in front of a pod on another node, one in front of the
    /// client itself, and masquerade for what leaves the cluster or comes back to its sender.
    pub(crate) fn rules(&self) -> String {
        let Self {
            table,
            client,
            service,
            outside,
            ..
        } = self;
        let dnat = format!(
            "  {table} daddr {service} udp dport 80 counter dnat to {far_udp}\n\
             \x20 {table} daddr {service} tcp dport 80 counter dnat to {far_tcp}\n\
             \x20 {table} daddr {service} udp dport 82 counter dnat to {own}\n",
            far_udp = end(self.server, 8080),
            far_tcp = end(self.server, 8081),
            own = end(client, 8080),
        );
        format!(
            "table {table} kube {{\n chain pre {{\n  type nat hook prerouting priority -100\n{dnat} }}\n \
             chain out {{\n  type nat hook output priority -100\n{dnat} }}\n \
             chain post {{\n  type nat hook postrouting priority 100\n  {table} daddr {outside} counter \
             masquerade\n  {table} saddr {client} {table} daddr {client} counter masquerade\n }}\n}}\n"
        )
    }
}

/// ```text
/// p1, p3 -- n1 eth0 -- eth0 n2 -- p2
///                           outside: on n2 itself
/// ```
pub(crate) fn cluster(name: &str) -> Topology {
    Topology::new(name)
        .ns(&["n1", "n2"])
        .forwarding(&["n1", "n2"])
        .veth(("n1", "eth0"), ("n2", "eth0"))
        .addr("n1", "eth0", &["10.0.0.1/24", "fd00::1/64"])
        .addr("n2", "eth0", &["10.0.0.2/24", "fd00::2/64"])
        .addr("n2", "lo", &["198.51.100.9/32", "fd99::9/128"])
        .pod("n1", "p1", "10.244.1.10", Some("fd44:1::10"))
        .pod("n1", "p3", "10.244.1.11", Some("fd44:1::11"))
        .pod("n2", "p2", "10.244.2.20", Some("fd44:2::20"))
        .route("n1", "10.244.2.0/24 via 10.0.0.2")
        .route("n1", "fd44:2::/64 via fd00::2")
        .route("n1", "198.51.100.0/24 via 10.0.0.2")
        .route("n1", "fd99::/64 via fd00::2")
        // what the node itself sends to a service is routed before it is translated
        .route("n1", "10.96.0.0/16 via 10.0.0.2")
        .route("n1", "fd96::/64 via fd00::2")
        .route("n2", "10.244.1.0/24 via 10.0.0.1")
        .route("n2", "fd44:1::/64 via fd00::1")
        .reach("p1", "10.244.2.20")
        .reach("p1", "fd44:2::20")
        .reach("p3", "10.244.2.20")
        .reach("p3", "fd44:2::20")
}

/// Echo servers wherever a test asks, in both families.
pub(crate) fn servers(network: &Network) -> Result<Vec<Echo>> {
    let mut echoes = Vec::new();
    for f in &FAMILIES {
        echoes.push(Echo::udp(network.ns("p2")?, socket(f.server, 8080)?)?);
        echoes.push(Echo::tcp(network.ns("p2")?, socket(f.server, 8081)?)?);
        echoes.push(Echo::udp(network.ns("p1")?, socket(f.client, 8080)?)?);
        echoes.push(Echo::udp(network.ns("n2")?, socket(f.outside, 53)?)?);
    }
    Ok(echoes)
}

/// tracer on the node, and counters on the far ends of its devices.
pub(crate) struct Watch {
    tracer: Tracer,
    pub(crate) truth: Truth,
}

impl Watch {
    pub(crate) fn start(network: &Network, filter: &[&str]) -> Result<Self> {
        let truth = Truth::of_veths(network, "n1")?;
        let args: Vec<&str> = ["check", "-o", "json", "--for", "1h"]
            .into_iter()
            .chain(filter.iter().copied())
            .collect();
        let tracer = Tracer::start(network.ns("n1")?, &args)?;
        Ok(Self { tracer, truth })
    }

    pub(crate) fn end(self) -> Result<(Value, Truth)> {
        let ended = self.tracer.interrupt(Duration::from_secs(20))?;
        let report = ended.json()?;
        expect::no_loss(&report)?;
        Ok((report, self.truth))
    }
}

/// A flow as the client sent it.
pub(crate) fn asked(proto: &str, src: &str, sport: u16, dst: &str, dport: u16) -> Value {
    json!({"proto": proto, "src": src, "sport": sport, "dst": dst, "dport": dport})
}

/// The same addresses on the other side.
pub(crate) fn nat(src: &str, sport: u16, dst: &str, dport: u16) -> Value {
    json!({"src": src, "sport": sport, "dst": dst, "dport": dport})
}

/// What left by `dev` with these addresses, by the counters on its far end.
pub(crate) fn left(truth: &Truth, dev: &str, wire: &Value) -> Result<u64> {
    let by_dev = truth.of(wire)?;
    ensure!(
        by_dev.iter().all(|(d, _)| d == dev),
        "{wire} left by {by_dev:?}, wanted {dev} only"
    );
    Ok(by_dev.iter().map(|(_, n)| n).sum())
}

/// The only flow that has anything to do with an address and port: nothing else was made of the
/// halves.
pub(crate) fn only<'r>(report: &'r Value, port: u16, wanted: &Value) -> Result<&'r Value> {
    let flows = report["flows"].as_array().map_or(&[][..], Vec::as_slice);
    let of_port: Vec<&Value> = flows
        .iter()
        .filter(|f| f["sport"] == port || f["dport"] == port)
        .collect();
    ensure!(
        of_port.len() == 1,
        "{} flows with port {port}: {of_port:?}",
        of_port.len()
    );
    expect::is(of_port[0], wanted)?;
    Ok(of_port[0])
}
