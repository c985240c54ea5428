//! Exact evaluation of flows and packets.

use crate::{
    event::{Encap, EncapKey, EncapKind, Ifindex, NetnsId, Proto, Tuple},
    filter::{Filter, FlowFacts, PodFacts, Verdict},
    inventory::{Inventory, Link, LinkKind, Netns, Role},
};

fn tuple(proto: Proto, src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    Tuple {
        proto,
        src,
        dst,
        sport,
        dport,
        later_fragment: false,
    }
}

fn vxlan(src: &str, dst: &str) -> Encap {
    Encap {
        key: EncapKey {
            kind: EncapKind::Vxlan,
            vni: Some(42),
        },
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        sport: 50000,
        dport: 8472,
        df: false,
    }
}

fn inventory() -> Inventory {
    let link = Link {
        ifindex: Ifindex(2),
        name: "eth0".to_owned(),
        kind: LinkKind::Physical,
        role: Role::Uplink,
        mtu: 1500,
        up: true,
        carrier: true,
        mac: String::new(),
        master: None,
        lower: None,
        peer: None,
        peer_netns: None,
        addresses: vec![],
    };
    let netns = Netns {
        id: NetnsId(7),
        name: Some("blue".to_owned()),
        pid: Some(1234),
        links: [(Ifindex(2), link)].into(),
        ..Netns::default()
    };
    Inventory {
        netns: [(NetnsId(7), netns)].into(),
        ..Inventory::default()
    }
}

fn verdict(filter: &str, facts: &FlowFacts<'_>) -> Verdict {
    Filter::parse(filter)
        .unwrap()
        .matches_flow(facts, &inventory())
}

#[test]
fn addresses_and_orientation() {
    let t = tuple(Proto::TCP, "10.0.0.1", 40000, "10.0.0.2", 80);
    let facts = FlowFacts::new(&t);
    let table = [
        ("", Verdict::Both),
        ("host 10.0.0.1", Verdict::Both),
        ("src 10.0.0.1", Verdict::Forward),
        ("dst 10.0.0.1", Verdict::Reverse),
        ("dst net 10.0.0.0/8", Verdict::Both),
        ("src 10.0.0.1 and dst port 80", Verdict::Forward),
        ("src 10.0.0.1 and src port 80", Verdict::No),
        ("not src 10.0.0.1", Verdict::Reverse),
        ("not host 10.0.0.1", Verdict::No),
        ("src and dst net 10.0.0.0/24", Verdict::Both),
        ("udp port 80", Verdict::No),
        ("host 10.0.0.1 and host 10.0.0.2", Verdict::Both),
        ("ip6", Verdict::No),
        ("outer host 10.0.0.1", Verdict::No),
        ("vni 42", Verdict::No),
        ("not vni 42", Verdict::Both),
    ];
    for (filter, want) in table {
        assert_eq!(verdict(filter, &facts), want, "{filter}");
    }
    let inv = inventory();
    for (filter, want) in [
        ("src 10.0.0.1", true),
        ("dst 10.0.0.1", false),
        ("src port 80", false),
        ("", true),
    ] {
        let f = Filter::parse(filter).unwrap();
        assert_eq!(f.accepts_packet(&facts, &inv), want, "{filter}");
    }
}

#[test]
fn inner_and_outer() {
    let t = tuple(Proto::TCP, "10.0.0.1", 40000, "10.0.0.2", 80);
    let there = [vxlan("192.0.2.1", "192.0.2.2")];
    let back = [vxlan("192.0.2.2", "192.0.2.1")];
    let facts = FlowFacts {
        encaps: &there,
        reply_encaps: &back,
        ..FlowFacts::new(&t)
    };
    let table = [
        ("host 192.0.2.1", Verdict::Both),
        ("src 192.0.2.1", Verdict::Forward),
        ("outer dst 192.0.2.1", Verdict::Reverse),
        ("inner host 192.0.2.1", Verdict::No),
        ("not host 192.0.2.1", Verdict::No),
        ("not inner host 192.0.2.1", Verdict::Both),
        ("host 10.0.0.1 and outer host 192.0.2.2", Verdict::Both),
        // tried whole on each header
        ("host 10.0.0.1 and host 192.0.2.2", Verdict::No),
        ("src 192.0.2.1 and dst 192.0.2.2", Verdict::Forward),
        ("tcp and host 192.0.2.1", Verdict::Both),
        ("udp port 8472", Verdict::Both),
        ("tcp port 8472", Verdict::No),
        ("outer udp", Verdict::Both),
        ("udp", Verdict::No),
        ("vni 42", Verdict::Both),
        ("not vni 42", Verdict::No),
    ];
    for (filter, want) in table {
        assert_eq!(verdict(filter, &facts), want, "{filter}");
    }
}

