//! An AWS node with two ENIs in one subnet and two default routes of the same metric. The pod's
//! address belongs to the second ENI.
//!
//! ```text
//! ext 10.9.0.9 -- fab (VPC router 10.0.0.1, source check per ENI) == ens5 10.0.0.5 \
//!                                                                 == ens6 10.0.0.6 -- n1 -- p1 10.0.0.66
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Plan, Tcp, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "aws-eni",
    about: "two ENIs, two default routes, and replies that leave by the wrong one",
    modes: MODES,
    topology,
    traffic,
};

const MODES: &[Mode] = &[
    Mode {
        name: "srccheck",
        healthy: false,
        describe: "A client outside talks to pod p1 on node n1, whose address belongs to ens6. Two \
                   default routes have the same metric, replies leave by ens5, and the fabric's \
                   source check drops them beyond the node.",
        lost: &["udp4-6001", "tcp4", "udp6"],
        either: &[],
    },
    Mode {
        name: "rpfilter",
        healthy: false,
        describe: "A client outside talks to pod p1 on node n1, whose address belongs to ens6. The \
                   route back is by ens5 and rp_filter is strict, so n1 drops the requests that \
                   arrive on ens6.",
        lost: &["udp4-6001", "tcp4", "udp6"],
        either: &[],
    },
    Mode {
        name: "ecmp",
        healthy: false,
        describe: "A client outside talks to pod p1 on node n1, whose address belongs to ens6. The \
                   two default routes are one multipath route hashed by the 5-tuple, so some flows \
                   work and the others leave by ens5 and are lost.",
        lost: &[],
        either: &["udp4-", "tcp4", "udp6"],
    },
    Mode {
        name: "ok",
        healthy: true,
        describe: "A client outside talks to pod p1 on node n1, whose address belongs to ens6. A \
                   rule for the pod's address sends replies by ens6, as the AWS CNI does. Nothing is \
                   broken.",
        lost: &[],
        either: &[],
    },
];

const MAC5: &str = "02:00:00:00:00:05";
const MAC6: &str = "02:00:00:00:00:06";
const GATEWAY: &str = "02:00:00:00:00:01";

/// The VPC's source/destination check, ENI by ENI.
const SOURCE_CHECK: &str = "
table bridge vpc {
  chain srccheck {
    type filter hook prerouting priority -200; policy accept;
    iifname pe5 ip saddr != { 10.0.0.5 } counter drop
    iifname pe6 ip saddr != { 10.0.0.6, 10.0.0.66 } counter drop
    iifname pe5 ip6 saddr { fd00::6, fd00::66 } counter drop
  }
}";

fn topology(mode: &str) -> Topology {
    let lab = Topology::new("aws-eni")
        .ns(&["fab", "n1", "ext"])
        .forwarding(&["fab", "n1"]);
    let lab = node(fabric(lab));
    match mode {
        "rpfilter" => lab
            .sysctl("n1", "net.ipv4.conf.ens5.rp_filter=1")
            .sysctl("n1", "net.ipv4.conf.ens6.rp_filter=1"),
        "ecmp" => lab
            .ip("n1", "route del default")
            .ip("n1", "route del default")
            .route(
                "n1",
                "default nexthop via 10.0.0.1 dev ens5 nexthop via 10.0.0.1 dev ens6",
            )
            .ip("n1", "route append default via fd00::1 dev ens6 metric 100")
            .sysctl("n1", "net.ipv4.fib_multipath_hash_policy=1")
            .sysctl("n1", "net.ipv6.fib_multipath_hash_policy=1"),
        "ok" => lab
            .rule("n1", "from 10.0.0.66 lookup 6 pref 1536")
            .rule("n1", "from fd00::66 lookup 6 pref 1536")
            .route("n1", "default via 10.0.0.1 dev ens6 table 6")
            .route("n1", "default via fd00::1 dev ens6 table 6")
            .sysctl("n1", "net.ipv4.conf.ens5.rp_filter=2")
            .sysctl("n1", "net.ipv4.conf.ens6.rp_filter=2"),
        _ => lab,
    }
}

/// The VPC: an address is delivered to the ENI that owns it, whatever ARP says.
fn fabric(lab: Topology) -> Topology {
    lab.veth(("n1", "ens5", MAC5), ("fab", "pe5"))
        .veth(("n1", "ens6", MAC6), ("fab", "pe6"))
        .veth(("ext", "eth0"), ("fab", "pext"))
        .bridge("fab", "br0", &["pe5", "pe6"])
        .ip("fab", &format!("link set br0 address {GATEWAY}"))
        .addr("fab", "br0", &["10.0.0.1/24", "fd00::1/64"])
        .addr("fab", "pext", &["10.9.0.1/24", "fd09::1/64"])
        .neigh("fab", "br0", "10.0.0.5", MAC5)
        .neigh("fab", "br0", "fd00::5", MAC5)
        .neigh("fab", "br0", "10.0.0.6", MAC6)
        .neigh("fab", "br0", "10.0.0.66", MAC6)
        .neigh("fab", "br0", "fd00::6", MAC6)
        .neigh("fab", "br0", "fd00::66", MAC6)
        .fdb("fab", &format!("{MAC5} dev pe5 master static"))
        .fdb("fab", &format!("{MAC6} dev pe6 master static"))
        .nft("fab", SOURCE_CHECK)
        .addr("ext", "eth0", &["10.9.0.9/24", "fd09::9/64"])
        .route("ext", "default via 10.9.0.1")
        .route("ext", "default via fd09::1")
}

/// Two DHCP leases: two default routes, one metric.
fn node(lab: Topology) -> Topology {
    lab.addr("n1", "ens5", &["10.0.0.5/24", "fd00::5/64"])
        .addr("n1", "ens6", &["10.0.0.6/24", "fd00::6/64"])
        .route("n1", "default via 10.0.0.1 dev ens5 metric 100")
        .ip(
            "n1",
            "route append default via 10.0.0.1 dev ens6 metric 100",
        )
        .route("n1", "default via fd00::1 dev ens5 metric 100")
        .neigh("n1", "ens5", "10.0.0.1", GATEWAY)
        .neigh("n1", "ens6", "10.0.0.1", GATEWAY)
        .neigh("n1", "ens5", "fd00::1", GATEWAY)
        .neigh("n1", "ens6", "fd00::1", GATEWAY)
        .pod("n1", "p1", "10.0.0.66", Some("fd00::66"))
}

fn traffic(mode: &str) -> Plan {
    // enough flows that they cannot all hash to the same next hop
    let flows = if mode == "ecmp" { 24 } else { 1 };
    let plan = Plan::new().echo("p1", "10.0.0.66").echo("p1", "fd00::66");
    (1..=flows)
        .map(|flow| 6000 + flow)
        .fold(plan, |plan, sport| {
            let udp = Udp::to("10.0.0.66:7").sport(sport);
            plan.flow(&format!("udp4-{sport}"), "ext", udp)
        })
        .flow("tcp4", "ext", Tcp::to("10.0.0.66:8"))
        .flow("udp6", "ext", Udp::to("[fd00::66]:7"))
}
