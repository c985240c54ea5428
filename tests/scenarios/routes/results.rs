//! Result types: what a lookup can end with beside a next hop.

use anyhow::Result;
use harness::Topology;
use harness::confusion::{Case, Load, Wanted};
use harness::expect;
use harness::traffic::Udp;
use serde_json::json;

use crate::lab::{self, A, MAIN};

/// Type, destination network and errno.
const REFUSED: [(&str, u32); 3] = [("blackhole", 22), ("unreachable", 113), ("prohibit", 13)];

fn topology(name: &str) -> Topology {
    let mut lab = lab::node(name);
    for (n, (kind, _)) in REFUSED.iter().enumerate() {
        lab = lab
            .route("n1", &format!("{kind} 10.3{n}.0.0/24"))
            .route("n1", &format!("{kind} fd3{n}::/64"));
    }
    lab.route("n1", "throw 10.34.0.0/24 table 100")
        .route("n1", "throw fd34::/64 table 100")
        .ip("n1", "rule add pref 50 to 10.36.0.0/24 prohibit")
        .ip6("n1", "rule add pref 50 to fd36::/64 prohibit")
        .ip("n1", "rule add pref 100 lookup 100")
        .ip6("n1", "rule add pref 100 lookup 100")
}

/// What a destination must end with.
struct Refusal {
    /// Third part of `10.3N.0.9` and `fd3N::9`.
    net: u32,
    kind: &'static str,
    rule: Option<u32>,
    table: Option<u32>,
    errno: u32,
}

fn refusals() -> Vec<Refusal> {
    let by_main = (0..).zip(REFUSED).map(|(net, (kind, errno))| Refusal {
        net,
        kind,
        rule: Some(MAIN.0),
        table: Some(MAIN.1),
        errno,
    });
    let without_table = |net, kind, rule, errno| Refusal {
        net,
        kind,
        rule,
        table: None,
        errno,
    };
    by_main
        .chain([
            // a throw, and then nothing
            without_table(4, "none", None, 101),
            without_table(5, "none", None, 101),
            // a rule refuses
            without_table(6, "prohibit", Some(50), 13),
        ])
        .collect()
}

fn refused(name: &str, from: &str, how: &[&str]) -> Case {
    let mut case = Case::new(name, topology("res"));
    for refusal in refusals() {
        let Refusal {
            net: n,
            kind,
            rule,
            table,
            errno,
        } = refusal;
        for dst in [format!("10.3{n}.0.9"), format!("fd3{n}::9")] {
            let family = usize::from(dst.contains(':'));
            let src = (from == "a").then_some(A[family]);
            let decision = json!({"type": kind, "rule": rule, "table": table, "errno": errno,
                "gateway": null, "dev": null, "how": how});
            let udp = Udp::to(&lab::at(&dst, 7)).wait(std::time::Duration::from_millis(50));
            case = case.flow(
                lab::udp(&format!("{kind}{n}."), from, udp, (src, &dst)).request(
                    Wanted::ends()
                        .decision(decision)
                        .also(json!({"outcome": "dropped"})),
                ),
            );
        }
    }
    case
}

/// Packets of others.
pub(crate) fn forwarded() -> Case {
    refused("refused", "a", &["lookup"])
}

/// Of the node itself: no packet is made. A refusing rule gives no event; the configuration tells.
pub(crate) fn local() -> Case {
    refused("refused local", "n1", &["lookup", "inferred"])
}

