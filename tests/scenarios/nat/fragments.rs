//! Later fragments carry no ports, and still belong to one flow.

use anyhow::{Result, ensure};
use harness::expect;
use harness::traffic::Udp;
use serde_json::json;

use crate::lab::{FAMILIES, Watch, asked, cluster, end, left, nat, servers};

/// Three fragments of a 1500-byte MTU.
const SIZE: usize = 4000;
const PIECES: u64 = 3;

/// Two conversations between the same addresses: only the identification tells whose fragment is
/// whose. Without connection tracking fragments pass one by one; with it they are put together and
/// taken apart again.
fn converse(name: &str, tracked: bool) -> Result<()> {
    let topology = FAMILIES.iter().fold(cluster(name), |t, f| {
        let rules = f.rules();
        t.when(tracked, |t| t.nft("n1", &rules))
    });
    let network = topology.raise()?;
    let _servers = servers(&network)?;
    let watch = Watch::start(&network, &[])?;
    let mut wanted = Vec::new();
    for (f, port) in FAMILIES.iter().zip([44_000, 45_000]) {
        for (port, count) in [(port, 3_u32), (port + 1, 5)] {
            // without translation to the server itself
            let (to, dport) = if tracked {
                (f.service, 80)
            } else {
                (f.server, 8080)
            };
            let udp = Udp::to(&end(to, dport)).sport(port).count(count).size(SIZE);
            let sent = udp.send(network.ns("p1")?)?;
            ensure!(
                sent.received == u64::from(count),
                "{} {port}: {sent:?}",
                f.name
            );
            wanted.push((f, port, to, dport, u64::from(count)));
        }
    }
    let (report, truth) = watch.end()?;
    for (f, port, to, dport, count) in wanted {
        let flow = expect::flow(&report, &asked("udp", f.client, port, to, dport))?;
        let packets = count * PIECES;
        expect::hops(flow, packets, &["in lxc-p1", "out eth0"])?;
        let reply = expect::reply(flow)?;
        expect::hops(reply, packets, &["in eth0", "out lxc-p1"])?;
        let far = nat(f.client, port, f.server, 8080);
        if tracked {
            expect::is(flow, &json!({"nat": far}))?;
        }
        // the counters see the port in the first fragment of each packet only
        let mut wire = far;
        wire["proto"] = "udp".into();
        ensure!(left(&truth, "eth0", &wire)? == count);
    }
    for f in &FAMILIES {
        // all of them by address alone: of later ones the counters know no port, or read one in
        // what the packet carries
        let wire = json!({"proto": "udp", "src": f.client, "dst": f.server});
        let all = left(&truth, "eth0", &wire)?;
        ensure!(all == 8 * PIECES, "{all} fragments on the wire");
        let loose = expect::flows(
            &report,
            &json!({"proto": "udp", "src": f.client, "sport": null}),
        )?;
        ensure!(loose.is_empty(), "fragments without a flow: {loose:?}");
    }
    expect::no_findings(&report)
}

#[test]
fn later_fragments_join_their_flow() -> Result<()> {
    converse("frag", false)
}

#[test]
fn later_fragments_join_their_translated_flow() -> Result<()> {
    converse("frag-nat", true)
}

#[test]
fn a_filter_for_a_port_takes_later_fragments_too() -> Result<()> {
    let network = cluster("frag-filter").raise()?;
    let _servers = servers(&network)?;
    let watch = Watch::start(&network, &["port", "46000"])?;
    for f in &FAMILIES {
        for port in [46_000, 46_001] {
            let udp = Udp::to(&end(f.server, 8080))
                .sport(port)
                .count(2)
                .size(SIZE);
            let sent = udp.send(network.ns("p1")?)?;
            ensure!(sent.received == 2, "{} {port}: {sent:?}", f.name);
        }
    }
    let (report, _) = watch.end()?;
    let flows = expect::flows(&report, &json!({}))?;
    ensure!(flows.len() == 2, "{flows:?}");
    for f in &FAMILIES {
        let flow = expect::flow(&report, &asked("udp", f.client, 46_000, f.server, 8080))?;
        expect::hops(flow, 2 * PIECES, &["in lxc-p1", "out eth0"])?;
        expect::hops(expect::reply(flow)?, 2 * PIECES, &["in eth0", "out lxc-p1"])?;
    }
    Ok(())
}
