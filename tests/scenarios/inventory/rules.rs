//! Rules and neighbours.

use std::collections::BTreeSet;

use crate::lab::*;
use serde_json::Value;

#[test]
fn rules_are_those_of_ip() {
    let lab = rich();
    for rule in [
        "pref 10 from 10.0.0.0/8 to 10.2.0.0/16 fwmark 0x10/0xff iif eth0 oif d0 table 100 suppress_prefixlength 0",
        "pref 11 not from 10.1.0.1 table 100",
        "pref 12 from all tos 0x10 table 200",
        "pref 13 uidrange 0-99 ipproto 99 sport 10-20 dport 80 table 201",
        "pref 14 fwmark 0x20 goto 32766",
        "pref 15 to 10.5.5.5 blackhole",
        "pref 16 to 10.5.5.6 unreachable",
        "pref 17 to 10.5.5.7 prohibit",
        "pref 18 to 10.5.5.8 goto 30000",
        "pref 19 nop",
        "pref 20 table 12345 protocol static",
        "pref 21 tun_id 7 table 9",
        "pref 33 iif gone0 table 40",
    ] {
        lab.ip("a", &format!("rule add {rule}"));
    }
    lab.ip("a", "-6 rule add pref 30 from fd00::/64 fwmark 1 table 40");
    lab.ip("a", "-6 rule add pref 31 not to fd00::1 table 40");
    let netns = lab.read("a");
    for (ipv6, words) in [(false, "-4 rule show"), (true, "-6 rule show")] {
        let printed = lab.ip("a", words);
        let expected: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let rules = netns.rules.iter().filter(|r| r.ipv6 == ipv6);
        let found: Vec<String> = rules
            .map(|r| format!("{}:\t{}", r.preference, r.text))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn neighbours_are_those_of_ip() {
    let lab = rich();
    for line in [
        "neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
        "neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud stale",
        "neigh add fd00::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
        "neigh add 10.0.0.6 dev eth0 nud failed",
        "neigh add proxy 10.0.0.66 dev eth0",
    ] {
        lab.ip("a", line);
    }
    let netns = lab.read("a");
    let found: BTreeSet<String> = netns
        .neighbours
        .iter()
        .map(|n| {
            let dev = &netns.links[&n.dev].name;
            format!(
                "{} {dev} {} {}",
                n.address,
                n.mac.as_deref().unwrap_or(""),
                n.state
            )
        })
        .collect();
    let expected: BTreeSet<String> = lab
        .json("a", "neigh show")
        .iter()
        .map(|n| {
            let state = text_of_first(&n["state"]);
            format!(
                "{} {} {} {state}",
                text(n, "dst"),
                text(n, "dev"),
                text(n, "lladdr")
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 4, "{found:?}");
}

fn text_of_first(value: &Value) -> String {
    value[0].as_str().unwrap_or_default().to_owned()
}
