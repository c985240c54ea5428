//! `WireGuard`: inside and outside are two flows, because nothing on the wire says what is inside.

use anyhow::Result;
use harness::{Network, expect};
use serde_json::json;

use crate::{COUNT, V4, V6, has, nodes, passes, traced};

#[test]
fn wireguard() -> Result<()> {
    let network = nodes("wireguard").raise()?;
    for ns in ["n1", "n2"] {
        let add = ["ip", "link", "add", "wg0", "type", "wireguard"];
        if !has(network.ns(ns)?, &add)? || !has(network.ns(ns)?, &["wg", "--version"])? {
            return Ok(());
        }
    }
    connect(&network)?;
    let flows = [V4, V6];
    let report = traced(&network, ("p1", "p2"), &flows)?;
    for flow in flows {
        let flow = passes(
            &report,
            flow,
            &["in lxc-p1", "out wg0"],
            &["in wg0", "out lxc-p1"],
        )?;
        expect::is(
            flow,
            &json!({"outcome": "forwarded", "left_by": "wg0", "drops": []}),
        )?;
        let decided = json!({"dev": "wg0", "type": "unicast", "table": 254, "how": "lookup"});
        expect::path(
            flow,
            &[
                expect::hop("lxc-p1", "in"),
                expect::route(&decided),
                expect::hop_with("wg0", "out", json!({"encap": null})),
            ],
        )?;
    }
    // what carries it: the node's own datagrams
    let wanted = json!({"proto": "udp", "src": "10.0.0.1", "dst": "10.0.0.2", "dport": 51820});
    let outer = expect::flow(&report, &wanted)?;
    let inside = u64::from(2 * COUNT);
    for direction in [outer, expect::reply(outer)?] {
        // and the handshake before
        anyhow::ensure!(direction["packets"].as_u64() >= Some(inside), "{outer}");
    }
    expect::path(
        outer,
        &[
            expect::route(&json!({"dev": "eth0", "type": "unicast"})),
            expect::hop("eth0", "out"),
        ],
    )
}

/// Keys, and routes to the other node's pods.
fn connect(network: &Network) -> Result<()> {
    let n1 = network.ns("n1")?;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let secret = n1.exec(&["wg", "genkey"])?;
        let public = n1.exec_with_input(&["wg", "pubkey"], &secret)?;
        keys.push((secret.trim().to_owned(), public.trim().to_owned()));
    }
    for (number, other) in [(1, 2), (2, 1)] {
        let (ns, (secret, _), (_, public)) = (
            network.ns(&format!("n{number}"))?,
            &keys[number - 1],
            &keys[other - 1],
        );
        let settings = format!(
            "[Interface]\nPrivateKey = {secret}\nListenPort = 51820\n[Peer]\nPublicKey = {public}\n\
             AllowedIPs = 10.244.{other}.0/24, fd44:{other}::/64\nEndpoint = 10.0.0.{other}:51820\n"
        );
        ns.exec_with_input(&["wg", "setconf", "wg0", "/dev/stdin"], &settings)?;
        let batch = format!(
            "link set wg0 mtu 1400 up\nroute add 10.244.{other}.0/24 dev wg0\n\
             route add fd44:{other}::/64 dev wg0\n"
        );
        ns.exec_with_input(&["ip", "-batch", "-"], &batch)?;
    }
    Ok(())
}
