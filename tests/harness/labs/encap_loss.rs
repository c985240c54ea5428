//! What goes wrong around the 50 bytes of VXLAN and around the underlay.
//!
//! ```text
//! p1 10.244.1.10 -- n1 10.0.0.1 ==br0(fab, router 10.0.0.254)== n2 10.0.0.2 -- p2 10.244.2.20
//!                      vxlan1 (VNI 1, UDP 8472)
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Plan, Tcp, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "encap-loss",
    about: "MTU, firewall, neighbour and FDB faults under a VXLAN overlay",
    modes: MODES,
    topology,
    traffic,
};

const LARGE: &[&str] = &["large4", "large6"];
const NO_BULK: &[&str] = &["large4", "large6", "tcp4", "tcp6"];
const ALL: &[&str] = &["small4", "small6", "large4", "large6", "tcp4", "tcp6"];

const fn broken(name: &'static str, lost: &'static [&'static str], describe: &'static str) -> Mode {
    Mode {
        name,
        healthy: false,
        describe,
        lost,
        either: &[],
    }
}

const MODES: &[Mode] = &[
    broken(
        "underlay",
        &["large4", "large6", "tcp4"],
        "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. The tunnel's MTU of 1500 leaves no \
         room for 50 bytes of headers, so n1 drops large packets after it encapsulated them.",
    ),
    broken(
        "toobig",
        LARGE,
        "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. The pods have an MTU of 1500 and \
         the tunnel one of 1450, so n1 answers large packets with \"packet too big\".",
    ),
    broken(
        "blackhole",
        NO_BULK,
        "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. The pods have an MTU of 1500 and \
         the tunnel one of 1450, and a firewall in the pod swallows n1's \"packet too big\", so TCP \
         retransmits for ever.",
    ),
    broken(
        "fabricmtu",
        NO_BULK,
        "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. A link in the fabric has an MTU of \
         1400, so large packets leave n1 and never arrive.",
    ),
    broken(
        "fw",
        ALL,
        "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. A firewall in the fabric drops UDP \
         8472, so every packet leaves n1 and none arrives.",
    ),
    broken(
        "fwnode",
        ALL,
        "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. A firewall on n2 drops UDP 8472, so \
         every packet leaves n1 and nothing comes back.",
    ),
    broken(
        "neigh",
        ALL,
        "Pod p1 on node n1 talks to pod p2 on node n2, natively routed. The route to n2's pods has no \
         gateway, so n1 asks for the pods' own MAC addresses and nobody answers.",
    ),
    broken(
        "unknown",
        ALL,
        "Pod p1 on node n1 talks to pod p2 on node n2, natively routed. Both nodes send to the \
         fabric's router, which knows no PodCIDR.",
    ),
    broken(
        "fdb",
        ALL,
        "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. n1 has no forwarding entry for the \
         MAC address of n2's tunnel, so the tunnel device drops everything.",
    ),
    Mode {
        name: "ok",
        healthy: true,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN. Pods and tunnel have an \
                   MTU of 1450 over an underlay of 1500. Nothing is broken.",
        lost: &[],
        either: &[],
    },
    Mode {
        name: "near",
        healthy: true,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2 over VXLAN, and p2 answers by native \
                   routing. n1's tunnel has no forwarding entry for n2's MAC address: it floods to two \
                   endpoints. p1 sends syslog to n2, which nobody answers. Nothing is broken.",
        lost: &["syslog4", "syslog6"],
        either: &[],
    },
];

fn topology(mode: &str) -> Topology {
    let lab = Topology::new("encap-loss")
        .ns(&["fab", "n1", "n2"])
        .forwarding(&["fab", "n1", "n2"])
        .veth(("n1", "eth0", "02:00:00:00:00:01"), ("fab", "pn1"))
        .veth(("n2", "eth0", "02:00:00:00:00:02"), ("fab", "pn2"))
        .bridge("fab", "br0", &["pn1", "pn2"])
        .addr("fab", "br0", &["10.0.0.254/24", "fd00::fe/64"])
        .addr("n1", "eth0", &["10.0.0.1/24", "fd00::1/64"])
        .addr("n2", "eth0", &["10.0.0.2/24", "fd00::2/64"])
        .pod("n1", "p1", "10.244.1.10", Some("fd44:1::10"))
        .pod("n2", "p2", "10.244.2.20", Some("fd44:2::20"))
        .offload_off("p1", "eth0")
        .offload_off("p2", "eth0");
    match mode {
        "neigh" => lab
            .route("n1", "10.244.2.0/24 dev eth0")
            .route("n1", "fd44:2::/64 dev eth0")
            .route("n2", "10.244.1.0/24 via 10.0.0.1")
            .route("n2", "fd44:1::/64 via fd00::1"),
        "unknown" => ["n1", "n2"].into_iter().fold(lab, |lab, node| {
            lab.route(node, "default via 10.0.0.254")
                .route(node, "default via fd00::fe")
        }),
        _ => overlay(lab, mode),
    }
}

fn overlay(lab: Topology, mode: &str) -> Topology {
    // with a lower device the kernel would refuse an MTU that does not fit it
    let (mtu, lower) = if mode == "underlay" {
        (1500, "df set")
    } else {
        (1450, "dev eth0")
    };
    let lab =
        [(1, 2), (2, 1)]
            .into_iter()
            .fold(lab, |lab, (here, there)| {
                let ns = &format!("n{here}");
                let (mac, peer) = (
                    format!("02:77:00:00:00:0{here}"),
                    format!("02:77:00:00:00:0{there}"),
                );
                lab.link(
            ns,
            &format!(
                "vxlan1 address {mac} type vxlan id 1 local 10.0.0.{here} {lower} dstport 8472 \
                 nolearning"
            ),
        )
        .ip(ns, &format!("link set vxlan1 mtu {mtu} up"))
        .addr(ns, "vxlan1", &[&format!("10.244.{here}.0/32"), &format!("fe80::77:{here}/64")])
        .when(mode != "near" || here == 1, |lab| {
            lab.route(ns, &format!("10.244.{there}.0/24 via 10.244.{there}.0 dev vxlan1 onlink"))
                .route(ns, &format!("fd44:{there}::/64 via fe80::77:{there} dev vxlan1"))
        })
        .neigh(ns, "vxlan1", &format!("10.244.{there}.0"), &peer)
        .neigh(ns, "vxlan1", &format!("fe80::77:{there}"), &peer)
        .when(!matches!(mode, "fdb" | "near") || here == 2, |lab| {
            lab.fdb(ns, &format!("{peer} dev vxlan1 dst 10.0.0.{there} self permanent"))
        })
            });
    fault(lab, mode).reach("n1", "10.0.0.2")
}

fn fault(lab: Topology, mode: &str) -> Topology {
    match mode {
        "blackhole" => drops(
            lab,
            "p1",
            "inet filter input",
            &[
                "icmp type destination-unreachable",
                "icmpv6 type packet-too-big",
            ],
        ),
        "fw" => drops(lab, "fab", "bridge filter forward", &["udp dport 8472"]),
        "fwnode" => drops(lab, "n2", "inet filter input", &["udp dport 8472"]),
        // two switches with a narrow link between them: lost beyond both nodes
        "fabricmtu" => lab
            .link("fab", "m1 mtu 1400 type veth peer name m2 mtu 1400")
            .ip("fab", "link set m1 master br0 up")
            .bridge("fab", "br1", &["m2", "pn2"]),
        "ok" => ["p1", "p2"]
            .into_iter()
            .fold(lab, |lab, pod| lab.ip(pod, "link set eth0 mtu 1450")),
        "near" => near(lab),
        _ => lab,
    }
}

/// Drops what matches at `place`: family, type and hook of an nftables chain.
fn drops(lab: Topology, ns: &str, place: &str, matches: &[&str]) -> Topology {
    let mut words = place.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (family, kind, hook) = (word(), word(), word());
    let rules: Vec<_> = matches
        .iter()
        .map(|rule| format!("{rule} counter drop"))
        .collect();
    let chain = format!("type {kind} hook {hook} priority 0; policy accept;");
    let rules = rules.join("\n");
    lab.nft(
        ns,
        &format!("table {family} fault {{\nchain c {{\n{chain}\n{rules}\n}}\n}}"),
    )
}

/// The way back is native, and every packet is flooded: to n2, and to one that ignores it.
fn near(lab: Topology) -> Topology {
    let all = "00:00:00:00:00:00 dev vxlan1 dst";
    let lab = drops(lab, "fab", "inet filter input", &["udp dport 8472"])
        .bridge_command("n1", &format!("fdb append {all} 10.0.0.2 self permanent"))
        .bridge_command("n1", &format!("fdb append {all} 10.0.0.254 self permanent"))
        .route("n2", "10.244.1.0/24 via 10.0.0.1")
        .route("n2", "fd44:1::/64 via fd00::1");
    ["p1", "p2"]
        .into_iter()
        .fold(lab, |lab, pod| lab.ip(pod, "link set eth0 mtu 1450"))
}

fn traffic(mode: &str) -> Plan {
    let (v4, v6) = ("10.244.2.20:7", "[fd44:2::20]:7");
    // fits the pod's MTU and not the way; small enough for IPv6 and the way where that is sound
    let size = match mode {
        "fabricmtu" => 1380,
        "ok" | "near" => 1400,
        _ => 1440,
    };
    let large = |to| Udp::to(to).count(2).size(size).dont_fragment();
    let plan = Plan::new();
    let plan = if mode == "near" {
        plan.deaf("n2", "10.0.0.2:514")
            .deaf("n2", "[fd00::2]:514")
            .flow("syslog4", "p1", Udp::to("10.0.0.2:514").count(20))
            .flow("syslog6", "p1", Udp::to("[fd00::2]:514").count(20))
    } else {
        plan
    };
    plan.echo("p2", "10.244.2.20")
        .echo("p2", "fd44:2::20")
        .flow("small4", "p1", Udp::to(v4).count(2))
        .flow("small6", "p1", Udp::to(v6).count(2))
        .then()
        .flow("large4", "p1", large(v4))
        .flow("large6", "p1", large(v6))
        .then()
        .flow("tcp4", "p1", Tcp::to("10.244.2.20:8").bytes(100_000))
        .flow("tcp6", "p1", Tcp::to("[fd44:2::20]:8").bytes(100_000))
}
