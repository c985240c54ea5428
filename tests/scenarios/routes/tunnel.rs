//! Encapsulation: who decided it, what the outer packet's own decision was, and which tenant a
//! packet belongs to where nothing in it says so.

use anyhow::{Result, ensure};
use harness::bpf::Hook;
use harness::bpf::redirect::{Redirect, Way};
use harness::confusion::{Case, Flow, Load, Ran, Wanted};
use harness::traffic::Udp;
use harness::{Network, Topology, expect};
use serde_json::{Value, json};

/// ```text
/// p1 10.244.1.10 -- n1 10.0.0.1 ==br0(fab)== n2 10.0.0.2 -- p2 10.244.2.20
///                                     (and n3 10.0.0.3)
/// ```
pub(crate) fn nodes(name: &str, count: u8) -> Topology {
    let names: Vec<String> = (1..=count).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ports: Vec<String> = (1..=count).map(|n| format!("pn{n}")).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    (1..=count)
        .fold(
            Topology::new(name)
                .ns(&["fab"])
                .ns(&names)
                .forwarding(&names),
            |lab, n| {
                let (node, port) = (format!("n{n}"), format!("pn{n}"));
                lab.veth((node.as_str(), "eth0"), ("fab", port.as_str()))
                    .addr(
                        &node,
                        "eth0",
                        &[&format!("10.0.0.{n}/24"), &format!("fd00::{n}/64")],
                    )
            },
        )
        .bridge("fab", "br0", &ports)
}

fn pods(lab: Topology) -> Topology {
    lab.pod("n1", "p1", "10.244.1.10", Some("fd44:1::10")).pod(
        "n2",
        "p2",
        "10.244.2.20",
        Some("fd44:2::20"),
    )
}

/// A tunnel device `vx0` of nodes 1 and 2 with an inner neighbour for the other one.
pub(crate) fn device(lab: Topology, kind: &str) -> Topology {
    [(1, 2), (2, 1)].into_iter().fold(lab, |lab, (a, b)| {
        let (ns, peer) = (format!("n{a}"), format!("02:77:00:00:00:0{b}"));
        lab.link(
            &ns,
            &format!("vx0 address 02:77:00:00:00:0{a} type vxlan {kind} dstport 8472"),
        )
        .ip(&ns, "link set vx0 mtu 1430 up")
        .neigh(&ns, "vx0", &format!("10.244.{b}.0"), &peer)
        .neigh(&ns, "vx0", &format!("fe80::77:{b}"), &peer)
    })
}

/// Routes of the nodes to each other's pods, `encap` in front.
fn routes(lab: Topology, encap: fn(u8, bool) -> String) -> Topology {
    [(1, 2), (2, 1)].into_iter().fold(lab, |lab, (a, b)| {
        let (ns, v4, v6) = (format!("n{a}"), encap(b, false), encap(b, true));
        lab.route(
            &ns,
            &format!("10.244.{b}.0/24{v4} via 10.244.{b}.0 dev vx0 onlink"),
        )
        .route(
            &ns,
            &format!("fd44:{b}::/64{v6} via fe80::77:{b} dev vx0 onlink"),
        )
    })
}

/// What really went through the tunnel arrives at the other end of it.
fn through_tunnel(case: Case) -> Case {
    case.watch(|network: &Network, truth| truth.watch("vx0", network.ns("n2")?, "vx0"))
        .echo("p2", "10.244.2.20")
        .echo("p2", "fd44:2::20")
}

/// UDP from p1 to p2 over both families.
fn flow(name: &str, (v6, request, reply): (bool, Wanted, Wanted)) -> Flow {
    let (to, src, dst) = if v6 {
        ("[fd44:2::20]:7", "fd44:1::10", "fd44:2::20")
    } else {
        ("10.244.2.20:7", "10.244.1.10", "10.244.2.20")
    };
    Flow::new(name, "p1", Udp::to(to))
        .seen_as(json!({"proto": "udp", "src": src, "dst": dst, "dport": 7}))
        .request(request)
        .reply(reply)
}

