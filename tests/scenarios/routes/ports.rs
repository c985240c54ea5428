//! Rules that ask for ports: lookups of what comes in have ports then, and source validation's as well.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::{Udp, burst as frame};
use harness::{Network, deadline, expect};
use serde_json::json;

use crate::lab::{self, A, B1, B2, FAR, MAIN};

/// Of the host; the node has no way back to it.
const NOWHERE: &str = "10.99.0.2";
/// The node's own address.
const OWN: &str = "10.1.0.1";

/// Two conversations between the same addresses, of which a rule for ports sends one another way, and
/// packets that can only be listened to.
pub(crate) fn by_port() -> Case {
    let mut lab = lab::node("port")
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .route("n1", "fd20::/64 via fd02::2")
        .route("n1", "10.20.0.0/24 via 10.3.0.2 table 102")
        .route("n1", "fd20::/64 via fd03::2 table 102");
    let rule = "rule add ipproto udp sport 7601 pref 100 lookup 102";
    lab = lab.ip("n1", rule).ip6("n1", rule);
    let mut case = Case::new("rule port", lab).with(listener);
    for (family, far) in FAR.into_iter().enumerate() {
        case = case.echo("b1", far).echo("b2", far);
        for (sport, wanted) in [
            (7601, lab::looked_up("o2", Some(B2[family]), 100, 102)),
            (7602, lab::looked_up("o1", Some(B1[family]), MAIN.0, MAIN.1)),
        ] {
            let back = lab::looked_up("in", None, MAIN.0, MAIN.1);
            let udp = Udp::to(&lab::at(far, 7)).sport(sport);
            let name = format!("{sport}.");
            case = case.flow(
                lab::udp(&name, "a", udp, (Some(A[family]), far))
                    .request(wanted)
                    .reply(back),
            );
        }
    }
    let local = json!({"type": "local", "rule": 0, "table": 255, "errno": 0, "how": "lookup"});
    case.act(from_nowhere).expect(
        Flow::of_act("no way back4")
            .seen_as(json!({"proto": "udp", "src": NOWHERE, "sport": 7603, "dst": OWN, "dport": 7}))
            .request(
                Wanted::ends()
                    .decision(local)
                    .also(json!({"outcome": "delivered", "packets": 3})),
            ),
    )
}

/// The packets interrupt a task of the node, which then seems to be the one that looks up.
fn from_nowhere(network: &Network) -> Result<()> {
    let (node, host) = (network.ns("n1")?, network.ns("a")?);
    let end = |address: &str, port| -> Result<SocketAddr> {
        Ok(SocketAddr::new(
            address.parse().context("an address")?,
            port,
        ))
    };
    let ends = (end(NOWHERE, 7603)?, end(OWN, 7)?);
    let frames = vec![frame::udp(frame::mac(node, "in")?, ends); 3];
    let came = || node.statistic("in", "rx_packets");
    let wanted = came()? + 3;
    node.run(|| frame::burst_on(0, host, "eth0", &frames))??;
    deadline::wait_for("the frames to come in", Duration::from_secs(10), || {
        Ok((came()? >= wanted).then_some(()))
    })
}

/// Nobody answers.
fn listener(network: &Network) -> Result<UdpSocket> {
    let bound = network.ns("n1")?.run(|| UdpSocket::bind((OWN, 7)))?;
    bound.with_context(|| format!("cannot listen at {OWN}"))
}

#[test]
fn a_rule_for_ports() -> Result<()> {
    let ran = by_port().run(Load::Quiet)?;
    // source validation found no way back, which is nobody's lost packet
    expect::no_finding(&ran.report, "no-route")?;
    let heard = expect::flow(&ran.report, &json!({"src": NOWHERE}))?;
    ensure!(
        heard["route_failures"] == json!([]),
        "a source check passes for a sender: {heard}"
    );
    ran.agree()
}
