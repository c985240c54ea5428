//! An IPv6 cluster without overlay. The provider's /59 covers all node prefixes, but the interfaces
//! carry a /64, so the peer node is not on-link, no direct route for its `PodCIDR` can be installed,
//! and pod traffic follows the default route to a router that knows no `PodCIDR`.
//!
//! ```text
//! p1 2001:db8:44:1::10 -- n1 2001:db8:0:a0::1 ==br0(fab, router fe80::1)== n2 2001:db8:0:a1::1 -- p2 2001:db8:44:2::20
//! ```

use super::{Mode, Scenario};
use crate::Topology;
use crate::traffic::{Ping, Plan, Tcp, Udp};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipv6-prefix",
    about: "an interface prefix that is too long, so the peer node is not on-link",
    modes: MODES,
    topology,
    traffic,
};

const MODES: &[Mode] = &[
    Mode {
        name: "default",
        healthy: false,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2. The nodes' interfaces have a /64 \
                   instead of the provider's /59, so n1 has no direct route to n2's pods and sends \
                   to a router that does not know them; not even its ICMPv6 error comes back.",
        lost: &["udp6", "udp6-connected", "tcp6"],
        either: &[],
    },
    Mode {
        name: "icmp",
        healthy: false,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2. The nodes' interfaces have a /64 \
                   instead of the provider's /59, so n1 sends to a router that knows only n1's \
                   pods; its ICMPv6 \"no route\" comes back.",
        lost: &["udp6", "udp6-connected", "tcp6"],
        either: &[],
    },
    Mode {
        name: "nodefault",
        healthy: false,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2. The nodes' interfaces have a /64 \
                   instead of the provider's /59 and there is no default route, so n1 itself has no \
                   route.",
        lost: &["udp6", "udp6-connected", "tcp6", "nodes"],
        either: &[],
    },
    Mode {
        name: "ok",
        healthy: true,
        describe: "Pod p1 on node n1 talks to pod p2 on node n2. The nodes' interfaces have the \
                   provider's /59 and direct routes to each other's pods. Nothing is broken.",
        lost: &[],
        either: &[],
    },
];

fn topology(mode: &str) -> Topology {
    let length = if mode == "ok" { 59 } else { 64 };
    Topology::new("ipv6-prefix")
        .ns(&["fab", "n1", "n2"])
        .forwarding(&["fab", "n1", "n2"])
        .veth(("n1", "eth0", "02:00:00:00:00:01"), ("fab", "pn1"))
        .veth(("n2", "eth0", "02:00:00:00:00:02"), ("fab", "pn2"))
        .bridge("fab", "br0", &["pn1", "pn2"])
        .addr("fab", "br0", &["fe80::1/64", "2001:db8:0:bf::1/128"])
        .route("fab", "2001:db8:0:a0::/59 dev br0")
        .when(mode == "icmp", |lab| {
            lab.route("fab", "2001:db8:44:1::/64 via 2001:db8:0:a0::1 dev br0")
        })
        .addr("n1", "eth0", &[&format!("2001:db8:0:a0::1/{length}")])
        .addr("n2", "eth0", &[&format!("2001:db8:0:a1::1/{length}")])
        .when(mode != "nodefault", |lab| {
            lab.route("n1", "default via fe80::1 dev eth0")
                .route("n2", "default via fe80::1 dev eth0")
        })
        .pod("n1", "p1", "10.244.1.10", Some("2001:db8:44:1::10"))
        .pod("n1", "p1b", "10.244.1.11", Some("2001:db8:44:1::11"))
        .pod("n2", "p2", "10.244.2.20", Some("2001:db8:44:2::20"))
        // a CNI installs these only when the peer is on-link
        .when(mode == "ok", |lab| {
            lab.route("n1", "2001:db8:44:2::/64 via 2001:db8:0:a1::1 dev eth0")
                .route("n2", "2001:db8:44:1::/64 via 2001:db8:0:a0::1 dev eth0")
        })
}

fn traffic(_mode: &str) -> Plan {
    Plan::new()
        .echo("p2", "2001:db8:44:2::20")
        .echo("p1b", "2001:db8:44:1::11")
        .flow("same-node", "p1", Udp::to("[2001:db8:44:1::11]:7").count(2))
        .flow("udp6", "p1", Udp::to("[2001:db8:44:2::20]:7"))
        .flow(
            "udp6-connected",
            "p1",
            Udp::to("[2001:db8:44:2::20]:7").connect(),
        )
        .flow("tcp6", "p1", Tcp::to("[2001:db8:44:2::20]:8"))
        .flow("nodes", "n1", Ping::to("2001:db8:0:a1::1"))
}
