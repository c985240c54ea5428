//! Two hosts and a router between them, nothing broken: for measuring, and for what needs no cluster.
//!
//! ```text
//! a 10.1.0.2 -- in 10.1.0.1 n1 10.2.0.1 out -- b 10.2.0.2
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Plan, Tcp, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "router",
    about: "two hosts and a router, nothing broken",
    modes: MODES,
    topology,
    traffic,
};

const MODES: &[Mode] = &[Mode {
    name: "ok",
    healthy: true,
    describe: "Host a talks to host b through the router n1. Nothing is broken. What is sent to \
               b's UDP ports from 20000 upwards vanishes there without an answer.",
    lost: &["sink4"],
    either: &[],
}];

/// Swallows bursts before a socket is looked for, so that no ICMP errors flow back.
const SINK: &str = "
table inet sink {
  chain c {
    type filter hook prerouting priority -400; policy accept;
    udp dport 20000-65535 counter drop
  }
}";

fn topology(_mode: &str) -> Topology {
    Topology::new("router")
        .ns(&["n1", "a", "b"])
        .forwarding(&["n1"])
        .veth(("n1", "in"), ("a", "eth0"))
        .veth(("n1", "out"), ("b", "eth0"))
        .addr("n1", "in", &["10.1.0.1/24", "fd01::1/64"])
        .addr("n1", "out", &["10.2.0.1/24", "fd02::1/64"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .addr("b", "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .route("a", "default via 10.1.0.1")
        .route("a", "default via fd01::1")
        .route("b", "default via 10.2.0.1")
        .route("b", "default via fd02::1")
        .nft("b", SINK)
        .reach("a", "10.2.0.2")
        .reach("a", "fd02::2")
}

fn traffic(_mode: &str) -> Plan {
    Plan::new()
        .echo("b", "10.2.0.2")
        .echo("b", "fd02::2")
        .flow("udp4", "a", Udp::to("10.2.0.2:7"))
        .flow("udp6", "a", Udp::to("[fd02::2]:7"))
        .flow("tcp4", "a", Tcp::to("10.2.0.2:8").bytes(50_000))
        .flow("sink4", "a", Udp::to("10.2.0.2:20000").sport(20_000))
}
