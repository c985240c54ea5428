//! Services, masquerade, and a pod that reaches itself.

use anyhow::{Result, ensure};
use harness::traffic::{Ping, Tcp, Udp};
use harness::truth::Truth;
use harness::{Network, deadline, expect};
use serde_json::{Value, json};

use crate::lab::{FAMILIES, Family, Watch, asked, cluster, end, left, nat, only, servers};

/// Packets of each UDP conversation.
const SENT: u32 = 5;

/// What one conversation must look like.
struct Conversation<'f> {
    flow: Value,
    nat: Value,
    /// Where it comes in, and where it leaves.
    devs: (&'f str, &'f str),
    /// Source port of the client.
    port: u16,
    packets: u64,
}

/// Both directions at their two devices, against the counters on the wire there.
fn verify(report: &Value, truth: &Truth, c: &Conversation<'_>) -> Result<()> {
    let flow = only(report, c.port, &c.flow)?;
    expect::is(
        flow,
        &json!({"nat": c.nat, "packets": c.packets, "outcome": "forwarded", "drops": [],
            "scope": {"dev": c.devs.0}, "left_by": c.devs.1,
            "reply": {"packets": c.packets, "outcome": "forwarded", "drops": [], "left_by": c.devs.0}}),
    )?;
    let (came, went) = (format!("in {}", c.devs.0), format!("out {}", c.devs.1));
    expect::hops(flow, c.packets, &[&came, &went])?;
    let reply = expect::reply(flow)?;
    let (came, went) = (format!("in {}", c.devs.1), format!("out {}", c.devs.0));
    expect::hops(reply, c.packets, &[&came, &went])?;
    // the decision is that for the address behind the service, and it was looked up
    expect::path(
        flow,
        &[
            expect::hop_with(c.devs.0, "in", json!({"nat": null})),
            expect::route(
                &json!({"dev": c.devs.1, "type": "unicast", "table": 254, "errno": 0, "how": "lookup"}),
            ),
            expect::hop_with(c.devs.1, "out", json!({"nat": c.nat})),
        ],
    )?;
    let back = json!({"src": c.nat["dst"], "sport": c.nat["dport"], "dst": c.nat["src"], "dport": c.nat["sport"]});
    expect::path(
        reply,
        &[
            expect::hop_with(c.devs.1, "in", json!({"nat": back})),
            expect::route(
                &json!({"dev": c.devs.0, "type": "unicast", "errno": 0, "how": "lookup"}),
            ),
            expect::hop_with(c.devs.0, "out", json!({"nat": null})),
        ],
    )?;
    let mut wire = c.nat.clone();
    wire["proto"] = c.flow["proto"].clone();
    let count = left(truth, c.devs.1, &wire)?;
    ensure!(
        count == c.packets,
        "{count} packets {wire} on the wire, {} in the report",
        c.packets
    );
    let wire = json!({"proto": c.flow["proto"], "src": c.flow["dst"], "sport": c.flow["dport"],
        "dst": c.flow["src"], "dport": c.flow["sport"]});
    let count = left(truth, c.devs.0, &wire)?;
    ensure!(
        count == c.packets,
        "{count} answers {wire} on the wire, {} in the report",
        c.packets
    );
    Ok(())
}

/// UDP from a pod to a service, to itself through one, and to the outside; returns what must be seen.
fn udp<'f>(network: &Network, f: &'f Family) -> Result<Vec<Conversation<'f>>> {
    let client = network.ns("p1")?;
    let packets = u64::from(SENT);
    let mut all = Vec::new();
    for (to, dport, port, far, devs) in [
        (
            f.service,
            80,
            40_001,
            nat(f.client, 40_001, f.server, 8080),
            ("lxc-p1", "eth0"),
        ),
        (
            f.service,
            82,
            40_002,
            nat(f.node, 40_002, f.client, 8080),
            ("lxc-p1", "lxc-p1"),
        ),
        (
            f.outside,
            53,
            40_003,
            nat(f.node, 40_003, f.outside, 53),
            ("lxc-p1", "eth0"),
        ),
    ] {
        // the port tells the flows of both families apart
        let port = if f.table == "ip6" { port + 1000 } else { port };
        let mut far = far;
        far["sport"] = port.into();
        let sent = Udp::to(&end(to, dport))
            .sport(port)
            .count(SENT)
            .send(client)?;
        ensure!(
            sent.received == packets,
            "{} {to}:{dport}: {sent:?}",
            f.name
        );
        all.push(Conversation {
            flow: asked("udp", f.client, port, to, dport),
            nat: far,
            devs,
            port,
            packets,
        });
    }
    Ok(all)
}

