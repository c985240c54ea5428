//! ICMP errors are shown with the flow that they complain about, through translation too.

use anyhow::{Context as _, Result, ensure};
use harness::traffic::Udp;
use harness::{Network, expect};
use serde_json::{Value, json};

use crate::lab::{FAMILIES, Watch, asked, cluster, end};

/// No one listens on this port of the server, nor of the outside.
const CLOSED: u16 = 9;

fn raise(name: &str, extra: &[String]) -> Result<Network> {
    let mut topology = FAMILIES
        .iter()
        .fold(cluster(name), |t, f| t.nft("n1", &f.rules()));
    for rules in extra {
        topology = topology.nft("n1", rules);
    }
    topology.raise()
}

/// The error of this kind about a flow, at a device in a direction.
fn error<'f>(flow: &'f Value, dev: &str, dir: &str, kind: (u8, u8)) -> Result<&'f Value> {
    let wanted = json!({"dev": dev, "dir": dir, "type": kind.0, "code": kind.1});
    let all = flow["icmp_errors"].as_array().context("no list")?;
    let found = all.iter().find(|e| expect::contains(e, &wanted));
    found.with_context(|| format!("no {wanted} in {all:?} of {flow}"))
}

fn send(network: &Network, to: (&str, u16), port: u16, size: usize) -> Result<()> {
    let mut udp = Udp::to(&end(to.0, to.1))
        .sport(port)
        .count(2)
        .size(size)
        .connect();
    if size > 1000 {
        udp = udp.dont_fragment();
    }
    udp.send(network.ns("p1")?)?;
    Ok(())
}

/// Port unreachable (3/3, 1/4) from behind the translation, and time exceeded (11/0, 3/0) made by the
/// node itself, each received and sent on to the client.
#[test]
fn unreachable_through_translation() -> Result<()> {
    let closed: Vec<String> = FAMILIES
        .iter()
        .map(|f| {
            format!(
                "table {t} closed {{\n chain pre {{\n  type nat hook prerouting priority -110\n  {t} daddr {s} udp \
                 dport 90 dnat to {to}\n }}\n}}\n",
                t = f.table,
                s = f.service,
                to = end(f.server, CLOSED),
            )
        })
        .collect();
    let network = raise("icmp-nat", &closed)?;
    for filtered in [false, true] {
        for (f, port) in FAMILIES.iter().zip([47_000, 48_000]) {
            let port = port + u16::from(filtered);
            let filter: &[&str] = if filtered { &["host", f.service] } else { &[] };
            let watch = Watch::start(&network, filter)?;
            send(&network, (f.service, 90), port, 32)?;
            send(&network, (f.outside, CLOSED), port, 32)?;
            let (report, _) = watch.end()?;
            let kind = if f.table == "ip6" { (1, 4) } else { (3, 3) };
            let mut wanted = vec![f.service];
            if !filtered {
                wanted.push(f.outside);
            }
            for to in wanted {
                let dport = if to == f.service { 90 } else { CLOSED };
                let flow = expect::flow(&report, &asked("udp", f.client, port, to, dport))?;
                let from = if to == f.service { f.server } else { f.outside };
                let came = error(flow, "eth0", "in", kind)?;
                expect::is(came, &json!({"from": from, "local": false}))?;
                let went = error(flow, "lxc-p1", "out", kind)?;
                ensure!(came["count"] == went["count"], "{came} {went}");
            }
        }
    }
    Ok(())
}

/// Too big for the way behind the node: frag needed (3/4) and packet too big (2/0), with the MTU.
#[test]
fn too_big_made_here_and_beyond() -> Result<()> {
    for (name, node) in [("icmp-here", "n1"), ("icmp-beyond", "n2")] {
        let network = raise(name, &[])?;
        let dev = if node == "n1" { "eth0" } else { "lxc-p2" };
        network
            .ns(node)?
            .exec(&["ip", "link", "set", dev, "mtu", "1300"])?;
        for (f, port) in FAMILIES.iter().zip([47_100, 48_100]) {
            let watch = Watch::start(&network, &[])?;
            send(&network, (f.service, 80), port, 1400)?;
            let (report, _) = watch.end()?;
            let flow = expect::flow(&report, &asked("udp", f.client, port, f.service, 80))?;
            let kind = if f.table == "ip6" { (2, 0) } else { (3, 4) };
            let went = error(flow, "lxc-p1", "out", kind)?;
            expect::is(went, &json!({"mtu": 1300}))?;
            if node == "n2" {
                let came = error(flow, "eth0", "in", kind)?;
                expect::is(came, &json!({"mtu": 1300, "local": false}))?;
            } else {
                expect::is(went, &json!({"local": true}))?;
            }
        }
    }
    Ok(())
}
