//! The labs of the incidents, and of a router.

use std::time::Duration;

use anyhow::Result;
use harness::{Lab, deadline};

use super::{Case, NATIVE, NONE, TUNNEL};

fn neighbours_failed(lab: &Lab) -> Result<()> {
    deadline::wait_for(
        "the failure of both neighbours",
        Duration::from_secs(10),
        || {
            let failed = lab.node().exec(&["ip", "neigh", "show", "nud", "failed"])?;
            let both = ["10.244.2.20 ", "fd44:2::20 "]
                .iter()
                .all(|ip| failed.contains(ip));
            Ok(both.then_some(()))
        },
    )
}

const PROVIDER: &[&str] = &["--node-cidr", "2001:db8:0:a0::/59"];

pub(crate) const INCIDENTS: &[Case] = &[
    Case {
        lab: "native-tunnel:tunnel",
        live: &["warning tunnel-in-native-mode"],
        audit: &["warning tunnel-in-native-mode"],
        ..NONE
    },
    Case {
        lab: "native-tunnel:tunnel",
        meant: NATIVE,
        live: &["tunnel-in-native-mode"],
        audit: &["tunnel-in-native-mode"],
        says: &[
            "10.244.2.0/24",
            "vxlan7",
            "ip route del 10.244.2.0/24 via 10.244.2.0 dev vxlan7",
        ],
        says_audit: &["metric 10", "vxlan7"],
        ..NONE
    },
    Case {
        lab: "native-tunnel:tunnel",
        meant: TUNNEL,
        ..NONE
    },
    Case {
        lab: "native-tunnel:md",
        live: &["warning tunnel-in-native-mode"],
        audit: &["warning tunnel-in-native-mode"],
        ..NONE
    },
    Case {
        lab: "native-tunnel:both",
        meant: TUNNEL,
        ..NONE
    },
    Case {
        lab: "native-tunnel:native",
        ..NONE
    },
    Case {
        lab: "native-tunnel:native",
        meant: NATIVE,
        ..NONE
    },
    Case {
        lab: "native-tunnel:native",
        meant: TUNNEL,
        live: &["native-in-tunnel-mode"],
        audit: &["native-in-tunnel-mode"],
        says: &["eth0", "10.244.2.20"],
        says_audit: &["10.244.2.0/24 via 10.0.0.2 dev eth0"],
        ..NONE
    },
    Case {
        lab: "aws-eni:srccheck",
        live: &["duplicate-default", "wrong-egress", "wrong-egress"],
        // IPv6 has one default route, and no rule for the addresses of the other device
        audit: &["warning duplicate-default", "warning wrong-egress"],
        says: &[
            "ens6",
            "ip route del default via 10.0.0.1 dev ens6 metric 100",
            "ip route add default via 10.0.0.1 dev ens6 table 100",
            "ip rule add from 10.0.0.66 lookup 100",
        ],
        says_audit: &["ip rule add from 10.0.0.6 lookup 100"],
        ..NONE
    },
    Case {
        lab: "aws-eni:rpfilter",
        live: &["duplicate-default", "wrong-egress", "rp-filter"],
        audit: &[
            "warning duplicate-default",
            "warning wrong-egress",
            "warning rp-filter",
        ],
        says: &["ip rule add from 10.0.0.66 lookup 100"],
        ..NONE
    },
    Case {
        lab: "aws-eni:ecmp",
        // the one flow of IPv6 takes the right device as often as not
        by_hash: true,
        live: &["wrong-egress"],
        ..NONE
    },
    Case {
        lab: "aws-eni:ok",
        ..NONE
    },
    Case {
        lab: "overlapping-vpc:default",
        live: &[
            "tunnel-unanswered",
            "info overlapping-address",
            "info overlapping-address",
        ],
        ..NONE
    },
    Case {
        lab: "overlapping-vpc:ok",
        ..NONE
    },
    Case {
        lab: "ipv6-prefix:default",
        live: &["onlink-prefix-mismatch"],
        says: &[
            "2001:db8:44:2::/64",
            "fe80::1",
            "2001:db8:0:a0::1/64",
            "ip -6 route get 2001:db8:44:2::20 from 2001:db8:44:1::10 iif lxc-p1",
        ],
        ..NONE
    },
    Case {
        lab: "ipv6-prefix:default",
        meant: PROVIDER,
        live: &["onlink-prefix-mismatch"],
        audit: &["onlink-prefix-mismatch"],
        says: &["ip -6 route add 2001:db8:0:a0::/59 dev eth0"],
        says_audit: &[
            "2001:db8:0:a0::1/64",
            "ip -6 route add 2001:db8:0:a0::/59 dev eth0",
        ],
        ..NONE
    },
    Case {
        lab: "ipv6-prefix:ok",
        meant: PROVIDER,
        ..NONE
    },
    Case {
        lab: "ipv6-prefix:icmp",
        live: &["onlink-prefix-mismatch"],
        ..NONE
    },
    Case {
        lab: "ipv6-prefix:nodefault",
        live: &["onlink-prefix-mismatch", "no-route", "no-route"],
        ..NONE
    },
    Case {
        lab: "encap-loss:toobig",
        live: &["encap-mtu", "encap-mtu"],
        ..NONE
    },
    Case {
        lab: "encap-loss:blackhole",
        live: &["policy-drop", "encap-mtu", "encap-mtu"],
        says: &["packet too big", "10.244.1.10", "nft list ruleset"],
        ..NONE
    },
    Case {
        lab: "encap-loss:underlay",
        live: &["encap-mtu", "encap-mtu", "encap-mtu"],
        audit: &["warning encap-mtu"],
        says: &["ip link set vxlan1 mtu 1450", "50 bytes"],
        says_audit: &["ip link set vxlan1 mtu 1450"],
        ..NONE
    },
    Case {
        lab: "encap-loss:fabricmtu",
        live: &["encap-mtu"],
        says: &["10.0.0.2", "ping -M do -s"],
        ..NONE
    },
    Case {
        lab: "encap-loss:fw",
        // the pods' MTU is too large here as well
        live: &["tunnel-unanswered", "encap-mtu", "encap-mtu"],
        says: &["8472", "10.0.0.2", "VNI 1"],
        ..NONE
    },
    Case {
        lab: "encap-loss:fwnode",
        live: &["tunnel-unanswered", "encap-mtu", "encap-mtu"],
        ..NONE
    },
    Case {
        lab: "encap-loss:neigh",
        live: &["neigh-unresolved", "neigh-unresolved"],
        says: &["10.244.2.0/24", "ip route replace 10.244.2.0/24 via"],
        settled: neighbours_failed,
        ..NONE
    },
    Case {
        lab: "encap-loss:unknown",
        live: &["left-unanswered", "left-unanswered"],
        ..NONE
    },
    Case {
        lab: "encap-loss:fdb",
        live: &["fdb-missing", "encap-mtu", "encap-mtu"],
        audit: &["fdb-missing"],
        says_audit: &["bridge fdb append 02:77:00:00:00:02 dev vxlan1 dst"],
        ..NONE
    },
    Case {
        lab: "encap-loss:ok",
        meant: TUNNEL,
        ..NONE
    },
    Case {
        lab: "encap-loss:near",
        ..NONE
    },
    Case {
        lab: "router:ok",
        ..NONE
    },
];