/// A hop with this outer header.
pub(crate) fn wrapped(
    dev: &str,
    dir: &str,
    packets: u64,
    (vni, src, dst): (u32, &str, &str),
) -> Value {
    json!({"hop": {"dev": dev, "dir": dir, "packets": packets,
        "encap": {"kind": "vxlan", "vni": vni, "src": src, "dst": dst, "dport": 8472}}})
}

/// A hop without, which carries `key`.
pub(crate) fn carries(dev: &str, dir: &str, packets: u64, key: Option<u32>) -> Value {
    json!({"hop": {"dev": dev, "dir": dir, "packets": packets, "encap": null, "tunnel_key": key}})
}

fn healthy(ran: &Ran) -> Result<()> {
    for sent in &ran.sent {
        ensure!(sent.delivered(), "the lab itself loses packets: {sent}");
    }
    expect::no_findings(&ran.report)?;
    expect::is(&ran.report, &json!({"verdict": "pass"}))
}

fn agree(case: &Case) -> Result<()> {
    for load in [Load::Quiet, Load::Noisy] {
        let ran = case.run(load)?;
        if load == Load::Quiet {
            healthy(&ran)?;
        }
        ran.agree()?;
    }
    Ok(())
}

/// The inner route by a device with a fixed VNI, and the outer packet's own decision.
#[test]
fn a_route_to_a_tunnel_device() -> Result<()> {
    let lab = device(pods(nodes("tdev", 2)), "id 7 nolearning");
    let lab = [(1, 2), (2, 1)].into_iter().fold(lab, |lab, (a, b)| {
        let entry = format!("02:77:00:00:00:0{b} dev vx0 dst 10.0.0.{b} self permanent");
        lab.fdb(&format!("n{a}"), &entry)
    });
    let lab = routes(lab, |_, _| String::new())
        .reach("p1", "10.244.2.20")
        .reach("p1", "fd44:2::20");
    let sides = |v6: bool| {
        let (matched, gateway, back) = if v6 {
            ("fd44:2::/64", "fe80::77:2", "fd44:1::10")
        } else {
            ("10.244.2.0/24", "10.244.2.0", "10.244.1.10")
        };
        let inner = json!({"type": "unicast", "rule": 32766, "table": 254, "dev": "vx0",
            "matched": matched, "gateway": gateway, "redirected_by": null, "how": "lookup"});
        let outer = json!({"type": "unicast", "dev": "eth0", "gateway": null,
            "matched": "10.0.0.0/24", "family": "ipv4", "how": ["lookup", "cached"]});
        let request = Wanted::leaves("vx0")
            .decision(inner)
            .decision_at("eth0", outer)
            .also(json!({"left_by": "eth0", "path": [
                carries("vx0", "out", 3, None),
                wrapped("eth0", "out", 3, (7, "10.0.0.1", "10.0.0.2"))]}));
        let reply = Wanted::leaves("lxc-p1")
            .decision(
                json!({"rule": 32766, "table": 254, "dev": "lxc-p1", "gateway": null,
                "matched": back, "how": "lookup"}),
            )
            .also(json!({"path": [
                wrapped("eth0", "in", 3, (7, "10.0.0.2", "10.0.0.1")),
                carries("vx0", "in", 3, None)]}));
        (v6, request, reply)
    };
    let case = through_tunnel(Case::new("tunnel device", lab))
        .flow(flow("udp4", sides(false)))
        .flow(flow("udp6", sides(true)));
    agree(&case)
}

