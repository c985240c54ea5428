//! One fault of the node or of its pod at a time, each with nothing else wrong.
//!
//! ```text
//! p1 10.244.1.10 -- lxc-p1 n1 10.0.0.1 eth0 -- eth0 10.0.0.9 ext (and a remote pod 10.244.2.20)
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Plan, Tcp, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "node-faults",
    about: "one fault of a node or its pod at a time",
    modes: MODES,
    topology,
    traffic,
};

const OUT: &[&str] = &["udp4", "udp6", "tcp4"];
const UDP: &[&str] = &["udp4", "udp6", "in4", "in6"];
const ALL: &[&str] = &["udp4", "udp6", "tcp4", "in4", "in6"];

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
    Mode {
        name: "ok",
        healthy: true,
        describe: "Pod p1 on node n1 talks to a pod on another node, and that node to p1. n1 has a \
                   blackhole for what belongs to none of its pods, as CNIs install it, and a firewall \
                   that drops what nobody sends. Nothing is broken.",
        lost: &[],
        either: &[],
    },
    Mode {
        name: "near",
        healthy: true,
        describe: "Pod p1 on node n1 talks to a pod on another node, and that node to p1. p1 sends with a \
                   TTL and hop limit of 2, which is enough; some datagrams have no checksum, which IPv4 \
                   allows; a socket with a small buffer gets one datagram; traceroute's probe finds \
                   nobody, as it should; a multicast is dropped by the firewall. Nothing is broken.",
        lost: &["probe4", "one4", "mcast4"],
        either: &[],
    },
    broken(
        "forwarding",
        ALL,
        "Pod p1 on node n1 talks to a pod on another node, and that node to p1. Forwarding is off on \
         n1, IPv4 and IPv6.",
    ),
    broken(
        "blackhole",
        OUT,
        "Pod p1 on node n1 talks to a pod on another node. n1 has a blackhole for that node's PodCIDRs.",
    ),
    broken(
        "refused",
        OUT,
        "Pod p1 on node n1 talks to a pod on another node. n1's routes to that node's PodCIDRs are of \
         the types prohibit (IPv4) and unreachable (IPv6).",
    ),
    broken(
        "policy",
        UDP,
        "Pod p1 on node n1 talks to a pod on another node, and that node to p1. A netfilter rule on n1 \
         drops forwarded packets for UDP port 7.",
    ),
    broken(
        "hoplimit",
        ALL,
        "Pod p1 on node n1 talks to a pod on another node, and that node to p1. p1 sends with a TTL \
         and hop limit of 1, so n1 drops everything from it.",
    ),
    broken(
        "nolistener",
        &["closed4", "closed6", "closedtcp"],
        "A node talks to ports of pod p1 on node n1 that nobody listens on.",
    ),
    broken(
        "rcvbuf",
        &["deaf4", "deaf6"],
        "A node sends datagrams to a socket of pod p1 on node n1 that has a small buffer and is never \
         read.",
    ),
    broken(
        "martian",
        &["spoofed4"],
        "A node sends to pod p1 on node n1 with a source address that is one of n1's own.",
    ),
    broken(
        "csum",
        &["in4", "in6"],
        "A node sends to pod p1 on node n1. On the way checksums of its datagrams are damaged.",
    ),
];

const N1: &str = "02:00:00:00:00:01";
const EXT: &str = "02:00:00:00:00:09";

fn topology(mode: &str) -> Topology {
    let lab = Topology::new("node-faults")
        .ns(&["ext", "n1"])
        .forwarding(&["n1"])
        .veth(("n1", "eth0", N1), ("ext", "eth0", EXT))
        .addr("n1", "eth0", &["10.0.0.1/24", "10.0.0.3/24", "fd00::1/64"])
        .addr("ext", "eth0", &["10.0.0.9/24", "fd00::9/64"])
        .addr("ext", "lo", &["10.244.2.20/32", "fd44:2::20/128"])
        .neigh("ext", "eth0", "10.0.0.1", N1)
        .neigh("n1", "eth0", "10.0.0.9", EXT)
        .route("ext", "10.244.1.0/24 via 10.0.0.1")
        .route("ext", "fd44:1::/64 via fd00::1")
        .pod("n1", "p1", "10.244.1.10", Some("fd44:1::10"));
    let lab = match mode {
        "blackhole" => lab
            .route("n1", "blackhole 10.244.2.0/24")
            .route("n1", "blackhole fd44:2::/64"),
        "refused" => lab
            .route("n1", "prohibit 10.244.2.0/24")
            .route("n1", "unreachable fd44:2::/64"),
        _ => lab
            .route("n1", "10.244.2.0/24 via 10.0.0.9")
            .route("n1", "fd44:2::/64 via fd00::9"),
    };
    let lab = fault(lab, mode)
        .reach("n1", "10.0.0.9")
        .reach("n1", "fd00::9");
    match mode {
        "forwarding" | "blackhole" | "refused" | "hoplimit" => lab,
        _ => lab.reach("p1", "10.244.2.20").reach("p1", "fd44:2::20"),
    }
}

