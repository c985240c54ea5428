//! Tunnels with an outer header that is read: what was decided inside, what it was wrapped in, what
//! was decided for the outer packet, and the same on the way back.

use anyhow::{Context as _, Result};
use harness::{Topology, expect};
use serde_json::{Value, json};

use crate::{V4, V6, has, nodes, passes, traced};

/// The ends of the outer packets.
const UNDERLAY4: (&str, &str) = ("10.0.0.1", "10.0.0.2");
const UNDERLAY6: (&str, &str) = ("fd00::1", "fd00::2");

/// A kind of tunnel device.
struct Kind {
    /// As `ip link` calls it.
    name: &'static str,
    /// What follows, without the addresses.
    settings: &'static str,
    ends: (&'static str, &'static str),
    /// What it carries, and what that looks like on the wire.
    carries: &'static [((&'static str, &'static str), &'static str)],
    vni: Option<u32>,
    /// Carries Ethernet, so that the other end has to be looked for.
    ethernet: bool,
}

/// Raises both nodes with such a device between them, sends, and compares.
fn runs(kind: &Kind) -> Result<()> {
    let lab = Topology::new("probe").ns(&["n1"]).raise()?;
    let add = |a: &str, b: &str| {
        // geneve has no local address of its own
        let local = if kind.ethernet {
            String::new()
        } else {
            format!("local {a} ")
        };
        format!("t0 type {} {local}remote {b} {}", kind.name, kind.settings)
    };
    let link = format!("ip link add {}", add(kind.ends.0, kind.ends.1));
    if !has(lab.ns("n1")?, &link.split_whitespace().collect::<Vec<_>>())? {
        return Ok(());
    }
    drop(lab);
    let lab = [(1, 2), (2, 1)]
        .into_iter()
        .fold(nodes(kind.name), |lab, (me, other)| {
            let ns = format!("n{me}");
            let ends = if me == 1 {
                kind.ends
            } else {
                (kind.ends.1, kind.ends.0)
            };
            let lab = lab
                .link(&ns, &add(ends.0, ends.1))
                .ip(&ns, "link set t0 mtu 1400 up")
                .addr(
                    &ns,
                    "t0",
                    &[&format!("10.99.0.{me}/24"), &format!("fd99::{me}/64")],
                );
            let via = |gateway: String| {
                if kind.ethernet {
                    format!(" via {gateway}")
                } else {
                    String::new()
                }
            };
            kind.carries.iter().fold(lab, |lab, ((src, _), _)| {
                let (net, gateway) = if src.contains(':') {
                    (format!("fd44:{other}::/64"), format!("fd99::{other}"))
                } else {
                    (format!("10.244.{other}.0/24"), format!("10.99.0.{other}"))
                };
                lab.route(&ns, &format!("{net}{} dev t0", via(gateway)))
            })
        });
    let lab = kind
        .carries
        .iter()
        .fold(lab, |lab, ((_, dst), _)| lab.reach("p1", dst));
    let network = lab.raise()?;
    let flows: Vec<(&str, &str)> = kind.carries.iter().map(|(flow, _)| *flow).collect();
    let report = traced(&network, ("p1", "p2"), &flows)?;
    for (flow, wire) in kind.carries {
        verify(&report, kind, *flow, wire).with_context(|| format!("{}: {flow:?}", kind.name))?;
    }
    Ok(())
}

fn verify(report: &Value, kind: &Kind, flow: (&str, &str), wire: &str) -> Result<()> {
    let to = ["in lxc-p1", "out t0", "out eth0"];
    let back = ["in eth0", "in t0", "out lxc-p1"];
    let flow = passes(report, flow, &to, &back)?;
    let outer = |(src, dst): (&str, &str)| json!({"encap": {"kind": wire, "vni": kind.vni, "src": src, "dst": dst}});
    let decided = |dev: &str| {
        expect::route(&json!({"dev": dev, "type": "unicast", "table": 254, "errno": 0}))
    };
    expect::is(
        flow,
        &json!({"outcome": "forwarded", "left_by": "eth0", "drops": []}),
    )?;
    expect::path(
        flow,
        &[
            expect::hop_with("lxc-p1", "in", json!({"encap": null})),
            decided("t0"),
            expect::hop_with("t0", "out", json!({"encap": null})),
            expect::route(&json!({"dev": "eth0", "type": "unicast"})),
            expect::hop_with("eth0", "out", outer(kind.ends)),
        ],
    )?;
    let reply = expect::reply(flow)?;
    expect::is(
        reply,
        &json!({"outcome": "forwarded", "left_by": "lxc-p1", "drops": []}),
    )?;
    expect::path(
        reply,
        &[
            expect::hop_with("eth0", "in", outer((kind.ends.1, kind.ends.0))),
            expect::hop_with("t0", "in", json!({"encap": null})),
            decided("lxc-p1"),
            expect::hop("lxc-p1", "out"),
        ],
    )
}

#[test]
fn ipip() -> Result<()> {
    runs(&Kind {
        name: "ipip",
        settings: "",
        ends: UNDERLAY4,
        carries: &[(V4, "ipip")],
        vni: None,
        ethernet: false,
    })
}

#[test]
fn sit() -> Result<()> {
    runs(&Kind {
        name: "sit",
        settings: "",
        ends: UNDERLAY4,
        carries: &[(V6, "ip6")],
        vni: None,
        ethernet: false,
    })
}

/// With and without the option that limits how deep tunnels are nested, which is there by default.
#[test]
fn ip6tnl() -> Result<()> {
    for settings in ["mode any encaplimit none", "mode any"] {
        runs(&Kind {
            name: "ip6tnl",
            settings,
            ends: UNDERLAY6,
            carries: &[(V4, "ipip"), (V6, "ip6")],
            vni: None,
            ethernet: false,
        })
        .context(settings)?;
    }
    Ok(())
}

#[test]
fn gre() -> Result<()> {
    runs(&Kind {
        name: "gre",
        settings: "key 7",
        ends: UNDERLAY4,
        carries: &[(V4, "gre"), (V6, "gre")],
        vni: Some(7),
        ethernet: false,
    })
}

#[test]
fn geneve() -> Result<()> {
    runs(&Kind {
        name: "geneve",
        settings: "id 42",
        ends: UNDERLAY4,
        carries: &[(V4, "geneve"), (V6, "geneve")],
        vni: Some(42),
        ethernet: true,
    })
}
