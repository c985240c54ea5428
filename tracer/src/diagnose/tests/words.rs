//! How findings read.

use super::fixtures::all;
use std::fmt::Write as _;

/// The findings of a fixture as text, as a reader gets them.
fn told(fixture: &str) -> String {
    let (_, lab, _) = all()
        .into_iter()
        .find(|(name, ..)| *name == fixture)
        .expect(fixture);
    let mut text = String::new();
    for f in lab.findings() {
        let _ = writeln!(text, "{} {}: {}", f.severity.name(), f.id, f.summary);
        for line in &f.evidence {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(text, "  next: {}", f.next);
    }
    text
}

#[test]
fn the_ipv6_incident_names_prefixes_router_and_device() {
    let text = told("IPv6 prefix too long, default route");
    for part in [
        "n1 has no route for 2001:db8:44:2::/64",
        "default route to fe80::1 on eth0",
        "2001:db8:0:a0::1/64 makes only 2001:db8:0:a0::/64 on-link",
        "ip -6 route get 2001:db8:44:2::20 from 2001:db8:44:1::10 iif lxc-p1",
        "nothing comes back",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

#[test]
fn the_two_eni_incident_names_both_routes_and_the_owner() {
    let text = told("duplicate default, source check beyond");
    for part in [
        "via 10.0.0.1 dev ens5 and via 10.0.0.1 dev ens6",
        "route: default via 10.0.0.1 dev ens6 metric 100",
        "10.0.0.66 left n1 by ens5, but 10.0.0.66 belongs to ens6",
        "the network delivers packets for 10.0.0.66 to ens6",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

#[test]
fn a_sender_that_repeats_in_smaller_packets_is_not_said_to_send_none() {
    for fixture in [
        "large packets vanish beyond the node after larger ones were refused here",
        "large packets vanish beyond the node, no answer since larger ones were refused here",
    ] {
        let text = told(fixture);
        assert!(text.contains("a link on the way carries less"), "{text}");
        assert!(!text.contains("does not send smaller ones"), "{text}");
    }
}

#[test]
fn the_reverse_path_names_route_and_sysctl() {
    let text = told("duplicate default, rp_filter");
    for part in [
        "its route back to the source is by ens5",
        "sysctl -w net.ipv4.conf.ens6.rp_filter=2",
        "rp_filter in force on ens6 (the larger of all and ens6): 1 (strict)",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

#[test]
fn the_tunnel_incident_shows_both_routes() {
    let text = told("tunnel and direct route, native meant");
    for part in [
        "wins: 10.244.2.0/24 via 10.244.2.0 dev vxlan7 metric 10",
        "loses: 10.244.2.0/24 via 10.0.0.2 dev eth0 metric 100",
        "3 packets of 1 flow took it, though native routing is meant",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

#[test]
fn the_mtu_incident_does_the_sum() {
    let text = told("outer packet too large");
    for part in [
        "up to 1518 bytes with their encapsulation",
        "(MTU 1500)",
        "ip link set vxlan7 mtu 1450",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

#[test]
fn pods_on_link_are_called_so() {
    let text = told("pods on-link");
    assert!(
        text.contains("the route `10.244.2.0/24 dev eth0` calls the whole of 10.244.2.0/24"),
        "{text}"
    );
}