/// `encap ip id …` and `encap ip6 id …`: the route itself says endpoint and VNI.
#[test]
fn a_lightweight_tunnel() -> Result<()> {
    let lab = device(pods(nodes("tlwt", 2)), "external udp6zerocsumrx");
    let lab = routes(lab, |b, v6| {
        if v6 {
            format!(" encap ip6 id 43 dst fd00::{b} hoplimit 64")
        } else {
            format!(" encap ip id 42 dst 10.0.0.{b} ttl 64")
        }
    })
    .reach("p1", "10.244.2.20")
    .reach("p1", "fd44:2::20");
    let sides = |v6: bool| {
        let (matched, vni, here, far, on_link) = if v6 {
            ("fd44:2::/64", 43, "fd00::1", "fd00::2", "fd00::/64")
        } else {
            ("10.244.2.0/24", 42, "10.0.0.1", "10.0.0.2", "10.0.0.0/24")
        };
        let inner = json!({"type": "unicast", "rule": 32766, "table": 254, "dev": "vx0",
            "matched": matched, "redirected_by": null, "how": "lookup"});
        let outer = json!({"dev": "eth0", "gateway": null, "matched": on_link,
            "family": if v6 { "ipv6" } else { "ipv4" }, "how": ["lookup", "cached"]});
        let request = Wanted::leaves("vx0")
            .decision(inner)
            .decision_at("eth0", outer)
            .also(json!({"left_by": "eth0", "path": [
                carries("vx0", "out", 3, Some(vni)),
                wrapped("eth0", "out", 3, (vni, here, far))]}));
        let reply = Wanted::leaves("lxc-p1")
            .decision(json!({"rule": 32766, "table": 254, "dev": "lxc-p1", "how": "lookup"}))
            .also(json!({"path": [
                wrapped("eth0", "in", 3, (vni, far, here)),
                carries("vx0", "in", 3, Some(vni)),
                carries("lxc-p1", "out", 3, Some(vni))]}));
        (v6, request, reply)
    };
    let case = through_tunnel(Case::new("lightweight tunnel", lab))
        .flow(flow("udp4", sides(false)))
        .flow(flow("udp6", sides(true)));
    agree(&case)
}

/// As Cilium does: a program attaches endpoint and VNI and gives the packet to the device.
#[test]
fn a_program_sets_the_tunnel_key() -> Result<()> {
    // what a pod sends is for this address
    let mac = "ee:ee:ee:ee:ee:ee";
    let lab = device(pods(nodes("tbpf", 2)), "external")
        // which makes the device forget its neighbours
        .ip("n2", &format!("link set vx0 address {mac}"))
        .neigh("n2", "vx0", "10.244.1.0", "02:77:00:00:00:01")
        .neigh("n2", "vx0", "fe80::77:1", "02:77:00:00:00:01")
        .neigh("n1", "vx0", "10.244.2.0", mac)
        .neigh("n1", "vx0", "fe80::77:2", mac);
    let lab = routes(lab, |b, _| format!(" encap ip id 77 dst 10.0.0.{b} ttl 64"))
        .reach("p1", "10.244.2.20")
        .reach("p1", "fd44:2::20");
    let sides = |v6: bool| {
        let request = Wanted::leaves("vx0")
            .decision(
                json!({"type": "unknown", "table": null, "matched": null, "dev": null,
                "redirected_by": ["from_pod"], "how": "inferred"}),
            )
            .decision_at(
                "eth0",
                json!({"dev": "eth0", "matched": "10.0.0.0/24",
                "redirected_by": null, "how": ["lookup", "cached"]}),
            )
            .also(json!({"left_by": "eth0", "path": [
                carries("vx0", "out", 3, Some(77)),
                wrapped("eth0", "out", 3, (77, "10.0.0.1", "10.0.0.2"))]}));
        let reply = Wanted::leaves("lxc-p1")
            .decision(json!({"dev": "lxc-p1", "redirected_by": null, "how": "lookup"}))
            .also(json!({"path": [wrapped("eth0", "in", 3, (77, "10.0.0.2", "10.0.0.1"))]}));
        (v6, request, reply)
    };
    let case = through_tunnel(Case::new("bpf_skb_set_tunnel_key", lab))
        .with(|network| {
            let way = Way::Tunnel([10, 0, 0, 2].into(), 77);
            let at = ("lxc-p1", Hook::Ingress);
            Redirect::tcx(network.ns("n1")?, at, "from_pod", (way, "vx0"))
        })
        .flow(flow("udp4", sides(false)))
        .flow(flow("udp6", sides(true)));
    let ran = case.run(Load::Quiet)?;
    for sent in &ran.sent {
        ensure!(sent.delivered(), "the program itself loses packets: {sent}");
    }
    ran.agree()
}

