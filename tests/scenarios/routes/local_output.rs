//! Packets of the node itself.

use std::time::Duration;

use anyhow::Result;
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::{Ping, Tcp, Udp};
use serde_json::json;

use crate::lab::{self, B1, FAR, MAIN};

fn topology(name: &str) -> harness::Topology {
    lab::node(name)
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .route("n1", "fd20::/64 via fd02::2")
}

/// Unconnected and connected UDP, TCP, ping; a route that is looked up and one that is cached.
pub(crate) fn sockets() -> Case {
    let mut case = Case::new("local", topology("loc"));
    for family in 0..2 {
        let (far, gateway) = (FAR[family], Some(B1[family]));
        let to = lab::at(far, 7);
        let wanted = |how: &str| {
            let decision = lab::decision("o1", gateway, MAIN.0, MAIN.1, how);
            Wanted::leaves("o1").decision(decision)
        };
        // its dst is older than any lookup that is remembered
        let late = Udp::to(&to).connect().pause(Duration::from_millis(300));
        let many = Udp::to(&to).connect().count(1000).interval(Duration::ZERO);
        let seen = |proto: &str| json!({"proto": proto, "dst": far});
        let name = |name: &str| format!("{name}{}", lab::family(far));
        let icmp = if family == 0 { "icmp" } else { "icmp6" };
        let mut tcp = seen("tcp");
        tcp["dport"] = json!(8);
        case = case
            .echo("b1", far)
            .flow(
                lab::udp("unconnected", "n1", Udp::to(&to), (None, far))
                    .request(wanted("lookup").route_get(far)),
            )
            .flow(
                lab::udp("connected", "n1", Udp::to(&to).connect(), (None, far))
                    .request(wanted("lookup")),
            )
            .flow(lab::udp("cached", "n1", late, (None, far)).request(wanted("cached")))
            .flow(lab::udp("thousandth", "n1", many, (None, far)).request(wanted("lookup")))
            .flow(
                Flow::new(&name("tcp"), "n1", Tcp::to(&lab::at(far, 8)).bytes(5000))
                    .seen_as(tcp)
                    .request(wanted("lookup").any_count()),
            )
            .flow(
                Flow::new(&name("ping"), "n1", Ping::to(far))
                    .seen_as(seen(icmp))
                    .request(wanted("lookup")),
            );
    }
    case
}

#[test]
fn each_kind_of_socket() -> Result<()> {
    sockets().run(Load::Quiet)?.agree()
}
