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
/// Nobody is a member.
const NO_GROUP: &str = "239.1.1.2";

const TO_MANY: &str =
    "it is sent to many, and whether a socket of this node takes it is not visible";

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
    let row = |name: &str, dst: &str, port: u16, decision: Value, also: Value| {
        let udp = Udp::to(&lab::at(dst, port)).wait(std::time::Duration::from_millis(50));
        let src = A[usize::from(dst.contains(':'))];
        let seen = json!({"proto": "udp", "src": src, "dst": dst, "dport": port});
        // the sender's own copy of a broadcast comes back to it and is counted there
        harness::confusion::Flow::new(name, "a", udp)
            .seen_as(seen)
            .request(Wanted::uncounted().decision(decision).also(also))
    };
    let by_table = |kind: &str, how: &str| json!({"type": kind, "rule": 0, "table": 255, "gateway": null, "how": how});
    // neither needs a lookup (ip_route_input_slow(), ip_route_input_mc())
    let by_address = |kind: &str, how: &str| json!({"type": kind, "rule": null, "table": null, "gateway": null, "how": how});
    let not_told = || json!({"outcome": "unknown", "why": TO_MANY});
    let dropped = || json!({"outcome": "dropped"});
    let all = [
        (
            "anycast6",
            ANYCAST,
            7,
            by_table("anycast", "inferred"),
            json!({"outcome": "delivered"}),
        ),
        (
            "broadcast4",
            "10.1.0.255",
            7,
            by_table("broadcast", "inferred"),
            not_told(),
        ),
        (
            "limited4",
            "255.255.255.255",
            7,
            by_address("broadcast", "inferred"),
            not_told(),
        ),
        (
            "multicast4",
            GROUPS[0],
            7,
            by_address("multicast", "inferred"),
            not_told(),
        ),
        (
            "multicast6",
            GROUPS[1],
            7,
            by_table("multicast", "inferred"),
            not_told(),
        ),
        // nobody listens: they end at the socket lookup, with their dst entry
        (
            "anycast unheard6",
            ANYCAST,
            17,
            by_table("anycast", "lookup"),
            dropped(),
        ),
        (
            "broadcast unheard4",
            "10.1.0.255",
            17,
            by_table("broadcast", "lookup"),
            dropped(),
        ),
        (
            "limited unheard4",
            "255.255.255.255",
            17,
            by_address("broadcast", "cached"),
            dropped(),
        ),
        (
            "multicast unheard4",
            GROUPS[0],
            17,
            by_address("multicast", "cached"),
            dropped(),
        ),
        (
            "multicast unheard6",
            GROUPS[1],
            17,
            by_table("multicast", "lookup"),
            dropped(),
        ),
        // not even routed
        (
            "no member4",
            NO_GROUP,
            7,
            json!({"type": "unknown", "rule": null, "table": null, "dev": null, "how": "unknown",
                "why": "it ended before a route was chosen for it"}),
            dropped(),
        ),
    ];
    let any = ["0.0.0.0", "::"][family];
    let mut case = Case::new("to many", lab).echo("n1", any);
    for (name, dst, port, decision, also) in all {
        if dst.contains(':') == any.contains(':') {
            case = case.flow(row(name, dst, port, decision, also));
        }
    }
    case
}

#[test]
fn to_many() -> Result<()> {
    heard(0).run(Load::Quiet)?.agree()?;
    heard(1).run(Load::Quiet)?.agree()
}
