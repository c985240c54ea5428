//! Other people's BPF programs send packets on, past routing.

use anyhow::{Result, ensure};
use harness::Topology;
use harness::bpf::Hook;
use harness::bpf::redirect::{Redirect, Way};
use harness::confusion::{Case, Flow, Load, Ran, Wanted};
use harness::traffic::Udp;
use serde_json::{Value, json};

use crate::lab;

/// How `tc filter show` names a program that it took from a file of the BPF file system.
const FILTER: &str = "filter:[*fsobj]";

/// `lab::router`; a's neighbour towards n1 is b, so that frames have the right address when they
/// are sent on as they are.
fn as_they_are(name: &str) -> Topology {
    let mac = "02:00:00:00:0b:01";
    lab::router(name)
        .ip("b", &format!("link set eth0 address {mac}"))
        .neigh("a", "eth0", "10.1.0.1", mac)
        .neigh("a", "eth0", "fd01::1", mac)
}

/// UDP from a to b over both families. The answers are routed.
fn flows(case: Case, family: fn(&'static str) -> Wanted, reply: fn() -> Wanted) -> Case {
    case.echo("b", "10.2.0.2")
        .echo("b", "fd02::2")
        .flow(
            Flow::new("udp4", "a", Udp::to("10.2.0.2:7"))
                .seen_as(json!({"proto": "udp", "src": "10.1.0.2", "dst": "10.2.0.2", "dport": 7}))
                .request(family("10.2.0.0/24"))
                .reply(reply()),
        )
        .flow(
            Flow::new("udp6", "a", Udp::to("[fd02::2]:7"))
                .seen_as(json!({"proto": "udp", "src": "fd01::2", "dst": "fd02::2", "dport": 7}))
                .request(family("fd02::/64"))
                .reply(reply()),
        )
}

fn routed() -> Wanted {
    Wanted::leaves("in").decision(json!({"rule": 32766, "table": 254, "dev": "in",
        "gateway": null, "redirected_by": null, "how": "lookup"}))
}

fn by(names: &[&str], mut decision: Value) -> Value {
    decision["redirected_by"] = json!(names);
    decision["bridged"] = json!(false);
    decision
}

/// Nothing is known but who may have done it.
fn unrouted(names: &[&str]) -> Value {
    by(
        names,
        json!({"type": "unknown", "rule": null, "table": null, "matched": null, "gateway": null,
            "dev": null, "how": "inferred"}),
    )
}

/// What holds for all cases: everything was delivered and nothing is found wrong.
fn healthy(ran: &Ran) -> Result<()> {
    for sent in &ran.sent {
        ensure!(sent.delivered(), "the program itself loses packets: {sent}");
    }
    harness::expect::no_findings(&ran.report)?;
    harness::expect::is(&ran.report, &json!({"verdict": "pass"}))
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

#[test]
fn bpf_redirect() -> Result<()> {
    let case = Case::new("bpf_redirect", as_they_are("rdev")).with(|network| {
        let node = network.ns("n1")?;
        Redirect::tcx(node, ("in", Hook::Ingress), "from_a", (Way::Device, "out"))
    });
    agree(&flows(
        case,
        |_| Wanted::leaves("out").decision(unrouted(&["from_a"])),
        routed,
    ))
}

#[test]
fn several_programs_are_all_named() -> Result<()> {
    let case = Case::new("several programs", as_they_are("rseveral"))
        .with(|network| {
            let node = network.ns("n1")?;
            let (way, at) = ((Way::Device, "out"), ("in", Hook::Ingress));
            let first = Redirect::tcx(node, at, "from_a", way)?;
            let second = Redirect::tcx(node, at, "never_asked", way)?;
            Ok([first, second])
        })
        .with(|network| {
            Redirect::clsact(network.ns("n1")?, "in", "from_a_too", (Way::Device, "out"))
        });
    let case = flows(
        case,
        |_| Wanted::leaves("out").decision(unrouted(&["from_a", "never_asked", FILTER])),
        routed,
    );
    let ran = case.run(Load::Quiet)?;
    healthy(&ran)?;
    ran.agree()
}

#[test]
fn clsact_filter() -> Result<()> {
    let case = Case::new("clsact", as_they_are("rclsact")).with(|network| {
        Redirect::clsact(network.ns("n1")?, "in", "from_a_too", (Way::Device, "out"))
    });
    agree(&flows(
        case,
        |_| Wanted::leaves("out").decision(unrouted(&[FILTER])),
        routed,
    ))
}

#[test]
fn bpf_redirect_neigh() -> Result<()> {
    let case = Case::new("bpf_redirect_neigh", lab::router("rneigh")).with(|network| {
        let node = network.ns("n1")?;
        Redirect::tcx(
            node,
            ("in", Hook::Ingress),
            "from_a",
            (Way::Neighbour, "out"),
        )
    });
    agree(&flows(
        case,
        |matched| {
            let route = json!({"type": "unicast", "rule": 32766, "table": 254, "matched": matched,
                "gateway": null, "dev": "out", "how": "lookup"});
            Wanted::leaves("out").decision(by(&["from_a"], route))
        },
        routed,
    ))
}

#[test]
fn bpf_fib_lookup() -> Result<()> {
    let case = Case::new("bpf_fib_lookup", lab::router("rfib")).with(|network| {
        let node = network.ns("n1")?;
        Redirect::tcx(node, ("in", Hook::Ingress), "from_a", (Way::Lookup, "in"))
    });
    agree(&flows(
        case,
        |matched| {
            let route = json!({"rule": 32766, "table": 254, "matched": matched, "gateway": null,
                "dev": "out", "how": "inferred"});
            Wanted::leaves("out").decision(by(&["from_a"], route))
        },
        routed,
    ))
}

#[test]
fn a_program_at_the_egress() -> Result<()> {
    let mac = "02:00:00:00:0b:02";
    let topology = lab::router("regress")
        .veth(("n1", "side"), ("b", "eth1", mac))
        .neigh("n1", "out", "10.2.0.2", mac)
        .neigh("n1", "out", "fd02::2", mac);
    let case = Case::new("egress", topology).with(|network| {
        let node = network.ns("n1")?;
        Redirect::tcx(node, ("out", Hook::Egress), "to_b", (Way::Device, "side"))
    });
    let case = flows(
        case,
        |matched| {
            let route = json!({"rule": 32766, "table": 254, "matched": matched, "dev": "out"});
            Wanted::leaves("side")
                .decision(by(&["to_b"], route))
                .also(json!({"left_by": "side"}))
        },
        routed,
    );
    let ran = case.run(Load::Quiet)?;
    healthy(&ran)?;
    ran.agree()
}

/// Into the pod at once: the last sign of the packet is where it came in, and that is no loss.
#[test]
fn bpf_redirect_peer() -> Result<()> {
    let topology = Topology::new("rpeer")
        .ns(&["n1", "a"])
        .forwarding(&["n1"])
        .veth(("n1", "eth0"), ("a", "eth0"))
        .addr("n1", "eth0", &["10.1.0.1/24", "fd01::1/64"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .route("a", "10.244.1.0/24 via 10.1.0.1")
        .route("a", "fd44:1::/64 via fd01::1")
        .pod("n1", "p1", "10.244.1.10", Some("fd44:1::10"))
        .reach("a", "10.244.1.10")
        .reach("a", "fd44:1::10");
    let taken = || {
        Wanted::uncounted().also(json!({"outcome": "unknown", "drops": [], "left_by": null,
            "why": "device eth0 carries the tc program from_netdev, which may have taken the \
                    packet: what is redirected into a pod's own device is not seen again on the node"}))
    };
    let answers = || {
        Wanted::leaves("eth0")
            .decision(json!({"table": 254, "dev": "eth0", "redirected_by": null}))
            .also(json!({"outcome": "forwarded"}))
    };
    let case = Case::new("bpf_redirect_peer", topology)
        .with(|network| {
            let node = network.ns("n1")?;
            Redirect::tcx(
                node,
                ("eth0", Hook::Ingress),
                "from_netdev",
                (Way::Peer, "lxc-p1"),
            )
        })
        .echo("p1", "10.244.1.10")
        .echo("p1", "fd44:1::10")
        .flow(
            Flow::new("udp4", "a", Udp::to("10.244.1.10:7"))
                .seen_as(json!({"proto": "udp", "src": "10.1.0.2", "dst": "10.244.1.10"}))
                .request(taken())
                .reply(answers()),
        )
        .flow(
            Flow::new("udp6", "a", Udp::to("[fd44:1::10]:7"))
                .seen_as(json!({"proto": "udp", "src": "fd01::2", "dst": "fd44:1::10"}))
                .request(taken())
                .reply(answers()),
        );
    let ran = case.run(Load::Quiet)?;
    healthy(&ran)?;
    ran.agree()
}