/// A TCP connection to the service: packets differ from run to run, the counters say how many.
fn tcp(network: &Network, f: &Family, port: u16) -> Result<Value> {
    let sent = Tcp::to(&end(f.service, 80))
        .sport(port)
        .bytes(20_000)
        .send(network.ns("p1")?)?;
    ensure!(sent.delivered(), "{}: {sent}", f.name);
    Ok(asked("tcp", f.client, port, f.service, 80))
}

fn verify_tcp(report: &Value, truth: &Truth, f: &Family, port: u16, wanted: &Value) -> Result<()> {
    let flow = only(report, port, wanted)?;
    let far = nat(f.client, port, f.server, 8081);
    // an emulated CPU is slower than TCP's timers
    let retransmits = deadline::amount(json!(0), flow["retransmits"].clone());
    expect::is(
        flow,
        &json!({"nat": far, "outcome": "forwarded", "drops": [], "retransmits": retransmits, "resets": 0}),
    )?;
    let mut wire = far;
    wire["proto"] = "tcp".into();
    // buffers: what was handed over whole counts once there, and by its segments here
    let count = left(truth, "eth0", &wire)?;
    let (came, went) = (
        expect::packets(flow, "in lxc-p1"),
        expect::packets(flow, "out eth0"),
    );
    ensure!(
        came == went && came >= count && count > 0,
        "{came} came, {went} went, {count} buffers"
    );
    let reply = expect::reply(flow)?;
    let (came, went) = (
        expect::packets(reply, "in eth0"),
        expect::packets(reply, "out lxc-p1"),
    );
    ensure!(came == went && came > 0, "{came} answers came, {went} went");
    Ok(())
}

fn run(network: &Network) -> Result<()> {
    let _servers = servers(network)?;
    let watch = Watch::start(network, &[])?;
    let mut all = Vec::new();
    let mut connections = Vec::new();
    for (f, port) in FAMILIES.iter().zip([42_000, 43_000]) {
        all.extend(udp(network, f)?);
        connections.push((f, port, tcp(network, f, port)?));
    }
    let (report, truth) = watch.end()?;
    for conversation in &all {
        verify(&report, &truth, conversation)?;
    }
    for (f, port, wanted) in &connections {
        verify_tcp(&report, &truth, f, *port, wanted)?;
    }
    expect::no_findings(&report)
}

#[test]
fn services_and_masquerade_by_nftables() -> Result<()> {
    let topology = FAMILIES
        .iter()
        .fold(cluster("nat-nft"), |t, f| t.nft("n1", &f.rules()));
    run(&topology.raise()?)
}

#[test]
fn services_and_masquerade_by_iptables() -> Result<()> {
    let network = cluster("nat-ipt").raise()?;
    let node = network.ns("n1")?;
    for f in &FAMILIES {
        let tool = if f.table == "ip6" {
            "ip6tables-nft"
        } else {
            "iptables-nft"
        };
        let rule = |rest: &str| {
            let argv: Vec<&str> = [tool, "-t", "nat", "-A"]
                .into_iter()
                .chain(rest.split(' '))
                .collect();
            node.exec(&argv).map(drop)
        };
        for (proto, port, to) in [
            ("udp", 80, end(f.server, 8080)),
            ("tcp", 80, end(f.server, 8081)),
            ("udp", 82, end(f.client, 8080)),
        ] {
            let service = f.service;
            rule(&format!(
                "PREROUTING -d {service} -p {proto} --dport {port} -j DNAT --to-destination {to}"
            ))?;
        }
        rule(&format!("POSTROUTING -d {} -j MASQUERADE", f.outside))?;
        rule(&format!(
            "POSTROUTING -s {0} -d {0} -j MASQUERADE",
            f.client
        ))?;
    }
    run(&network)
}

