//! Addresses that are not this node's alone: broadcast, multicast, anycast.

use anyhow::Result;
use harness::confusion::{Case, Load, Wanted};
use harness::traffic::Udp;
use serde_json::{Value, json};

use crate::lab::{self, A};

/// A router takes packets to the lowest address of its network (RFC 4291 §2.6.1).
const ANYCAST: &str = "fd01::";
/// Of all hosts (RFC 1112) and of all routers of a site (RFC 4291): the node is a member without
/// anybody's asking.
const GROUPS: [&str; 2] = ["224.0.0.1", "ff05::2"];
/// The broadcast addresses of the network, and of whatever network it is.
const NETWORK: &str = "10.1.0.255";
const LIMITED: &str = "255.255.255.255";
/// Nobody is a member.
const NO_GROUP: &str = "239.1.1.2";

const TO_MANY: &str =
    "it is sent to many, and whether a socket of this node takes it is not visible";

/// An address, a port, the decision, and what becomes of the packets.
type ToMany = (&'static str, &'static str, u16, Value, Value);

/// The local table says what it is.
fn by_table(kind: &str, how: &str) -> Value {
    json!({"type": kind, "rule": 0, "table": 255, "gateway": null, "how": how})
}

/// The address says it, without a lookup (`ip_route_input_slow()`, `ip_route_input_mc()`).
fn by_address(kind: &str, how: &str) -> Value {
    json!({"type": kind, "rule": null, "table": null, "gateway": null, "how": how})
}

/// Somebody listens.
fn taken() -> Vec<ToMany> {
    let not_told = || json!({"outcome": "unknown", "why": TO_MANY});
    let delivered = json!({"outcome": "delivered"});
    let [all_hosts, routers] = GROUPS;
    let table = |kind| by_table(kind, "lookup");
    let address = |kind| by_address(kind, "inferred");
    // the event of IPv4 does not tell it from a unicast route
    let broadcast = by_table("broadcast", "inferred");
    vec![
        ("anycast6", ANYCAST, 7, table("anycast"), delivered),
        ("broadcast4", NETWORK, 7, broadcast, not_told()),
        ("limited4", LIMITED, 7, address("broadcast"), not_told()),
        ("multicast4", all_hosts, 7, address("multicast"), not_told()),
        ("multicast6", routers, 7, table("multicast"), not_told()),
    ]
}

/// Nobody listens: they end at the socket lookup, with their dst entry.
fn unheard() -> Vec<ToMany> {
    let [all_hosts, routers] = GROUPS;
    let table = |kind| by_table(kind, "lookup");
    let address = |kind| by_address(kind, "cached");
    let not_routed = json!({"type": "unknown", "rule": null, "table": null, "dev": null,
        "how": "unknown", "why": "it ended before a route was chosen for it"});
    [
        ("anycast unheard6", ANYCAST, 17, table("anycast")),
        ("broadcast unheard4", NETWORK, 17, table("broadcast")),
        ("limited unheard4", LIMITED, 17, address("broadcast")),
        ("multicast unheard4", all_hosts, 17, address("multicast")),
        ("multicast unheard6", routers, 17, table("multicast")),
        ("no member4", NO_GROUP, 7, not_routed),
    ]
    .map(|(name, dst, port, decision)| (name, dst, port, decision, json!({"outcome": "dropped"})))
    .into()
}

/// Somebody listens at every address of the node, on port 7.
pub(crate) fn heard(family: usize) -> Case {
    let router = "02:00:00:00:5e:01";
    let lab = harness::Topology::new("many")
        .ns(&["n1", "a"])
        .forwarding(&["n1"])
        .veth(("n1", "in", router), ("a", "eth0"))
        .addr("n1", "in", &["10.1.0.1/24", "fd01::1/64"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .route("a", "default via 10.1.0.1")
        .neigh("a", "eth0", ANYCAST, router)
        .reach("a", "10.1.0.1")
        .reach("a", "fd01::1");
    let any = ["0.0.0.0", "::"][family];
    let mut case = Case::new("to many", lab).echo("n1", any);
    for (name, dst, port, decision, also) in taken().into_iter().chain(unheard()) {
        if dst.contains(':') != any.contains(':') {
            continue;
        }
        let udp = Udp::to(&lab::at(dst, port)).wait(std::time::Duration::from_millis(50));
        let seen = json!({"proto": "udp", "src": A[family], "dst": dst, "dport": port});
        // the sender's own copy of a broadcast comes back to it and is counted there
        let wanted = Wanted::uncounted().decision(decision).also(also);
        case = case.flow(
            harness::confusion::Flow::new(name, "a", udp)
                .seen_as(seen)
                .request(wanted),
        );
    }
    case
}

#[test]
fn to_many() -> Result<()> {
    heard(0).run(Load::Quiet)?.agree()?;
    heard(1).run(Load::Quiet)?.agree()
}
