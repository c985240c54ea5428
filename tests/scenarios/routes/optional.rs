//! Device kinds that not every kernel has: VLAN, VRF. What cannot be run is said.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use harness::confusion::{Case, Flow, Load, Ran, Wanted};
use harness::traffic::Udp;
use harness::{Topology, expect};
use serde_json::{Value, json};

use crate::lab::{self, A, MAIN};

/// The cases that this kernel can run; which it cannot is said.
pub(crate) fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    if has("vlan id 5")? {
        cases.push(vlan());
    }
    if has("vrf table 10")? {
        cases.push(vrf());
    }
    Ok(cases)
}

/// Whether this kernel has devices of `kind`.
fn has(kind: &str) -> Result<bool> {
    let lab = Topology::new("kind")
        .ns(&["n1"])
        .veth(("n1", "v"), ("n1", "w"))
        .raise()?;
    let add = format!("ip link add link v name x type {kind}");
    let output = lab.ns("n1")?.output(&add.split(' ').collect::<Vec<_>>())?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(true);
    }
    if !error.contains("Unknown device type") && !error.contains("Operation not supported") {
        bail!("`{add}` failed: {error}");
    }
    // past the capture of test output, so that it is seen when the test passes
    writeln!(
        std::io::stderr(),
        "NOT CHECKED, this kernel has no such device: {kind}"
    )?;
    Ok(false)
}