#[test]
fn the_node_itself_and_echo_requests() -> Result<()> {
    let topology = FAMILIES
        .iter()
        .fold(cluster("nat-own"), |t, f| t.nft("n1", &f.rules()));
    let network = topology.raise()?;
    let _servers = servers(&network)?;
    let watch = Watch::start(&network, &[])?;
    for (f, port) in FAMILIES.iter().zip([40_010, 41_010]) {
        let sent = Udp::to(&end(f.service, 80))
            .sport(port)
            .count(SENT)
            .send(network.ns("n1")?)?;
        ensure!(sent.received == u64::from(SENT), "{}: {sent:?}", f.name);
        let pinged = Ping::to(f.outside).count(3).send(network.ns("p1")?)?;
        ensure!(pinged.received == 3, "{}: {pinged:?}", f.name);
    }
    let (report, truth) = watch.end()?;
    for (f, port) in FAMILIES.iter().zip([40_010, 41_010]) {
        let far = nat(f.node, port, f.server, 8080);
        let flow = only(&report, port, &asked("udp", f.node, port, f.service, 80))?;
        expect::is(
            flow,
            &json!({"nat": far, "packets": SENT, "outcome": "forwarded",
                "reply": {"packets": SENT, "outcome": "delivered"}}),
        )?;
        expect::hops(flow, u64::from(SENT), &["out eth0"])?;
        let mut wire = far;
        wire["proto"] = "udp".into();
        ensure!(left(&truth, "eth0", &wire)? == u64::from(SENT));
        let proto = if f.table == "ip6" { "icmp6" } else { "icmp" };
        let echo = expect::flow(
            &report,
            &json!({"proto": proto, "src": f.client, "dst": f.outside}),
        )?;
        expect::is(
            echo,
            &json!({"nat": {"src": f.node, "dst": f.outside}, "packets": 3, "reply": {"packets": 3}}),
        )?;
        expect::hops(echo, 3, &["in lxc-p1", "out eth0"])?;
        expect::hops(expect::reply(echo)?, 3, &["in eth0", "out lxc-p1"])?;
    }
    expect::no_findings(&report)
}

#[test]
fn two_pods_with_one_port_share_the_nodes_address_and_stay_apart() -> Result<()> {
    let topology = FAMILIES
        .iter()
        .fold(cluster("nat-two"), |t, f| t.nft("n1", &f.rules()));
    let network = topology.raise()?;
    let _servers = servers(&network)?;
    let watch = Watch::start(&network, &[])?;
    let pods = [("p1", 3_u32), ("p3", 4)];
    for (f, port) in FAMILIES.iter().zip([40_020, 41_020]) {
        for (pod, count) in pods {
            let to = end(f.outside, 53);
            let sent = Udp::to(&to)
                .sport(port)
                .count(count)
                .send(network.ns(pod)?)?;
            ensure!(
                sent.received == u64::from(count),
                "{} {pod}: {sent:?}",
                f.name
            );
        }
    }
    let (report, _) = watch.end()?;
    for (f, port) in FAMILIES.iter().zip([40_020, 41_020]) {
        for ((pod, count), src) in pods.into_iter().zip([f.client, f.other]) {
            let flow = expect::flow(&report, &asked("udp", src, port, f.outside, 53))?;
            expect::is(
                flow,
                &json!({"nat": {"src": f.node, "dst": f.outside, "dport": 53},
                "packets": count, "reply": {"packets": count}}),
            )?;
            let count = u64::from(count);
            let dev = format!("lxc-{pod}");
            expect::hops(flow, count, &[&format!("in {dev}"), "out eth0"])?;
            expect::hops(
                expect::reply(flow)?,
                count,
                &["in eth0", &format!("out {dev}")],
            )?;
        }
    }
    expect::no_findings(&report)
}

/// A filter for the service finds the whole flow; one for the pod behind it too, but for the packet
/// that came in before the translation was known.
#[test]
fn filters_for_either_side_find_the_flow() -> Result<()> {
    let topology = FAMILIES
        .iter()
        .fold(cluster("nat-filter"), |t, f| t.nft("n1", &f.rules()));
    let network = topology.raise()?;
    let _servers = servers(&network)?;
    for (f, port) in FAMILIES.iter().zip([40_030, 41_030]) {
        for (number, (host, missed)) in [(f.service, 0), (f.server, 1)].into_iter().enumerate() {
            let port = port + u16::try_from(number)?;
            let watch = Watch::start(&network, &["host", host])?;
            let send = |to: &str, dport| {
                Udp::to(&end(to, dport))
                    .sport(port)
                    .count(SENT)
                    .send(network.ns("p1")?)
            };
            ensure!(send(f.service, 80)?.received == u64::from(SENT));
            ensure!(send(f.outside, 53)?.received == u64::from(SENT));
            let (report, _) = watch.end()?;
            let sent = u64::from(SENT);
            let flow = only(&report, port, &asked("udp", f.client, port, f.service, 80))?;
            expect::is(flow, &json!({"nat": nat(f.client, port, f.server, 8080)}))?;
            ensure!(
                expect::packets(flow, "in lxc-p1") == sent - missed,
                "{host}: {flow}"
            );
            ensure!(expect::packets(flow, "out eth0") == sent, "{host}: {flow}");
            expect::hops(expect::reply(flow)?, sent, &["in eth0", "out lxc-p1"])?;
        }
    }
    Ok(())
}
