//! Policy routing: which rule led to which table.

use anyhow::Result;
use harness::Topology;
use harness::confusion::{Case, Flow, Load, Wanted};
use harness::traffic::Udp;
use serde_json::json;

use crate::lab::{self, A, B1, B2, FAR, MAIN};

/// Main leads to b1; tables from 101 on to b2 (except those that have nothing).
fn topology(name: &str) -> Topology {
    let lab = lab::node(name)
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .route("n1", "fd20::/64 via fd02::2")
        // there, but without a route to the destination
        .route("n1", "10.90.0.0/24 via 10.2.0.2 table 101")
        .route("n1", "fd90::/64 via fd02::2 table 101");
    (102..=110).fold(lab, |lab, table| {
        lab.route("n1", &format!("10.20.0.0/24 via 10.3.0.2 table {table}"))
            .route("n1", &format!("fd20::/64 via fd03::2 table {table}"))
    })
}

fn rules(mut lab: Topology, rules: &[&str]) -> Topology {
    for rule in rules {
        lab = lab
            .ip("n1", &format!("rule add {rule}"))
            .ip6("n1", &format!("rule add {rule}"));
    }
    lab
}

/// Forwarded by b2 because of `rule`.
fn forwarded(name: &str, lab: Topology, rule: u32, table: u32) -> Case {
    let mut case = Case::new(name, lab);
    for family in 0..2 {
        let (src, far) = (A[family], FAR[family]);
        case = case.echo("b2", far).echo("b1", far).flow(
            lab::udp("udp", "a", Udp::to(&lab::at(far, 7)), (Some(src), far))
                .request(lab::looked_up("o2", Some(B2[family]), rule, table)),
        );
    }
    case
}

pub(crate) fn from() -> Case {
    let lab = topology("pfrom")
        .rule("n1", "from 10.1.9.0/24 pref 90 lookup 110")
        .rule("n1", "from fd09::/64 pref 90 lookup 110")
        .rule("n1", "from 10.1.0.0/24 pref 100 lookup 102")
        .rule("n1", "from fd01::/64 pref 100 lookup 102");
    forwarded("rule from", lab, 100, 102)
}

pub(crate) fn to() -> Case {
    let lab = topology("pto")
        .rule("n1", "to 10.20.0.0/24 pref 100 lookup 103")
        .rule("n1", "to fd20::/64 pref 100 lookup 103");
    forwarded("rule to", lab, 100, 103)
}

pub(crate) fn iif() -> Case {
    let lab = rules(
        topology("piif"),
        &["iif o1 pref 100 lookup 102", "iif in pref 101 lookup 103"],
    );
    forwarded("rule iif", lab, 101, 103)
}

/// Several tables without a match, one that does not exist, a throw, and then the match.
pub(crate) fn walk() -> Case {
    let lab = rules(
        topology("pwalk")
            .route("n1", "throw 10.20.0.0/24 table 120")
            .route("n1", "throw fd20::/64 table 120"),
        &[
            "pref 100 lookup 101",
            "pref 110 lookup 119",
            "pref 120 lookup 120",
            "pref 130 lookup 104",
            "pref 140 lookup 105",
        ],
    );
    forwarded("rule walk", lab, 130, 104)
}

/// A default route is not good enough for the first rule.
pub(crate) fn suppress() -> Case {
    let lab = lab::node("psup")
        .route("n1", "default via 10.2.0.2")
        .route("n1", "default via fd02::2")
        .route("n1", "default via 10.3.0.2 table 102")
        .route("n1", "default via fd03::2 table 102");
    let lab = rules(
        lab,
        &[
            "pref 100 lookup main suppress_prefixlength 0",
            "pref 110 lookup 102",
        ],
    );
    forwarded("rule suppress", lab, 110, 102)
}

/// The mark is set before routing and cleared after it, as kube-proxy does.
pub(crate) fn forwarded_mark() -> Case {
    let nft = "table inet m {
      chain pre {
        type filter hook prerouting priority -150;
        iifname in meta mark set 0x10
      }
      chain post {
        type filter hook postrouting priority 300;
        meta mark set 0
      }
    }";
    let lab = rules(
        topology("pfwm").nft("n1", nft),
        &[
            "fwmark 0x20/0xf0 pref 90 lookup 110",
            "fwmark 0x10/0xf0 pref 100 lookup 104",
        ],
    );
    forwarded("rule fwmark set and cleared", lab, 100, 104)
}