/// Out by VLAN 5 of a device.
///
/// ```text
/// a 10.1.0.2, fd01::2 -- in n1 eth0.5 -- eth0 == eth0 -- eth0.5 b 10.2.0.2, fd02::2
/// ```
fn vlan() -> Case {
    let mut lab = Topology::new("vlan")
        .ns(&["n1", "a", "b"])
        .forwarding(&["n1"])
        .veth(("n1", "in"), ("a", "eth0"))
        .veth(("n1", "eth0"), ("b", "eth0"));
    for ns in ["n1", "b"] {
        lab = lab
            .link(ns, "link eth0 name eth0.5 type vlan id 5")
            .ip(ns, "link set eth0.5 up");
    }
    let lab = lab
        .addr("n1", "in", &["10.1.0.1/24", "fd01::1/64"])
        .addr("n1", "eth0.5", &["10.2.0.1/24", "fd02::1/64"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .addr("b", "eth0.5", &["10.2.0.2/24", "fd02::2/64"])
        .route("a", "default via 10.1.0.1")
        .route("a", "default via fd01::1")
        .route("b", "default via 10.2.0.1")
        .route("b", "default via fd02::1")
        .reach("a", "10.2.0.2")
        .reach("a", "fd02::2");
    let mut case = Case::new("vlan", lab);
    for (src, dst) in A.into_iter().zip(FAR) {
        let tagged = |dir: &str| json!({"path": [{"hop": {"dev": "eth0", "dir": dir, "vlan": 5, "packets": 3}}]});
        let by = |dev: &str| lab::decision(dev, None, MAIN.0, MAIN.1, "lookup");
        case = case.echo("b", dst).flow(
            lab::udp("udp", "a", Udp::to(&lab::at(dst, 7)), (Some(src), dst))
                .request(
                    Wanted::leaves("eth0")
                        .decision(by("eth0.5"))
                        .route_get(&format!("{dst} from {src} iif in"))
                        .also(tagged("out")),
                )
                .reply(Wanted::leaves("in").decision(by("in")).also(tagged("in"))),
        );
    }
    case
}

/// Behind the node.
const FAR: [&str; 2] = ["10.2.0.2", "fd02::2"];
/// The node's own address there.
const OWN: [&str; 2] = ["10.2.0.1", "fd02::1"];

/// Two VRFs with the same addresses in each.
///
/// ```text
/// ra 10.1.0.2, fd01::2 -- r1 [red, table 10] r2 -- rb 10.2.0.2, fd02::2
/// ba 10.1.0.2, fd01::2 -- b1 [blue, table 20] b2 -- bb 10.2.0.2, fd02::2
/// ```
fn vrf() -> Case {
    let lab = Topology::new("vrf")
        .ns(&["n1", "ra", "rb", "ba", "bb"])
        .forwarding(&["n1"])
        // a socket of no VRF hears what comes in by one
        .sysctl("n1", "net.ipv4.udp_l3mdev_accept=1");
    let lab = [("red", 'r', 10), ("blue", 'b', 20)]
        .into_iter()
        .fold(lab, |lab, (name, short, table)| {
            one_vrf(lab, name, short, table)
        });
    let mut case = Case::new("vrf", lab);
    for (family, far) in FAR.into_iter().enumerate() {
        for (name, short, table, sport) in [("red", 'r', 10, 7101), ("blue", 'b', 20, 7102)] {
            let host = format!("{short}b");
            case = case
                .echo(&host, far)
                .flow(forwarded(family, (name, short), table, sport))
                .flow(refused(family, (name, short), table, sport))
                .flow(local(family, (name, short), table, sport));
        }
    }
    case
}

fn one_vrf(lab: Topology, name: &str, short: char, table: u32) -> Topology {
    let (one, two) = (&format!("{short}1"), &format!("{short}2"));
    let (a, b) = (&format!("{short}a"), &format!("{short}b"));
    lab.veth(("n1", one.as_str()), (a.as_str(), "eth0"))
        .veth(("n1", two.as_str()), (b.as_str(), "eth0"))
        .link("n1", &format!("{name} type vrf table {table}"))
        .ip("n1", &format!("link set {name} up"))
        .ip("n1", &format!("link set {one} master {name}"))
        .ip("n1", &format!("link set {two} master {name}"))
        .addr("n1", one, &["10.1.0.1/24", "fd01::1/64"])
        .addr("n1", two, &["10.2.0.1/24", "fd02::1/64"])
        .route(
            "n1",
            &format!("unreachable 0.0.0.0/0 metric 8192 table {table}"),
        )
        .route("n1", &format!("unreachable ::/0 metric 8192 table {table}"))
        .addr(a, "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .addr(b, "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .route(a, "default via 10.1.0.1")
        .route(a, "default via fd01::1")
        .route(b, "default via 10.2.0.1")
        .route(b, "default via fd02::1")
        .reach(a, "10.2.0.2")
        .reach(a, "fd02::2")
}

/// Preference of the rule that leads to the table of a VRF.
const L3MDEV: u32 = 1000;

fn flow(name: &str, from: &str, udp: Udp, (src, dst, sport): (&str, &str, u16)) -> Flow {
    Flow::new(
        &format!("{name}{}", lab::family(dst)),
        from,
        udp.sport(sport),
    )
    .seen_as(json!({"proto": "udp", "src": src, "sport": sport, "dst": dst, "dport": 7}))
}

/// Through the VRF, in its table.
fn forwarded(family: usize, (name, short): (&str, char), table: u32, sport: u16) -> Flow {
    let (one, two) = (format!("{short}1"), format!("{short}2"));
    let (src, dst) = (A[family], FAR[family]);
    let by = |dev: &str| lab::looked_up(dev, None, L3MDEV, table);
    flow(
        &format!("{name} forwarded"),
        &format!("{short}a"),
        Udp::to(&lab::at(dst, 7)),
        (src, dst, sport),
    )
    .request(by(&two).route_get(&format!("{dst} from {src} iif {one}")))
    .reply(by(&one))
}

/// The table of the VRF refuses what it has no route to.
fn refused(family: usize, (name, short): (&str, char), table: u32, sport: u16) -> Flow {
    let (src, dst) = (A[family], ["10.99.0.9", "fd99::9"][family]);
    let udp = Udp::to(&lab::at(dst, 7)).wait(std::time::Duration::from_millis(50));
    let (decision, (key, place)) = if family == 0 {
        let decision = json!({"type": "unreachable", "rule": L3MDEV, "table": table, "errno": 113,
            "gateway": null, "dev": null, "how": "lookup"});
        (decision, ("symbol", "ip_error"))
    } else {
        // IPv6 takes the route from the packet before it makes the error message (ip6_pkt_drop())
        let decision = json!({"type": "unknown", "rule": null, "table": null, "gateway": null,
            "dev": null, "source_check": false, "how": "unknown",
            "why": "it was dropped for its route, which the kernel had already taken from it"});
        // which of two functions frees it is the compiler's choice
        (decision, ("summary", "no route to destination"))
    };
    let drop = json!({"count": 3, "dev": name, key: place});
    flow(
        &format!("{name} refused"),
        &format!("{short}a"),
        udp,
        (src, dst, sport),
    )
    .request(
        Wanted::ends()
            .decision(decision)
            .also(json!({"outcome": "dropped", "drops": [drop]})),
    )
}

/// Of a socket that is bound to the VRF.
fn local(family: usize, (name, short): (&str, char), table: u32, sport: u16) -> Flow {
    let (src, dst) = (OWN[family], FAR[family]);
    let two = format!("{short}2");
    let decision = lab::decision(&two, None, L3MDEV, table, "lookup");
    flow(
        &format!("{name} local"),
        "n1",
        Udp::to(&lab::at(dst, 7)).device(name),
        (src, dst, sport + 10),
    )
    .request(
        Wanted::leaves(&two)
            .decision(decision)
            .route_get(&format!("{dst} vrf {name}")),
    )
    .reply(
        Wanted::ends()
            .decision(json!({"type": "local", "rule": L3MDEV, "table": table, "dev": two, "how": "inferred"}))
            .also(json!({"outcome": "delivered"})),
    )
}

/// Exactly these devices on the way and back.
fn hops(ran: &Ran, wanted: &Value, to: &[&str], back: &[&str]) -> Result<()> {
    let flow = expect::flow(&ran.report, wanted)?;
    expect::hops(flow, 3, to).with_context(|| format!("{wanted}"))?;
    expect::hops(expect::reply(flow)?, 3, back).with_context(|| format!("reply of {wanted}"))
}

#[test]
fn by_a_vlan() -> Result<()> {
    if !has("vlan id 5")? {
        return Ok(());
    }
    let ran = vlan().run(Load::Quiet)?;
    for sent in &ran.sent {
        ensure!(sent.delivered(), "the lab itself loses packets: {sent}");
    }
    expect::no_findings(&ran.report)?;
    let (to, back) = (["in in", "out eth0.5", "out eth0"], ["in eth0", "out in"]);
    for dst in FAR {
        hops(
            &ran,
            &json!({"proto": "udp", "dst": dst, "dport": 7}),
            &to,
            &back,
        )?;
    }
    ran.agree()
}

#[test]
fn in_a_vrf() -> Result<()> {
    if !has("vrf table 10")? {
        return Ok(());
    }
    let ran = vrf().run(Load::Quiet)?;
    // equal addresses are no fault where VRFs keep them apart
    for id in ["wrong-egress", "duplicate-default"] {
        expect::no_finding(&ran.report, id)?;
    }
    // the error messages that the node sent back were looked up as well, and found their way
    for flow in ran.report["flows"].as_array().context("no flows")? {
        ensure!(
            flow["route_failures"] == json!([]),
            "nothing that the node sends has no route: {flow}"
        );
    }
    for family in 0..2 {
        for (short, sport) in [('r', 7101), ('b', 7102)] {
            let (one, two) = (format!("{short}1"), format!("{short}2"));
            let wanted = json!({"proto": "udp", "src": A[family], "sport": sport,
                "dst": FAR[family], "dport": 7});
            let to = [format!("in {one}"), format!("out {two}")];
            let back = [format!("in {two}"), format!("out {one}")];
            hops(
                &ran,
                &wanted,
                &to.each_ref().map(String::as_str),
                &back.each_ref().map(String::as_str),
            )?;
        }
    }
    ran.agree()
}
