//! The lab that all cases start from, and short names for what they expect.

use harness::Topology;
use harness::confusion::{Flow, Wanted};
use harness::traffic::Sender;
use serde_json::{Value, json};

/// A node between a host and two routers; the same address is behind both.
///
/// ```text
///                                        ,- o1 10.2.0.1 -- 10.2.0.2 b1 \
/// a 10.1.0.2 -- 10.1.0.1 in -- n1 ------<                                10.20.0.2, fd20::2
///                                        `- o2 10.3.0.1 -- 10.3.0.2 b2 /
/// ```
///
/// With IPv6 it is `fd01::`, `fd02::`, `fd03::`. There is no route to 10.20.0.2 yet.
pub(crate) fn node(name: &str) -> Topology {
    let mut lab = Topology::new(name)
        .ns(&["n1", "a", "b1", "b2"])
        .forwarding(&["n1"])
        .veth(("n1", "in"), ("a", "eth0"))
        .veth(("n1", "o1"), ("b1", "eth0"))
        .veth(("n1", "o2"), ("b2", "eth0"))
        .addr("n1", "in", &["10.1.0.1/24", "fd01::1/64"])
        .addr("n1", "o1", &["10.2.0.1/24", "fd02::1/64"])
        .addr("n1", "o2", &["10.3.0.1/24", "fd03::1/64"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .route("a", "default via 10.1.0.1")
        .route("a", "default via fd01::1");
    for (ns, net) in [("b1", 2), ("b2", 3)] {
        lab = lab
            .addr(
                ns,
                "eth0",
                &[&format!("10.{net}.0.2/24"), &format!("fd0{net}::2/64")],
            )
            .addr(ns, "lo", &["10.20.0.2/32", "fd20::2/128"])
            .route(ns, &format!("default via 10.{net}.0.1"))
            .route(ns, &format!("default via fd0{net}::1"));
    }
    for (ns, addresses) in [
        ("a", ["10.1.0.1", "fd01::1"]),
        ("n1", ["10.2.0.2", "fd02::2"]),
        ("n1", ["10.3.0.2", "fd03::2"]),
    ] {
        for address in addresses {
            lab = lab.reach(ns, address);
        }
    }
    lab
}

/// The destination behind both routers.
pub(crate) const FAR: [&str; 2] = ["10.20.0.2", "fd20::2"];
/// The host.
pub(crate) const A: [&str; 2] = ["10.1.0.2", "fd01::2"];
/// The router behind o1, and that behind o2.
pub(crate) const B1: [&str; 2] = ["10.2.0.2", "fd02::2"];
pub(crate) const B2: [&str; 2] = ["10.3.0.2", "fd03::2"];

/// `ADDRESS:PORT`.
pub(crate) fn at(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// `4` or `6`.
pub(crate) fn family(address: &str) -> char {
    if address.contains(':') { '6' } else { '4' }
}

/// A UDP flow to port 7, found by its addresses. `src` is `None` where the node chooses it.
pub(crate) fn udp(
    name: &str,
    from: &str,
    sender: impl Into<Sender>,
    (src, dst): (Option<&str>, &str),
) -> Flow {
    let mut seen = json!({"proto": "udp", "dst": dst, "dport": 7});
    if let Some(src) = src {
        seen["src"] = json!(src);
    }
    Flow::new(&format!("{name}{}", family(dst)), from, sender).seen_as(seen)
}

/// By `dev`, as `table` says; a lookup was seen.
pub(crate) fn looked_up(dev: &str, gateway: Option<&str>, rule: u32, table: u32) -> Wanted {
    Wanted::leaves(dev).decision(decision(dev, gateway, rule, table, "lookup"))
}

/// A unicast decision.
pub(crate) fn decision(
    dev: &str,
    gateway: Option<&str>,
    rule: u32,
    table: u32,
    how: &str,
) -> Value {
    json!({"rule": rule, "table": table, "type": "unicast", "gateway": gateway, "dev": dev,
        "errno": 0, "how": how, "why": null})
}

/// Preference and number of the main table.
pub(crate) const MAIN: (u32, u32) = (32766, 254);

/// A router between two hosts.
///
/// ```text
/// a 10.1.0.2 fd01::2 -- in n1 out -- b 10.2.0.2 fd02::2, 10.20.0.2 fd20::2 behind it
/// ```
pub(crate) fn router(name: &str) -> Topology {
    Topology::new(name)
        .ns(&["n1", "a", "b"])
        .forwarding(&["n1"])
        .veth(("n1", "in"), ("a", "eth0"))
        .veth(("n1", "out"), ("b", "eth0"))
        .addr("n1", "in", &["10.1.0.1/24", "fd01::1/64"])
        .addr("n1", "out", &["10.2.0.1/24", "fd02::1/64"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .addr("b", "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .addr("b", "lo", &["10.20.0.2/32", "fd20::2/128"])
        .route("a", "default via 10.1.0.1")
        .route("a", "default via fd01::1")
        .route("b", "default via 10.2.0.1")
        .route("b", "default via fd02::1")
        .reach("a", "10.2.0.2")
        .reach("a", "fd02::2")
}
