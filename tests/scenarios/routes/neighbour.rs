//! The route is right and the next hop does not answer, or late.

use std::time::Duration;

use anyhow::Result;
use harness::confusion::{Case, Load, Wanted};
use harness::traffic::Udp;
use harness::{Network, deadline};
use serde_json::json;

use crate::lab::{self, A, MAIN};

/// How long the kernel asks for a neighbour (three times a second apart), and more.
const GIVES_UP: Duration = Duration::from_secs(15);

/// Nobody has 10.2.0.99 or `fd02::99`.
const NOBODY: [&str; 2] = ["10.2.0.99", "fd02::99"];

/// On-link destinations and gateways that nobody has, of others' packets and the node's own.
pub(crate) fn failed() -> Case {
    let lab = lab::node("nud")
        .route("n1", "10.40.0.0/24 via 10.2.0.99")
        .route("n1", "fd40::/64 via fd02::99");
    let mut case = Case::new("no neighbour", lab);
    for family in 0..2 {
        let behind = ["10.40.0.9", "fd40::9"][family];
        for (name, dst, gateway) in [
            ("on-link", NOBODY[family], None),
            ("gateway", behind, Some(NOBODY[family])),
        ] {
            let udp = || Udp::to(&lab::at(dst, 7)).wait(Duration::from_millis(20));
            let decision = || lab::decision("o1", gateway, MAIN.0, MAIN.1, "cached");
            let ends = || {
                Wanted::ends()
                    .decision(decision())
                    .also(json!({"outcome": "dropped"}))
            };
            case = case
                .flow(lab::udp(name, "a", udp(), (Some(A[family]), dst)).request(ends()))
                .flow(
                    lab::udp(
                        &format!("local {name}"),
                        "n1",
                        udp().sport(7200),
                        (None, dst),
                    )
                    .request(ends()),
                );
        }
    }
    case.act(gave_up)
}

/// Waits until the kernel has given up on both addresses, and their queues are dropped.
fn gave_up(network: &Network) -> Result<()> {
    let node = network.ns("n1")?;
    for address in NOBODY {
        deadline::wait_for(&format!("the failure of {address}"), GIVES_UP, || {
            let text = node.exec(&["ip", "neigh", "show", address])?;
            let waiting = text.contains("INCOMPLETE") || text.contains("PROBE");
            Ok((!waiting).then_some(()))
        })?;
    }
    Ok(())
}

/// The gateway gets its address after the packets were sent: they leave when it answers.
pub(crate) fn late() -> Case {
    let lab = lab::node("late")
        .route("n1", "10.20.0.0/24 via 10.2.0.50")
        .route("n1", "fd20::/64 via fd02::50");
    let mut case = Case::new("late neighbour", lab);
    for family in 0..2 {
        let far = lab::FAR[family];
        let gateway = ["10.2.0.50", "fd02::50"][family];
        let prefix = ["24", "64 nodad"][family];
        let udp = Udp::to(&lab::at(far, 7)).wait(Duration::from_millis(300));
        case = case
            .flow(lab::udp("udp", "a", udp, (Some(A[family]), far)).request(
                Wanted::leaves("o1").decision(lab::decision(
                    "o1",
                    Some(gateway),
                    MAIN.0,
                    MAIN.1,
                    "cached",
                )),
            ))
            .ip("b1", &format!("addr add {gateway}/{prefix} dev eth0"));
    }
    case
}

#[test]
fn nobody_answers() -> Result<()> {
    failed().run(Load::Quiet)?.agree()
}

#[test]
fn an_answer_comes_late() -> Result<()> {
    late().run(Load::Quiet)?.agree()
}
