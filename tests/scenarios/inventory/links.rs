//! Links and addresses.

use std::{collections::BTreeSet, net::IpAddr};

use crate::lab::*;
use serde_json::Value;
use tracer::inventory::{Link, LinkKind, Netns};

#[test]
fn links_and_addresses_are_those_of_ip() {
    let lab = rich();
    let netns = lab.read("a");
    let links = lab.json("a", "-d link show");
    assert_eq!(netns.links.len(), links.len());
    let index = |name: &str| netns.link_named(name).map(|l| l.ifindex);
    for expected in &links {
        let name = text(expected, "ifname");
        let link = netns.link_named(&name).unwrap();
        assert_eq!(
            u64::from(link.ifindex.0),
            number(expected, "ifindex"),
            "{name}"
        );
        assert_eq!(u64::from(link.mtu), number(expected, "mtu"), "{name}");
        assert_eq!(link.up, has_flag(expected, "UP"), "{name}");
        assert_eq!(link.carrier, has_flag(expected, "LOWER_UP"), "{name}");
        assert_eq!(link.master, index(&text(expected, "master")), "{name}");
        if ["ether", "loopback"].contains(&expected["link_type"].as_str().unwrap()) {
            assert_eq!(link.mac, text(expected, "address"), "{name}");
        }
        let kind = text(&expected["linkinfo"], "info_kind");
        assert!(
            kind.is_empty() || kind == link.kind.name(),
            "{name}: {kind} {:?}",
            link.kind
        );
        settings(link, &expected["linkinfo"]["info_data"]);
    }
    let found: BTreeSet<String> = netns
        .addresses()
        .map(|(l, a)| format!("{} {}/{} {}", l.name, a.address, a.prefix_len, a.scope))
        .collect();
    let expected: BTreeSet<String> = lab
        .json("a", "addr show")
        .iter()
        .flat_map(|l| {
            let addresses = l["addr_info"].as_array().unwrap().iter();
            addresses.map(|a| {
                // `global` is a name for 0, also with -N
                let scope = match text(a, "scope").as_str() {
                    "global" => "0".into(),
                    "link" => "253".into(),
                    "host" => "254".into(),
                    n => n.to_owned(),
                };
                let (name, len) = (text(l, "ifname"), number(a, "prefixlen"));
                format!("{name} {}/{len} {scope}", text(a, "local"))
            })
        })
        .collect();
    assert_eq!(found, expected);
    pairs_and_lower_devices(&lab, &netns);
}

/// The settings of a tunnel, VLAN or VRF.
fn settings(link: &Link, data: &Value) {
    let address = |key: &str| -> Option<IpAddr> {
        let both = [text(data, key), text(data, &format!("{key}6"))];
        both.iter().find_map(|a| a.parse().ok())
    };
    match &link.kind {
        LinkKind::Vxlan {
            vni,
            port,
            local,
            remote,
        } => {
            let id = data["id"]
                .as_u64()
                .filter(|_| data.get("external").is_none());
            assert_eq!(vni.map(u64::from), id, "{}", link.name);
            assert_eq!(u64::from(*port), number(data, "port"), "{}", link.name);
            assert_eq!((*local, *remote), (address("local"), address("remote")));
        }
        LinkKind::Geneve { vni, port, remote } => {
            assert_eq!(vni.map(u64::from), data["id"].as_u64());
            assert_eq!(
                (u64::from(*port), *remote),
                (number(data, "port"), address("remote"))
            );
        }
        LinkKind::Tunnel { local, remote, .. } => {
            assert_eq!(
                (*local, *remote),
                (address("local"), address("remote")),
                "{}",
                link.name
            );
        }
        LinkKind::Vlan { id } => assert_eq!(u64::from(*id), number(data, "id")),
        LinkKind::Vrf { table } => assert_eq!(u64::from(*table), number(data, "table")),
        _ => {}
    }
}

fn pairs_and_lower_devices(lab: &Lab, netns: &Netns) {
    let link = |name: &str| netns.link_named(name).unwrap();
    let far = lab.read("b");
    assert_eq!(link("eth0").peer, far.link_named("far").map(|l| l.ifindex));
    assert_eq!(link("eth0").peer_netns, Some(far.id));
    assert_eq!(link("v1").peer, Some(link("v2").ifindex));
    assert_eq!(link("v1").peer_netns, None);
    for name in ["mv0", "vx0"] {
        assert_eq!(link(name).lower, Some(link("eth0").ifindex), "{name}");
    }
    if let Some(vlan) = netns.link_named("eth0.5") {
        assert_eq!(vlan.lower, Some(link("eth0").ifindex));
    }
    assert_eq!(link("vx6").lower, None);
    assert_eq!(link("vxe").kind.vni(), None);
}