/// Delivered on the node: its address, one of a network that is all its own, and a broadcast.
pub(crate) fn delivered() -> Case {
    let lab = lab::node("del")
        .sysctl("n1", "net.ipv6.ip_nonlocal_bind=1")
        .ip("n1", "route add local 10.66.0.0/24 dev lo")
        .ip("n1", "route add local fd66::/64 dev lo");
    let mut case = Case::new("delivered", lab);
    for (name, all) in [
        ("own", ["10.1.0.1", "fd01::1"]),
        ("network", ["10.66.0.7", "fd66::7"]),
    ] {
        for (dst, src) in all.into_iter().zip(A) {
            let local = json!({"type": "local", "rule": 0, "table": 255, "gateway": null,
                "errno": 0, "how": "lookup"});
            case = case.echo("n1", dst).flow(
                lab::udp(name, "a", Udp::to(&lab::at(dst, 7)), (Some(src), dst)).request(
                    Wanted::ends()
                        .decision(local)
                        .also(json!({"outcome": "delivered"})),
                ),
            );
        }
    }
    // nobody listens to a broadcast: it ends at the socket lookup, with its dst. (The sender's own
    // copy comes back to it and is counted there.)
    let udp = Udp::to("10.1.0.255:7").wait(std::time::Duration::from_millis(50));
    case.flow(
        lab::udp("broadcast", "a", udp, (Some(A[0]), "10.1.0.255")).request(
            Wanted::uncounted()
                .decision(json!({"type": "broadcast", "rule": 0, "table": 255, "how": "lookup"})),
        ),
    )
}

/// To addresses that a rule makes the node's own, for one sender, as transparent proxies have it.
pub(crate) fn delivered_by_rule(family: usize) -> Case {
    let lab = lab::node("dbr")
        .rule("n1", "from 10.1.0.2 to 10.67.0.0/24 table 100 pref 500")
        .rule("n1", "from fd01::2 to fd67::/64 table 100 pref 500")
        .ip("n1", "route add local 0.0.0.0/0 dev lo table 100")
        .ip("n1", "route add local ::/0 dev lo table 100");
    let (any, dst) = [("0.0.0.0", "10.67.0.9"), ("::", "fd67::9")][family];
    // the answer has another source
    let udp = Udp::to(&lab::at(dst, 7)).wait(std::time::Duration::from_millis(50));
    let local = json!({"type": "local", "rule": 500, "table": 100, "gateway": null, "errno": 0,
        "how": "lookup"});
    Case::new("delivered by rule", lab).echo("n1", any).flow(
        lab::udp("udp", "a", udp, (Some(A[family]), dst)).request(
            Wanted::ends()
                .decision(local)
                .also(json!({"outcome": "delivered"})),
        ),
    )
}

/// Too large for the next device. The error message that the node makes looks routes up as well.
pub(crate) fn too_big() -> Case {
    let lab = lab::node("big")
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .route("n1", "fd20::/64 via fd02::2")
        .ip("n1", "link set o1 mtu 1300");
    let mut case = Case::new("too big", lab);
    for (family, src) in A.into_iter().enumerate() {
        let far = lab::FAR[family];
        let udp = |dst: &str| {
            let udp = Udp::to(&lab::at(dst, 7)).size(1350).count(1);
            udp.dont_fragment()
                .wait(std::time::Duration::from_millis(50))
        };
        // the first error message since the kernel started takes an emulated machine longer than a
        // lookup is remembered (to another host: the sender knows the way's size afterwards)
        let other = ["10.20.0.3", "fd20::3"][family];
        case = case.flow(lab::udp("first", "a", udp(other), (Some(src), other)));
        let decision = lab::decision("o1", Some(lab::B1[family]), MAIN.0, MAIN.1, "lookup");
        case = case.flow(
            lab::udp("udp", "a", udp(far), (Some(src), far)).request(
                Wanted::ends()
                    .decision(decision)
                    .also(json!({"outcome": "dropped", "why": expect::reason("PKT_TOO_BIG")})),
            ),
        );
    }
    case
}

#[test]
fn too_big_for_the_next_device() -> Result<()> {
    too_big().run(Load::Quiet)?.agree()
}

#[test]
fn refused_on_the_way_through() -> Result<()> {
    forwarded().run(Load::Quiet)?.agree()
}

#[test]
fn refused_to_a_socket_of_the_node() -> Result<()> {
    local().run(Load::Quiet)?.agree()
}

#[test]
fn delivered_here() -> Result<()> {
    delivered().run(Load::Quiet)?.agree()?;
    delivered_by_rule(0).run(Load::Quiet)?.agree()?;
    delivered_by_rule(1).run(Load::Quiet)?.agree()
}
