//! Source addresses: reverse path filtering, martians, the preferred source.

use anyhow::Result;
use harness::Topology;
use harness::confusion::{Case, Load, Wanted};
use harness::traffic::Udp;
use serde_json::json;

use crate::lab::{self, FAR, MAIN};

/// What `a` sends from 10.1.0.50 should come in by o2.
fn filtered(name: &str, mode: u32) -> Topology {
    lab::node(name)
        .addr("a", "lo", &["10.1.50.2/32"])
        .route("n1", "10.20.0.0/24 via 10.2.0.2")
        .route("n1", "10.1.50.0/24 via 10.3.0.2")
        .sysctl("n1", &format!("net/ipv4/conf/in/rp_filter={mode}"))
}

fn from_elsewhere() -> Result<Udp> {
    let udp = Udp::to("10.20.0.2:7").from("10.1.50.2".parse()?);
    Ok(udp.wait(std::time::Duration::from_millis(50)))
}

/// Strict: dropped, and the way back names the device that the source was expected on.
pub(crate) fn strict() -> Result<Case> {
    let back = json!({"source_check": true, "dev": "o2", "table": 254, "how": "lookup",
        "matched": "10.1.50.0/24"});
    Ok(Case::new("rp_filter strict", filtered("rps", 1)).flow(
        lab::udp("udp", "a", from_elsewhere()?, (Some("10.1.50.2"), FAR[0])).request(
            Wanted::ends()
                .decision(back)
                .also(json!({"outcome": "dropped", "why": "IP_RPFILTER"})),
        ),
    ))
}

/// Loose: any way back is good enough, and the packets go on.
pub(crate) fn loose() -> Result<Case> {
    Ok(Case::new("rp_filter loose", filtered("rpl", 2)).flow(
        lab::udp("udp", "a", from_elsewhere()?, (Some("10.1.50.2"), FAR[0]))
            .request(lab::looked_up("o1", Some("10.2.0.2"), MAIN.0, MAIN.1)),
    ))
}

/// Loose, and there is no way back at all.
pub(crate) fn loose_nowhere() -> Result<Case> {
    let lab = filtered("rpn", 2).ip("n1", "route del 10.1.50.0/24");
    let back = json!({"source_check": true, "type": "none", "table": null, "errno": 101,
        "how": "lookup"});
    Ok(Case::new("rp_filter no way back", lab).flow(
        lab::udp("udp", "a", from_elsewhere()?, (Some("10.1.50.2"), FAR[0])).request(
            Wanted::ends()
                .decision(back)
                .also(json!({"outcome": "dropped", "why": "IP_RPFILTER"})),
        ),
    ))
}

/// A packet with one of the node's own addresses as its source.
pub(crate) fn martian() -> Result<Case> {
    let lab = lab::node("mart")
        .addr("a", "lo", &["10.3.0.1/32"])
        .route("n1", "10.20.0.0/24 via 10.2.0.2");
    let udp = Udp::to("10.20.0.2:7").from("10.3.0.1".parse()?);
    let udp = udp.wait(std::time::Duration::from_millis(50));
    // the node knows its own addresses: no route was looked up, and none is made up
    let none = json!({"type": "unknown", "dev": null, "rule": null, "table": null, "how": "unknown",
        "source_check": false, "why": "it ended before a route was chosen for it"});
    Ok(Case::new("martian source", lab).flow(
        lab::udp("udp", "a", udp, (Some("10.3.0.1"), FAR[0])).request(
            Wanted::ends()
                .decision(none)
                .also(json!({"outcome": "dropped", "why": "IP_LOCAL_SOURCE"})),
        ),
    ))
}

/// The route chooses the source: `src` of IPv4 and IPv6.
pub(crate) fn preferred() -> Case {
    let lab = lab::node("pref")
        .addr("n1", "lo", &["10.77.0.1/32", "fd77::1/128"])
        .route("n1", "10.20.0.0/24 via 10.2.0.2 src 10.77.0.1")
        .route("n1", "fd20::/64 via fd02::2 src fd77::1");
    let mut case = Case::new("prefsrc", lab);
    for family in 0..2 {
        let far = FAR[family];
        let src = ["10.77.0.1", "fd77::1"][family];
        let mut decision = lab::decision("o1", Some(lab::B1[family]), MAIN.0, MAIN.1, "lookup");
        decision["prefsrc"] = json!(src);
        case = case.echo("b1", far).flow(
            lab::udp("udp", "n1", Udp::to(&lab::at(far, 7)), (Some(src), far))
                .request(Wanted::leaves("o1").decision(decision).route_get(far)),
        );
    }
    case
}

#[test]
fn strict_reverse_path_filter() -> Result<()> {
    strict()?.run(Load::Quiet)?.agree()
}

#[test]
fn loose_reverse_path_filter() -> Result<()> {
    loose()?.run(Load::Quiet)?.agree()
}

#[test]
fn no_way_back_at_all() -> Result<()> {
    loose_nowhere()?.run(Load::Quiet)?.agree()
}

#[test]
fn martian_source() -> Result<()> {
    martian()?.run(Load::Quiet)?.agree()
}

#[test]
fn preferred_source() -> Result<()> {
    preferred().run(Load::Quiet)?.agree()
}
