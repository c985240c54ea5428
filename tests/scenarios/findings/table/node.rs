//! One fault of a node at a time, and configurations.

use super::{Case, NATIVE, NONE, TUNNEL};

const NODES: &[&str] = &["--node-cidr", "10.0.0.0/24", "--node-cidr", "fd00::/59"];

pub(crate) const NODE: &[Case] = &[
    Case {
        lab: "node-faults:ok",
        meant: NATIVE,
        ..NONE
    },
    Case {
        lab: "node-faults:near",
        meant: NATIVE,
        ..NONE
    },
    Case {
        lab: "node-faults:forwarding",
        live: &["forwarding-disabled", "forwarding-disabled"],
        audit: &["forwarding-disabled", "forwarding-disabled"],
        says: &["sysctl -w net.ipv4.ip_forward=1"],
        says_audit: &["sysctl -w net.ipv4.ip_forward=1", "10.244.1.10"],
        ..NONE
    },
    Case {
        lab: "node-faults:blackhole",
        meant: NATIVE,
        live: &["blackhole-route", "blackhole-route"],
        audit: &["warning blackhole-route", "warning blackhole-route"],
        says: &["blackhole 10.244.2.0/24"],
        says_audit: &["ip route del blackhole 10.244.2.0/24"],
        ..NONE
    },
    Case {
        lab: "node-faults:refused",
        meant: NATIVE,
        live: &["blackhole-route", "blackhole-route"],
        audit: &["warning blackhole-route", "warning blackhole-route"],
        says: &["prohibit 10.244.2.0/24"],
        ..NONE
    },
    Case {
        lab: "node-faults:policy",
        live: &["policy-drop", "policy-drop"],
        ..NONE
    },
    Case {
        lab: "node-faults:hoplimit",
        live: &["hop-limit", "hop-limit"],
        says: &["TTL", "lxc-p1"],
        ..NONE
    },
    Case {
        lab: "node-faults:nolistener",
        live: &["no-listener", "no-listener", "no-listener"],
        ..NONE
    },
    Case {
        lab: "node-faults:rcvbuf",
        live: &["rcvbuf-full", "rcvbuf-full"],
        ..NONE
    },
    Case {
        lab: "node-faults:martian",
        live: &["martian-source"],
        says: &["10.0.0.3", "eth0"],
        ..NONE
    },
    Case {
        lab: "node-faults:csum",
        live: &["csum"],
        needs_reasons: true,
        ..NONE
    },
    Case {
        lab: "config:ok",
        meant: NATIVE,
        ..NONE
    },
    Case {
        lab: "config:near",
        ..NONE
    },
    Case {
        lab: "config:near",
        meant: &[
            "--mode",
            "native",
            "--pod-cidr",
            "10.244.0.0/16",
            "--pod-cidr",
            "fd44::/16",
            "--node-cidr",
            "10.0.0.0/24",
            "--node-cidr",
            "fd00::/59",
        ],
        ..NONE
    },
    Case {
        lab: "config:tunnelled",
        meant: NATIVE,
        audit: &["tunnel-in-native-mode"],
        says_audit: &[
            "vxlan9",
            "ip route replace 10.244.2.0/24 via 10.0.0.2 dev eth0",
        ],
        ..NONE
    },
    Case {
        lab: "config:tunnelled",
        meant: TUNNEL,
        ..NONE
    },
    Case {
        lab: "config:prefix",
        ..NONE
    },
    Case {
        lab: "config:prefix",
        meant: NODES,
        audit: &["onlink-prefix-mismatch", "onlink-prefix-mismatch"],
        says_audit: &["10.0.0.1/28", "ip route add 10.0.0.0/24 dev eth0"],
        ..NONE
    },
    Case {
        lab: "config:norule",
        audit: &["warning wrong-egress", "warning wrong-egress"],
        says_audit: &["ip rule add from 10.1.0.1 lookup 6"],
        ..NONE
    },
    Case {
        lab: "config:emptytable",
        audit: &["warning wrong-egress", "warning wrong-egress"],
        says_audit: &["table 6", "10.244.1.10"],
        ..NONE
    },
    Case {
        lab: "config:onesubnet",
        audit: &["warning wrong-egress", "warning wrong-egress"],
        says_audit: &[
            "ip route add default via 10.0.0.14 dev eth1 table 100",
            "ip rule add from 10.0.0.21 lookup 100",
        ],
        ..NONE
    },
    Case {
        lab: "config:twodefaults",
        live: &["warning duplicate-default", "warning duplicate-default"],
        audit: &[
            "warning duplicate-default",
            "warning duplicate-default",
            "warning rp-filter",
        ],
        says: &["ip route del default via 10.1.0.254 dev eth1 metric 100"],
        ..NONE
    },
    Case {
        lab: "config:strict",
        audit: &["warning rp-filter"],
        says_audit: &[
            "eth0",
            "10.244.1.10",
            "sysctl -w net.ipv4.conf.eth0.rp_filter=2",
        ],
        ..NONE
    },
    Case {
        lab: "config:gap",
        audit: &["warning no-route"],
        says_audit: &["10.244.3.0/24", "IPv6"],
        ..NONE
    },
    Case {
        lab: "config:shadowed",
        audit: &["warning blackhole-route", "warning blackhole-route"],
        says_audit: &["10.244.3.0/24 via 10.0.0.3 dev eth0 metric 50"],
        ..NONE
    },
    Case {
        lab: "config:deadhop",
        audit: &["warning neigh-unresolved", "warning neigh-unresolved"],
        says_audit: &["10.0.0.3", "10.244.3.0/24"],
        ..NONE
    },
    Case {
        lab: "config:vtep",
        live: &["warning fdb-inconsistent", "warning fdb-inconsistent"],
        audit: &["warning fdb-inconsistent", "warning fdb-inconsistent"],
        ..NONE
    },
    Case {
        lab: "config:nofdb",
        audit: &["fdb-missing"],
        says_audit: &["02:77:00:00:00:02", "10.244.2.0"],
        ..NONE
    },
    Case {
        lab: "config:mtu",
        live: &["warning encap-mtu"],
        audit: &["warning encap-mtu"],
        ..NONE
    },
    Case {
        lab: "config:twins",
        audit: &["warning overlapping-address", "warning overlapping-address"],
        says_audit: &["10.244.1.10", "lxc-p1 and lxc-p1c"],
        ..NONE
    },
];
