//! Packets whose headers are not in the linear part of their buffer, as senders with a ring of their
//! own make them (`PACKET_TX_RING`: packet generators, DPDK's `af_packet`).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::{burst as frame, offload, ring};
use harness::{Network, deadline};
use serde_json::json;

use crate::lab;

const FLOWS: [[&str; 2]; 2] = [["10.2.0.1", "10.40.0.2"], ["fd02::1", "fd40::2"]];
const PORTS: [u16; 2] = [7501, 7502];
/// Packets of each flow.
const ROUNDS: u16 = 3;

/// The node itself sends them; nobody routes them.
pub(crate) fn paged() -> Case {
    let mut case = Case::new("ring", lab::node("ring"))
        .with(in_one_piece)
        .act(send);
    for [src, dst] in FLOWS {
        for sport in PORTS {
            let decision = json!({"type": "unknown", "rule": null, "table": null, "dev": null,
                "how": "unknown", "why": "the packet carried no route: it was sent through a packet \
                    socket or by another BPF program"});
            case = case.expect(
                Flow::of_act(&format!("{sport}.{}", lab::family(dst)))
                    .seen_as(
                        json!({"proto": "udp", "src": src, "sport": sport, "dst": dst, "dport": 9}),
                    )
                    .request(
                        Wanted::leaves("o1")
                            .decision(decision)
                            .also(json!({"packets": ROUNDS})),
                    ),
            );
        }
    }
    case
}

/// What counts the packets at the far end takes the protocol of IPv6 from the linear part, whatever lies
/// there (`ipv6_find_hdr()` of the kernel): they must arrive in one piece.
fn in_one_piece(network: &Network) -> Result<()> {
    offload::gather_off(network.ns("n1")?, "o1")
}

fn send(network: &Network) -> Result<()> {
    let (node, router) = (network.ns("n1")?, network.ns("b1")?);
    let to = frame::mac(router, "eth0")?;
    let end = |address: &str, port| -> Result<SocketAddr> {
        let address: IpAddr = address.parse().context("an address")?;
        Ok(SocketAddr::new(address, port))
    };
    let mut frames = Vec::new();
    for [src, dst] in FLOWS {
        for sport in PORTS {
            frames.push(frame::udp(to, (end(src, sport)?, end(dst, 9)?)));
        }
    }
    let came = || router.statistic("eth0", "rx_packets");
    let wanted = came()? + u64::from(ROUNDS) * frames.len() as u64;
    for _ in 0..ROUNDS {
        ring::send(node, "o1", &frames)?;
    }
    deadline::wait_for("the frames to arrive", Duration::from_secs(10), || {
        Ok((came()? >= wanted).then_some(()))
    })
}

#[test]
fn headers_in_pages_are_read() -> Result<()> {
    paged().run(Load::Quiet)?.agree()
}
