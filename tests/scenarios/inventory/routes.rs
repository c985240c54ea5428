//! Routes, multipath and nexthop objects.

use std::collections::BTreeSet;

use crate::lab::*;
use serde_json::Value;
use tracer::{
    event::RouteKind,
    inventory::{Netns, Route},
};

/// A route in one line, whatever it comes from.
fn line(kind: &str, dst: &str, rest: &[String; 6]) -> String {
    format!("{kind} {dst} {}", rest.join(" "))
}

fn own_line(netns: &Netns, r: &Route) -> String {
    let hops: Vec<String> = r
        .nexthops
        .iter()
        .map(|n| {
            let gateway = n.gateway.map_or("-".into(), |g| g.to_string());
            let dev = n
                .dev
                .and_then(|d| netns.links.get(&d))
                .map_or("-", |l| &l.name);
            format!("[{gateway} {dev} {} {}]", n.weight, n.onlink)
        })
        .collect();
    let dst = match r.dst.to_string() {
        dst if r.dst.is_default() && r.kind.name() == "multicast" => format!("{dst}/0"),
        dst => dst,
    };
    line(
        r.kind.name(),
        &dst,
        &[
            format!("table {} proto {}", r.table, r.protocol),
            format!("scope {} metric {}", r.scope, r.metric),
            format!("src {}", r.prefsrc.map_or("-".into(), |a| a.to_string())),
            format!("mtu {}", r.mtu.unwrap_or(0)),
            format!("nhid {}", r.nhid.unwrap_or(0)),
            hops.join(","),
        ],
    )
}

fn ip_line(route: &Value) -> String {
    let hop = |n: &Value| {
        let gateway = n["gateway"]
            .as_str()
            .or(n["via"]["host"].as_str())
            .unwrap_or("-");
        let (dev, weight) = (text(n, "dev"), number(n, "weight").max(1));
        format!("[{gateway} {dev} {weight} {}]", has_flag(n, "onlink"))
    };
    // a number with -N
    let kind = RouteKind::from_rtn(text(route, "type").parse().unwrap()).name();
    let reject = ["blackhole", "unreachable", "prohibit", "throw"].contains(&kind);
    let hops: Vec<String> = match route["nexthops"].as_array() {
        Some(all) => all.iter().map(hop).collect(),
        None if reject => Vec::new(),
        None => vec![hop(route)],
    };
    let numeric = |key: &str| match text(route, key).as_str() {
        "" | "global" => "0".to_owned(),
        n => n.to_owned(),
    };
    let or_dash = |key: &str| match text(route, key) {
        s if s.is_empty() => "-".into(),
        s => s,
    };
    line(
        kind,
        &text(route, "dst"),
        &[
            format!("table {} proto {}", numeric("table"), numeric("protocol")),
            format!(
                "scope {} metric {}",
                numeric("scope"),
                number(route, "metric")
            ),
            format!("src {}", or_dash("prefsrc")),
            format!("mtu {}", number(&route["metrics"][0], "mtu")),
            format!("nhid {}", number(route, "nhid")),
            hops.join(","),
        ],
    )
}

#[test]
fn routes_are_those_of_ip() {
    let lab = rich();
    add_routes(&lab);
    let netns = lab.read("a");
    // a tunnel on a route prints `dst` twice in JSON: compared as text below
    let has_encap = |r: &Route| r.nexthops.iter().any(|n| n.encap.is_some());
    let plain = netns.routes.iter().filter(|r| !has_encap(r));
    let mut found: Vec<String> = plain.map(|r| own_line(&netns, r)).collect();
    let mut routes = lab.json("a", "-d -4 route show table all");
    routes.extend(lab.json("a", "-d -6 route show table all"));
    let plain = routes.iter().filter(|r| r.get("encap").is_none());
    let mut expected: Vec<String> = plain.map(ip_line).collect();
    found.sort();
    expected.sort();
    // `ip -6 route show table all` may list a table twice
    expected.dedup();
    assert_eq!(found, expected);
    assert!(found.len() > 25, "{}", found.len());

    let encaps = netns.routes.iter().flat_map(|r| r.nexthops.iter());
    let encaps: BTreeSet<&str> = encaps.filter_map(|n| n.encap.as_deref()).collect();
    let mut printed = lab.ip("a", "-4 route show table all");
    printed += &lab.ip("a", "-6 route show table all");
    let lines = printed
        .lines()
        .filter_map(|l| l.split_once("encap ")?.1.split_once(" dev"));
    let printed: BTreeSet<&str> = lines.map(|(encap, _)| encap.trim()).collect();
    assert_eq!(encaps, printed);
    assert_eq!(encaps.len(), 4);
}

#[test]
fn a_group_is_resolved_without_the_kernels_help() {
    let lab = rich();
    run(&format!(
        "ip netns exec {} sysctl -qw net.ipv4.nexthop_compat_mode=0",
        lab.name("a")
    ));
    add_routes(&lab);
    let netns = lab.read("a");
    let route = netns.routes.iter().find(|r| r.nhid == Some(11)).unwrap();
    let weights: Vec<u32> = route.nexthops.iter().map(|n| n.weight).collect();
    assert_eq!(weights, [5, 2]);
}
