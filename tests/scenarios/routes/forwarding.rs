//! Packets of others: in by one device, out by another.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::confusion::{Case, Load};
use harness::traffic::Udp;
use harness::{Tracer, expect};
use serde_json::{Value, json};

use crate::lab::{self, A, B1, FAR, MAIN};

/// On-link and by a gateway, with the answers.
pub(crate) fn plain() -> Case {
    let mut case = Case::new(
        "forwarding",
        lab::node("fwd")
            .route("n1", "10.20.0.0/24 via 10.2.0.2")
            .route("n1", "fd20::/64 via fd02::2"),
    );
    for family in 0..2 {
        let (src, on_link, far) = (A[family], B1[family], FAR[family]);
        let request = |dst: &str, gateway| {
            lab::looked_up("o1", gateway, MAIN.0, MAIN.1)
                .route_get(&format!("{dst} from {src} iif in"))
        };
        let back = || lab::looked_up("in", None, MAIN.0, MAIN.1);
        case = case
            .echo("b1", on_link)
            .flow(
                lab::udp(
                    "on-link",
                    "a",
                    Udp::to(&lab::at(on_link, 7)),
                    (Some(src), on_link),
                )
                .request(request(on_link, None))
                .reply(back()),
            )
            .echo("b1", far)
            .flow(
                lab::udp("gateway", "a", Udp::to(&lab::at(far, 7)), (Some(src), far))
                    .request(request(far, Some(on_link)))
                    .reply(back()),
            );
    }
    case
}

/// The 4th packet takes another gateway on the same device.
pub(crate) fn changed() -> Case {
    let mut case = Case::new(
        "change",
        lab::node("chg")
            .addr("b1", "eth0", &["10.2.0.3/24", "fd02::3/64"])
            .route("n1", "10.20.0.0/24 via 10.2.0.2")
            .route("n1", "fd20::/64 via fd02::2"),
    );
    for (family, net, other) in [(0, "10.20.0.0/24", "10.2.0.3"), (1, "fd20::/64", "fd02::3")] {
        let (src, far) = (A[family], FAR[family]);
        let mut decision = lab::decision("o1", Some(other), MAIN.0, MAIN.1, "lookup");
        decision["changes"] = 1.into();
        let flow = lab::udp(
            "gateway",
            "a",
            Udp::to(&lab::at(far, 7)).sport(7001),
            (Some(src), far),
        );
        let name = format!("gateway{}", lab::family(far));
        case = case
            .echo("b1", far)
            .flow(flow.request(harness::confusion::Wanted::leaves("o1").decision(decision)))
            .ip("n1", &format!("route replace {net} via {other}"))
            .again(&name);
    }
    case
}

/// The route moves to another device.
pub(crate) fn moved() -> Case {
    let mut case = Case::new(
        "move",
        lab::node("mov")
            .route("n1", "10.20.0.0/24 via 10.2.0.2")
            .route("n1", "fd20::/64 via fd02::2"),
    );
    for (family, net) in [(0, "10.20.0.0/24"), (1, "fd20::/64")] {
        let (src, far) = (A[family], FAR[family]);
        let (one, other) = (B1[family], lab::B2[family]);
        let flow = lab::udp(
            "device",
            "a",
            Udp::to(&lab::at(far, 7)).sport(7002),
            (Some(src), far),
        );
        let wanted = harness::confusion::Wanted::leaves_by(&["o1", "o2"])
            .decision_at(
                "o1",
                lab::decision("o1", Some(one), MAIN.0, MAIN.1, "lookup"),
            )
            .decision_at(
                "o2",
                lab::decision("o2", Some(other), MAIN.0, MAIN.1, "lookup"),
            );
        let name = format!("device{}", lab::family(far));
        case = case
            .echo("b1", far)
            .echo("b2", far)
            .flow(flow.request(wanted))
            .ip("n1", &format!("route replace {net} via {other}"))
            .again(&name);
    }
    case
}

#[test]
fn on_link_and_by_a_gateway() -> Result<()> {
    plain().run(Load::Quiet)?.agree()
}

#[test]
fn another_gateway_is_a_change() -> Result<()> {
    changed().run(Load::Quiet)?.agree()
}

/// `watch` says so once, with the time.
#[test]
fn a_change_is_told_once() -> Result<()> {
    let network = lab::node("chw")
        .addr("b1", "eth0", &["10.2.0.3/24"])
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .raise()?;
    let (node, a) = (network.ns("n1")?, network.ns("a")?);
    let tracer = Tracer::start(node, &["watch", "-o", "json", "dst", "host", FAR[0]])?;
    let send = || Udp::to(&lab::at(FAR[0], 7)).sport(7003).send(a);
    send()?;
    node.exec(&["ip", "route", "replace", "10.20.0.0/24", "via", "10.2.0.3"])?;
    send()?;
    let limit = Duration::from_secs(10);
    tracer.stdout_line("the change", limit, |line| {
        line.contains(r#""change":"route""#)
    })?;
    // more packets of the changed flow are no news
    send()?;
    let lines = tracer.interrupt(Duration::from_secs(20))?.json_lines()?;
    let changes: Vec<&Value> = lines
        .iter()
        .filter(|line| line["change"] == "route")
        .collect();
    ensure!(
        changes.len() == 1,
        "told {} times: {changes:?}",
        changes.len()
    );
    let path = changes[0].pointer("/flow/path").context("no path")?;
    let route = path.as_array().into_iter().flatten();
    let route = route.filter_map(|step| step.get("route")).next_back();
    let route = route.context("no decision")?;
    expect::is(
        route,
        &json!({"gateway": "10.2.0.3", "dev": "o1", "changes": 1}),
    )?;
    let (changed, told) = (route["changed"].as_str(), changes[0]["time"].as_str());
    ensure!(
        changed.is_some() && changed <= told,
        "changed at {changed:?}, told at {told:?}"
    );
    Ok(())
}

#[test]
fn another_device_is_another_way() -> Result<()> {
    moved().run(Load::Quiet)?.agree()
}