fn fault(lab: Topology, mode: &str) -> Topology {
    match mode {
        "ok" => filter(
            lab,
            "forward",
            &["udp dport 7777 counter drop", "counter accept"],
        )
        .route("n1", "blackhole 10.244.1.0/24 proto 80")
        .route("n1", "blackhole fd44:1::/64 proto 80"),
        "near" => filter(
            lab.sysctl("p1", "net.ipv4.ip_default_ttl=2")
                .sysctl("p1", "net.ipv6.conf.eth0.hop_limit=2"),
            "prerouting",
            &[
                "iifname eth0 meta nfproto ipv4 udp dport 7 @th,48,16 set 0",
                "ip daddr 224.0.0.0/4 drop",
            ],
        )
        .route("ext", "224.0.0.0/4 dev eth0"),
        "forwarding" => lab
            .sysctl("n1", "net.ipv4.ip_forward=0")
            .sysctl("n1", "net.ipv6.conf.all.forwarding=0"),
        "policy" => filter(lab, "forward", &["udp dport 7 counter drop"]),
        "hoplimit" => lab
            .sysctl("p1", "net.ipv4.ip_default_ttl=1")
            .sysctl("p1", "net.ipv6.conf.eth0.hop_limit=1"),
        "martian" => lab.addr("ext", "lo", &["10.0.0.3/32"]),
        // behind the sender's and before the receiver's sum; written as raw bytes, because nft
        // corrects the sum of what it changes by name
        "csum" => filter(
            lab.checksums_in_software("ext", "eth0"),
            "prerouting",
            &["iifname eth0 udp dport 7 @th,48,16 set 0xdead"],
        ),
        _ => lab,
    }
}

fn filter(lab: Topology, hook: &str, rules: &[&str]) -> Topology {
    let chain = format!("type filter hook {hook} priority 0; policy accept;");
    lab.nft(
        "n1",
        &format!(
            "table inet fault {{\nchain c {{\n{chain}\n{}\n}}\n}}",
            rules.join("\n")
        ),
    )
}

fn traffic(mode: &str) -> Plan {
    let plan = Plan::new()
        .echo("p1", "10.244.1.10")
        .echo("p1", "fd44:1::10")
        .echo("ext", "10.244.2.20")
        .echo("ext", "fd44:2::20")
        .flow("udp4", "p1", Udp::to("10.244.2.20:7"))
        .flow("udp6", "p1", Udp::to("[fd44:2::20]:7"))
        .flow("tcp4", "p1", Tcp::to("10.244.2.20:8"))
        .flow("in4", "ext", Udp::to("10.244.1.10:7"))
        .flow("in6", "ext", Udp::to("[fd44:1::10]:7"));
    match mode {
        "nolistener" => plan
            .flow("closed4", "ext", Udp::to("10.244.1.10:9"))
            .flow("closed6", "ext", Udp::to("[fd44:1::10]:9"))
            .flow("closedtcp", "ext", Tcp::to("10.244.1.10:9")),
        "rcvbuf" => {
            let burst = |to| Udp::to(to).count(20).size(1000);
            plan.deaf("p1", "10.244.1.10:9")
                .deaf("p1", "[fd44:1::10]:9")
                .flow("deaf4", "ext", burst("10.244.1.10:9"))
                .flow("deaf6", "ext", burst("[fd44:1::10]:9"))
        }
        "near" => plan
            .deaf("p1", "10.244.1.10:9")
            .flow("one4", "ext", Udp::to("10.244.1.10:9").count(1))
            .flow("probe4", "ext", Udp::to("10.244.1.10:33434"))
            .flow("mcast4", "ext", Udp::to("239.1.2.3:5000")),
        "martian" => plan.flow(
            "spoofed4",
            "ext",
            Udp::to("10.244.1.10:7").from(std::net::Ipv4Addr::new(10, 0, 0, 3).into()),
        ),
        _ => plan,
    }
}