#[test]
fn both_sides_of_address_translation() {
    let t = tuple(Proto::UDP, "10.244.1.10", 40000, "10.96.0.10", 80);
    let far = tuple(Proto::UDP, "10.0.0.1", 1024, "10.244.2.20", 8080);
    let there = [vxlan("192.0.2.1", "192.0.2.2")];
    let facts = FlowFacts {
        nat: Some(&far),
        encaps: &there,
        ..FlowFacts::new(&t)
    };
    let table = [
        ("host 10.96.0.10", Verdict::Both),
        ("host 10.244.2.20", Verdict::Both),
        ("src host 10.0.0.1", Verdict::Forward),
        ("src host 10.244.1.10 and dst port 80", Verdict::Forward),
        ("src host 10.244.2.20 and src port 8080", Verdict::Reverse),
        // tried whole on each side
        ("host 10.244.1.10 and host 10.244.2.20", Verdict::No),
        ("not host 10.244.2.20", Verdict::No),
        ("not port 80", Verdict::No),
        (
            "inner host 10.244.2.20 and outer host 192.0.2.2",
            Verdict::Both,
        ),
        (
            "inner host 10.96.0.10 and outer host 192.0.2.2",
            Verdict::Both,
        ),
        ("not inner host 10.244.2.20", Verdict::No),
        ("udp", Verdict::Both),
    ];
    for (filter, want) in table {
        assert_eq!(verdict(filter, &facts), want, "{filter}");
    }
}

#[test]
fn icmp_and_fragments_have_no_ports() {
    let echo = tuple(Proto::ICMP, "10.0.0.1", 80, "10.0.0.2", 8 << 8);
    assert_eq!(verdict("port 80", &FlowFacts::new(&echo)), Verdict::No);
    assert_eq!(
        verdict("not port 80", &FlowFacts::new(&echo)),
        Verdict::Both
    );
    let t = Tuple {
        later_fragment: true,
        ..tuple(Proto::UDP, "10.0.0.1", 0, "10.0.0.2", 0)
    };
    assert_eq!(verdict("port 0", &FlowFacts::new(&t)), Verdict::No);
    assert_eq!(verdict("udp", &FlowFacts::new(&t)), Verdict::Both);
}

#[test]
fn facts() {
    let t = tuple(Proto::TCP, "10.0.0.1", 40000, "10.0.0.2", 80);
    let facts = FlowFacts {
        devs: Some(&[(NetnsId(7), Ifindex(2))]),
        marks: Some(&[0x1234]),
        tables: Some(&[254, 100]),
        reasons: Some(&["NEIGH_FAILED"]),
        dropped: Some(true),
        pods: Some(PodFacts {
            src: &[("default", "web-0")],
            dst: &[("shop", "db-0")],
        }),
        ..FlowFacts::new(&t)
    };
    let yes = [
        "dev eth0",
        "dev eth*",
        "dev *0",
        "dev *",
        "not dev eth1",
        "netns blue",
        "netns 1234",
        "mark 0x1234",
        "mark 0x34/0xff",
        "not mark 0x35/0xff",
        "table main",
        "table 100",
        "reason neigh_failed",
        "reason NEIGH_*",
        "reason *fail*",
        "drop",
        "pod default/web-0",
        "pod */web-*",
        "pod web-0",
        "src pod web-0 and dst pod shop/db-0",
        "dst pod web-0 and src pod shop/db-0",
        "not pod web-1",
        "dev eth0 and src port 80",
        "not table 7",
    ];
    let no = [
        "dev eth",
        "dev eth1",
        "netns red",
        "netns 1235",
        "mark 0x34",
        "table local",
        "reason NEIGH",
        "reason *FAILE",
        "not drop",
        "pod kube-system/web-0",
        "pod default/web",
        "src and dst pod web-0",
        "src pod web-0 and src pod shop/db-0",
        "not pod web-0",
        "drop and udp",
    ];
    for filter in yes {
        assert!(verdict(filter, &facts).is_match(), "{filter}");
    }
    for filter in no {
        assert_eq!(verdict(filter, &facts), Verdict::No, "{filter}");
    }
}

#[test]
fn what_is_not_known_does_not_match() {
    let t = tuple(Proto::TCP, "10.0.0.1", 40000, "10.0.0.2", 80);
    let facts = FlowFacts::new(&t);
    for atom in [
        "dev eth0", "netns 1", "mark 1", "table 1", "reason X", "drop", "pod a/b",
    ] {
        assert_eq!(verdict(atom, &facts), Verdict::No, "{atom}");
        assert_eq!(
            verdict(&format!("not {atom}"), &facts),
            Verdict::No,
            "not {atom}"
        );
        assert_eq!(
            verdict(&format!("tcp or {atom}"), &facts),
            Verdict::Both,
            "tcp or {atom}"
        );
        let never = format!("not (udp and {atom})");
        assert_eq!(verdict(&never, &facts), Verdict::Both, "{never}");
    }
    let clean = FlowFacts {
        dropped: Some(false),
        ..facts
    };
    assert_eq!(verdict("not reason X", &clean), Verdict::Both);
}
