//! Forwarded multicast: entries of multicast routing decide, and the stack looks a route up for each device
//! that they name.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::{burst as frame, mroute};
use harness::{Network, deadline};
use serde_json::json;

use crate::lab::{self, A};

const GROUP: [&str; 2] = ["239.1.2.3", "ff15::123"];
const SPORT: u16 = 7700;
const COUNT: u64 = 3;

pub(crate) fn forwarded() -> Case {
    let mut case = Case::new("multicast", lab::node("mcf"))
        .with(routed)
        .act(send);
    // IPv4 looks a route up in the name of a tunnel, whatever the packet is (ipmr_prepare_xmit()); IPv6 has
    // one to groups for each device, of which the lookup for what came in names another
    for ((src, dst), how) in A.into_iter().zip(GROUP).zip(["cached", "dst"]) {
        let decision = json!({"type": "multicast", "gateway": null, "dev": "o1", "errno": 0,
            "how": how});
        case = case.expect(
            Flow::of_act(&format!("udp{}", lab::family(dst)))
                .seen_as(
                    json!({"proto": "udp", "src": src, "sport": SPORT, "dst": dst, "dport": 9}),
                )
                .request(
                    Wanted::leaves("o1")
                        .decision(decision)
                        .also(json!({"packets": COUNT, "outcome": "forwarded"})),
                ),
        );
    }
    case
}

fn parse(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}

fn routed(network: &Network) -> Result<Vec<OwnedFd>> {
    let node = network.ns("n1")?;
    let both = A.into_iter().zip(GROUP);
    both.map(|(src, group)| mroute::route(node, ["in", "o1"], parse(src)?, parse(group)?))
        .collect()
}

/// A frame to a group has the group in its link address.
fn link_address(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

fn send(network: &Network) -> Result<()> {
    let (node, host) = (network.ns("n1")?, network.ns("a")?);
    let mut frames = Vec::new();
    for (src, group) in A.into_iter().zip(GROUP) {
        let (src, group) = (parse(src)?, parse(group)?);
        let ends = (SocketAddr::new(src, SPORT), SocketAddr::new(group, 9));
        frames.push(frame::udp(link_address(group), ends));
    }
    let left = || node.statistic("o1", "tx_packets");
    let wanted = left()? + COUNT * frames.len() as u64;
    for _ in 0..COUNT {
        frame::burst_on(0, host, "eth0", &frames)?;
    }
    deadline::wait_for("the frames to leave", Duration::from_secs(10), || {
        Ok((left()? >= wanted).then_some(()))
    })
}

#[test]
fn multicast_that_is_passed_on() -> Result<()> {
    forwarded().run(Load::Quiet)?.agree()
}