/// One device, several endpoints, which it learned: each flow has its own.
#[test]
fn learned_endpoints() -> Result<()> {
    let lab = (1..=3).fold(nodes("tfdb", 3), |lab, n| {
        let (node, pod, host) = (format!("n{n}"), format!("p{n}"), format!("lxc-p{n}"));
        let lab = lab
            .ns(&[&pod])
            .veth((node.as_str(), host.as_str()), (pod.as_str(), "eth0"))
            .link(
                &node,
                &format!("vx9 type vxlan id 9 local 10.0.0.{n} dstport 8472"),
            )
            .ip(&node, "link set vx9 mtu 1450")
            .bridge(&node, "cni0", &["vx9", &host])
            .addr(
                &pod,
                "eth0",
                &[&format!("10.9.0.{n}/24"), &format!("fd09::{n}/64")],
            )
            .ip(&pod, "link set eth0 mtu 1450");
        // to all others until the address is learned
        (1..=3).filter(|far| *far != n).fold(lab, |lab, far| {
            lab.bridge_command(
                &node,
                &format!("fdb append 00:00:00:00:00:00 dev vx9 dst 10.0.0.{far}"),
            )
        })
    });
    let lab = [("p1", "2"), ("p1", "3")]
        .into_iter()
        .fold(lab, |lab, (from, to)| {
            lab.reach(from, &format!("10.9.0.{to}"))
                .reach(from, &format!("fd09::{to}"))
        });
    let mut case = Case::new("learned endpoints", lab).watch(|network: &Network, truth| {
        truth.watch("vx9", network.ns("n2")?, "vx9")?;
        truth.watch("vx9", network.ns("n3")?, "vx9")
    });
    for (to, v6) in [("2", false), ("2", true), ("3", false), ("3", true)] {
        let (pod, endpoint) = (format!("p{to}"), format!("10.0.0.{to}"));
        let (src, dst, at) = if v6 {
            ("fd09::1", format!("fd09::{to}"), format!("[fd09::{to}]:7"))
        } else {
            ("10.9.0.1", format!("10.9.0.{to}"), format!("10.9.0.{to}:7"))
        };
        let bridged = json!({"bridged": true, "table": null, "matched": null, "gateway": null,
            "redirected_by": null, "how": "inferred"});
        let name = format!("to n{to} {}", if v6 { "udp6" } else { "udp4" });
        case = case.echo(&pod, &dst).flow(
            Flow::new(&name, "p1", Udp::to(&at))
                .seen_as(json!({"proto": "udp", "src": src, "dst": dst, "dport": 7}))
                .request(
                    Wanted::leaves("vx9")
                        .decision(bridged.clone())
                        .decision_at(
                            "eth0",
                            json!({"dev": "eth0", "matched": "10.0.0.0/24",
                            "how": ["lookup", "cached"]}),
                        )
                        .also(json!({"left_by": "eth0", "path": [
                            wrapped("eth0", "out", 3, (9, "10.0.0.1", &endpoint))]})),
                )
                .reply(
                    Wanted::leaves("lxc-p1")
                        .decision(bridged)
                        .also(json!({"path": [
                            wrapped("eth0", "in", 3, (9, &endpoint, "10.0.0.1")),
                            carries("vx9", "in", 3, None)]})),
                ),
        );
    }
    agree(&case)
}
