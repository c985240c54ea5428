//! Several next hops: the one that each flow really takes. A lookup event names the first one
//! always, and `ip route get` hashes other values than the packet.

use anyhow::Result;
use harness::Topology;
use harness::confusion::{Case, Load, Wanted};
use harness::traffic::Udp;
use serde_json::json;

use crate::lab::{self, A, B1, B2, FAR, MAIN};

/// Flows of each family: with two next hops the chance that all take the same is 1 in 2048.
const FLOWS: u16 = 12;

fn topology(name: &str) -> Topology {
    lab::node(name)
        .sysctl("n1", "net.ipv4.fib_multipath_hash_policy=1")
        .sysctl("n1", "net.ipv6.fib_multipath_hash_policy=1")
}

/// Each flow takes one of the two, and tracer says which.
fn case(name: &str, lab: Topology, from: &str, hows: &[&str]) -> Case {
    let mut case = Case::new(name, lab);
    for family in 0..2 {
        let far = FAR[family];
        let src = (from == "a").then_some(A[family]);
        let by = |dev: &str, gateway: &str| {
            let mut decision = lab::decision(dev, Some(gateway), MAIN.0, MAIN.1, "");
            decision["how"] = json!(hows);
            decision
        };
        case = case.echo("b1", far).echo("b2", far);
        for number in 0..FLOWS {
            let sport = 7100 + number;
            let udp = Udp::to(&lab::at(far, 7)).sport(sport).count(2);
            case = case.flow(
                lab::udp(&format!("{sport}/"), from, udp, (src, far)).request(
                    Wanted::leaves_among(&["o1", "o2"])
                        .decision_at("o1", by("o1", B1[family]))
                        .decision_at("o2", by("o2", B2[family])),
                ),
            );
        }
    }
    case
}

const HOW: [&str; 2] = ["lookup", "dst"];

pub(crate) fn ecmp() -> Case {
    let lab = topology("ecmp")
        .route(
            "n1",
            "10.20.0.0/24 nexthop via 10.2.0.2 nexthop via 10.3.0.2",
        )
        .route("n1", "fd20::/64 nexthop via fd02::2 nexthop via fd03::2");
    case("ecmp", lab, "a", &HOW)
}

pub(crate) fn local_ecmp() -> Case {
    let lab = topology("ecmpl")
        .route(
            "n1",
            "10.20.0.0/24 nexthop via 10.2.0.2 nexthop via 10.3.0.2",
        )
        .route("n1", "fd20::/64 nexthop via fd02::2 nexthop via fd03::2");
    case("ecmp local", lab, "n1", &HOW)
}

pub(crate) fn group() -> Case {
    let lab = topology("nhg")
        .ip("n1", "nexthop add id 1 via 10.2.0.2 dev o1")
        .ip("n1", "nexthop add id 2 via 10.3.0.2 dev o2")
        .ip("n1", "nexthop add id 10 group 1/2")
        .ip("n1", "nexthop add id 61 via fd02::2 dev o1")
        .ip("n1", "nexthop add id 62 via fd03::2 dev o2")
        .ip("n1", "nexthop add id 60 group 61/62")
        .route("n1", "10.20.0.0/24 nhid 10")
        .route("n1", "fd20::/64 nhid 60");
    case("nexthop group", lab, "a", &HOW)
}

/// A single nexthop object.
pub(crate) fn object() -> Case {
    let lab = lab::node("nho")
        .ip("n1", "nexthop add id 2 via 10.3.0.2 dev o2")
        .ip("n1", "nexthop add id 62 via fd03::2 dev o2")
        .route("n1", "10.20.0.0/24 nhid 2")
        .route("n1", "fd20::/64 nhid 62");
    let mut case = Case::new("nexthop object", lab);
    for family in 0..2 {
        let (src, far) = (A[family], FAR[family]);
        case = case.echo("b2", far).flow(
            lab::udp("udp", "a", Udp::to(&lab::at(far, 7)), (Some(src), far)).request(
                lab::looked_up("o2", Some(B2[family]), MAIN.0, MAIN.1)
                    .route_get(&format!("{far} from {src} iif in")),
            ),
        );
    }
    case
}

/// Two default routes of one metric: IPv4 takes the first, IPv6 makes one multipath route of them.
pub(crate) fn equal_defaults() -> Case {
    let lab = topology("eqd")
        .ip(
            "n1",
            "route append default via 10.2.0.2 dev o1 metric 100 proto dhcp",
        )
        .ip(
            "n1",
            "route append default via 10.3.0.2 dev o2 metric 100 proto dhcp",
        )
        .ip6(
            "n1",
            "route append default via fd02::2 dev o1 metric 100 proto ra",
        )
        .ip6(
            "n1",
            "route append default via fd03::2 dev o2 metric 100 proto ra",
        );
    case("equal defaults", lab, "a", &HOW)
}

#[test]
fn equal_cost() -> Result<()> {
    ecmp().run(Load::Quiet)?.agree()
}

#[test]
fn equal_cost_of_the_nodes_own_packets() -> Result<()> {
    local_ecmp().run(Load::Quiet)?.agree()
}

#[test]
fn a_group_of_nexthop_objects() -> Result<()> {
    group().run(Load::Quiet)?.agree()
}

#[test]
fn one_nexthop_object() -> Result<()> {
    object().run(Load::Quiet)?.agree()
}

#[test]
fn default_routes_of_equal_metric() -> Result<()> {
    equal_defaults().run(Load::Quiet)?.agree()
}
