//! Packets that are switched before, after or instead of being routed: bridge, macvlan.

use anyhow::{Context as _, Result, ensure};
use harness::confusion::{Case, Flow, Load, Ran, Wanted};
use harness::traffic::Udp;
use harness::{Network, Topology, expect};
use serde_json::{Value, json};

use crate::lab::{self, MAIN};

/// Packets of each flow.
const COUNT: u32 = 3;

/// Hosts a and b are ports of the bridge `br0` of n1; c is behind eth0, which is none.
///
/// ```text
/// a 10.1.0.2, fd01::2 -- pa \
///                           br0 n1 (10.1.0.1, fd01::1) eth0 -- c 10.2.0.2, fd02::2
/// b 10.1.0.3, fd01::3 -- pb /
/// ```
fn bridge(name: &str, gateway: bool) -> Topology {
    let lab = Topology::new(name)
        .ns(&["n1", "a", "b", "c"])
        .forwarding(&["n1"])
        .veth(("n1", "pa"), ("a", "eth0"))
        .veth(("n1", "pb"), ("b", "eth0"))
        .veth(("n1", "eth0"), ("c", "eth0"))
        .bridge("n1", "br0", &["pa", "pb"])
        .addr("a", "eth0", &["10.1.0.2/24", "fd01::2/64"])
        .addr("b", "eth0", &["10.1.0.3/24", "fd01::3/64"])
        .addr("c", "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .addr("n1", "eth0", &["10.2.0.1/24", "fd02::1/64"])
        .when(gateway, |lab| {
            lab.addr("n1", "br0", &["10.1.0.1/24", "fd01::1/64"])
                .for_each(["a", "b"], |lab, pod| {
                    lab.route(pod, "default via 10.1.0.1")
                        .route(pod, "default via fd01::1")
                })
                .route("c", "default via 10.2.0.1")
                .route("c", "default via fd02::1")
        })
        .reach("a", "10.1.0.3")
        .reach("a", "fd01::3");
    lab.when(gateway, |lab| {
        lab.reach("a", "10.2.0.2")
            .reach("a", "fd02::2")
            .reach("n1", "10.1.0.3")
            .reach("n1", "fd01::3")
    })
}

/// The hosts.
const PA: [&str; 2] = ["10.1.0.2", "fd01::2"];
const PB: [&str; 2] = ["10.1.0.3", "fd01::3"];
const C: [&str; 2] = ["10.2.0.2", "fd02::2"];

/// The node's own macvlan, and the pod's.
const MV1: [&str; 2] = ["10.2.0.60", "fd02::60"];
const POD: [&str; 2] = ["10.2.0.50", "fd02::50"];

/// No decision at all, and no reason to ask for one.
fn bridged() -> Value {
    json!({"bridged": true, "rule": null, "table": null, "matched": null, "gateway": null,
        "why": null, "how": "inferred"})
}

fn flow(name: &str, from: &str, (src, dst): (&str, &str)) -> Flow {
    let udp = Udp::to(&lab::at(dst, 7)).count(COUNT);
    lab::udp(name, from, udp, (Some(src), dst))
}

/// Delivered to the node itself, out by no device.
fn delivered() -> Wanted {
    // what a macvlan takes was seen on the device beneath, by which nothing was looked up
    let how = json!(["lookup", "inferred"]);
    Wanted::ends()
        .decision(json!({"type": "local", "rule": 0, "table": 255, "how": how}))
        .also(json!({"outcome": "delivered"}))
}

/// From port to port of a bridge that has no address: the node has no part in the routing.
pub(crate) fn switched() -> Case {
    let mut case = Case::new("bridge", bridge("brsw", false));
    for (a, b) in PA.into_iter().zip(PB) {
        case = case.echo("b", b).flow(
            flow("port to port", "a", (a, b))
                .request(Wanted::leaves("pb").decision(bridged()))
                .reply(Wanted::leaves("pa").decision(bridged())),
        );
    }
    case
}

/// The bridge is the gateway of its ports, as of pods on `cni0`: what goes from port to port is
/// still not routed, the rest is, by the bridge and not by the port.
pub(crate) fn gateway() -> Case {
    let mut case = Case::new("bridge as gateway", bridge("brgw", true));
    for family in 0..2 {
        let (a, b, c) = (PA[family], PB[family], C[family]);
        let own = ["10.1.0.1", "fd01::1"][family];
        let by_bridge = || lab::decision("br0", None, MAIN.0, MAIN.1, "lookup");
        let local = || {
            let mut decision = by_bridge();
            decision["how"] = json!(["lookup", "cached"]);
            decision
        };
        case = case
            .echo("b", b)
            .echo("c", c)
            .flow(
                flow("port to port", "a", (a, b))
                    .request(Wanted::leaves("pb").decision(bridged()))
                    .reply(Wanted::leaves("pa").decision(bridged())),
            )
            .flow(
                flow("outside", "a", (a, c))
                    .request(
                        lab::looked_up("eth0", None, MAIN.0, MAIN.1)
                            .route_get(&format!("{c} from {a} iif br0")),
                    )
                    .reply(Wanted::leaves("pa").decision(by_bridge())),
            )
            .flow(
                flow("of the node", "n1", (own, b))
                    .request(Wanted::leaves("pb").decision(local()))
                    .reply(delivered()),
            );
    }
    case
}

/// A pod on a macvlan of the node's eth0, and a macvlan that the node itself uses.
///
/// ```text
/// pod mv0 10.2.0.50, fd02::50 \
///                              eth0 n1 -- eth0 b 10.2.0.2, fd02::2; 10.20.0.2, fd20::2 behind it
///  n1 mv1 10.2.0.60, fd02::60  /
/// ```
fn macvlans(name: &str) -> Topology {
    Topology::new(name)
        .ns(&["n1", "pod", "b"])
        .veth(("n1", "eth0"), ("b", "eth0"))
        .link("n1", "mv1 link eth0 type macvlan mode bridge")
        .ip("n1", "link set mv1 up")
        .addr("n1", "mv1", &["10.2.0.60/24", "fd02::60/64"])
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .route("n1", "fd20::/64 via fd02::2")
        .addr("b", "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .addr("b", "lo", &["10.20.0.2/32", "fd20::2/128"])
        .reach("n1", "10.20.0.2")
        .reach("n1", "fd20::2")
}

/// Gives the pod its device, as the CNI plugin does.
fn into_pod(network: &Network) -> Result<()> {
    let (node, pod) = (network.ns("n1")?, network.ns("pod")?);
    let add = "ip link add mv0 link eth0 type macvlan mode bridge";
    node.exec(&add.split(' ').collect::<Vec<_>>())?;
    node.exec(&["ip", "link", "set", "mv0", "netns", pod.name()])?;
    for line in [
        "link set mv0 up",
        "addr add 10.2.0.50/24 dev mv0",
        "addr add fd02::50/64 dev mv0 nodad",
        "route add 10.20.0.0/24 via 10.2.0.2",
        "route add fd20::/64 via fd02::2",
    ] {
        let argv: Vec<&str> = std::iter::once("ip").chain(line.split(' ')).collect();
        pod.exec(&argv)?;
    }
    Ok(())
}

/// Packets of the node by its own macvlan, and of a pod by one that has left the node's namespace:
/// the pod decided about those, with tables and devices that are not the node's.
pub(crate) fn macvlan() -> Case {
    let mut case = Case::new("macvlan", macvlans("mvl")).watch(|network, _| into_pod(network));
    for family in 0..2 {
        let (far, near) = (lab::FAR[family], C[family]);
        let decided = || {
            let mut decision = lab::decision("mv1", Some(near), MAIN.0, MAIN.1, "");
            decision["how"] = json!(["lookup", "cached"]);
            decision
        };
        case = case
            .echo("b", far)
            .flow(
                flow("node", "n1", (MV1[family], far))
                    .request(Wanted::leaves("eth0").decision(decided()).route_get(far))
                    .reply(delivered()),
            )
            .flow(
                flow("pod", "pod", (POD[family], far))
                    .request(Wanted::leaves("eth0").decision(elsewhere()))
                    .reply(Wanted::ends().also(json!({"outcome": "unknown", "drops": []}))),
            );
    }
    case
}

/// Decided in another namespace.
fn elsewhere() -> Value {
    json!({"type": "unknown", "rule": null, "table": null, "matched": null, "gateway": null,
        "dev": null, "bridged": false, "redirected_by": null, "how": "unknown",
        "why": "it was routed in another network namespace, which has a macvlan, ipvlan or VLAN \
                device on this one"})
}

/// Both families of the flow called `name`: exactly these hops on the way and back, and nothing
/// said against it.
fn hops(ran: &Ran, (src, dst): ([&str; 2], [&str; 2]), to: &[&str], back: &[&str]) -> Result<()> {
    for (src, dst) in src.into_iter().zip(dst) {
        let wanted = json!({"proto": "udp", "src": src, "dst": dst, "dport": 7});
        let flow = expect::flow(&ran.report, &wanted)?;
        let count = u64::from(COUNT);
        expect::hops(flow, count, to).with_context(|| format!("{src} to {dst}"))?;
        let reply = expect::reply(flow)?;
        expect::hops(reply, count, back).with_context(|| format!("{dst} to {src}"))?;
    }
    Ok(())
}

fn answered(ran: &Ran) -> Result<()> {
    for sent in &ran.sent {
        ensure!(sent.delivered(), "the lab itself loses packets: {sent}");
    }
    Ok(())
}

fn healthy(ran: &Ran) -> Result<()> {
    answered(ran)?;
    expect::no_findings(&ran.report)?;
    expect::is(&ran.report, &json!({"verdict": "pass"}))
}

#[test]
fn from_port_to_port() -> Result<()> {
    let ran = switched().run(Load::Quiet)?;
    healthy(&ran)?;
    hops(&ran, (PA, PB), &["in pa", "out pb"], &["in pb", "out pa"])?;
    ran.agree()
}

#[test]
fn by_a_bridge_with_an_address() -> Result<()> {
    let ran = gateway().run(Load::Quiet)?;
    healthy(&ran)?;
    hops(&ran, (PA, PB), &["in pa", "out pb"], &["in pb", "out pa"])?;
    hops(
        &ran,
        (PA, C),
        &["in pa", "in br0", "out eth0"],
        &["in eth0", "out br0", "out pa"],
    )?;
    let own = ["10.1.0.1", "fd01::1"];
    hops(
        &ran,
        (own, PB),
        &["out br0", "out pb"],
        &["in pb", "in br0"],
    )?;
    ran.agree()
}

#[test]
fn by_a_macvlan() -> Result<()> {
    let ran = macvlan().run(Load::Quiet)?;
    answered(&ran)?;
    expect::no_findings(&ran.report)?;
    hops(
        &ran,
        (MV1, lab::FAR),
        &["out mv1", "out eth0"],
        &["in eth0"],
    )?;
    hops(&ran, (POD, lab::FAR), &["out eth0"], &["in eth0"])?;
    ran.agree()
}