/// What only a socket of the node has: mark, device, user, TOS, ports. They differ in nothing else, and
/// one changes the CPU between lookup and packet.
pub(crate) fn sockets() -> Case {
    let lab = rules(
        topology("psock"),
        &[
            "fwmark 0x10 pref 100 lookup 102",
            "oif o2 pref 110 lookup 103",
            "tos 0x10 pref 120 lookup 104",
            "ipproto udp dport 7 sport 7010 pref 130 lookup 105",
            "uidrange 1000-2000 pref 140 lookup 106",
        ],
    );
    let lab = lab
        .rule("n1", "to 10.20.0.9 uidrange 0-0 pref 150 lookup 107")
        .rule("n1", "to fd20::9 uidrange 0-0 pref 150 lookup 107")
        .addr("b2", "lo", &["10.20.0.9/32", "fd20::9/128"]);
    let mut case = Case::new("socket rule", lab);
    for family in 0..2 {
        let (far, nine) = (FAR[family], ["10.20.0.9", "fd20::9"][family]);
        let to = || Udp::to(&lab::at(far, 7));
        let by = |rule, table| lab::looked_up("o2", Some(B2[family]), rule, table);
        let flow = |name: &str, udp: Udp, wanted: Wanted| -> Flow {
            lab::udp(name, "n1", udp, (None, far)).request(wanted)
        };
        case = case
            .echo("b1", far)
            .echo("b2", far)
            .echo("b2", nine)
            .flow(flow("mark", to().mark(0x10), by(100, 102)))
            .flow(flow("oif", to().device("o2"), by(110, 103)))
            .flow(flow("tos", to().tos(0x10), by(120, 104)))
            .flow(flow(
                "moved",
                to().tos(0x10).connect().moves(),
                by(120, 104),
            ))
            .flow(flow("ports", to().sport(7010), by(130, 105)))
            .flow(
                lab::udp("uid", "n1", Udp::to(&lab::at(nine, 7)), (None, nine))
                    .request(by(150, 107)),
            )
            .flow(flow(
                "none",
                to().sport(7011),
                lab::looked_up("o1", Some(B1[family]), MAIN.0, MAIN.1),
            ));
    }
    case
}

/// The dst is cached, two rules lead to its table, and which one applied depends on the user: no
/// preference is better than a wrong one.
pub(crate) fn ambiguous() -> Case {
    let lab = rules(
        topology("pamb"),
        &[
            "uidrange 0-0 pref 100 lookup 102",
            "from all pref 110 lookup 102",
        ],
    );
    let mut case = Case::new("rule not known", lab);
    for family in 0..2 {
        let far = FAR[family];
        let late = Udp::to(&lab::at(far, 7))
            .connect()
            .pause(std::time::Duration::from_millis(300));
        let decision = json!({"rule": null, "table": 102, "type": "unicast", "gateway": B2[family],
            "dev": "o2", "how": "cached",
            "why": "rules 100 and 110 lead there, and which applied depends on what was not seen"});
        case = case.echo("b2", far).flow(
            lab::udp("udp", "n1", late, (None, far))
                .request(Wanted::leaves("o2").decision(decision)),
        );
    }
    case
}

#[test]
fn by_source() -> Result<()> {
    from().run(Load::Quiet)?.agree()
}

#[test]
fn by_destination() -> Result<()> {
    to().run(Load::Quiet)?.agree()
}

#[test]
fn by_input_device() -> Result<()> {
    iif().run(Load::Quiet)?.agree()
}

#[test]
fn after_several_tables() -> Result<()> {
    walk().run(Load::Quiet)?.agree()
}

#[test]
fn past_a_suppressed_default() -> Result<()> {
    suppress().run(Load::Quiet)?.agree()
}

#[test]
fn by_a_mark_that_is_gone_when_the_packet_leaves() -> Result<()> {
    forwarded_mark().run(Load::Quiet)?.agree()
}

#[test]
fn by_what_the_socket_asks_for() -> Result<()> {
    sockets().run(Load::Quiet)?.agree()
}

#[test]
fn no_rule_rather_than_a_wrong_one() -> Result<()> {
    ambiguous().run(Load::Quiet)?.agree()
}
