//! Words that do not belong where they stand, and what was probably meant.

use super::{
    head::Head,
    parse::{PResult, fault},
};

/// Words of pcap-filter that have no meaning for flows.
const FOREIGN: &[&str] = &[
    "action",
    "arp",
    "atalk",
    "broadcast",
    "decnet",
    "dir",
    "ether",
    "fddi",
    "gateway",
    "geneve",
    "greater",
    "ifname",
    "iface",
    "ipx",
    "iso",
    "less",
    "link",
    "llc",
    "mpls",
    "multicast",
    "on",
    "pppoed",
    "pppoes",
    "rarp",
    "rulenum",
    "stp",
    "subtype",
    "type",
    "vlan",
    "wlan",
];

/// All keywords that start a primitive, for hints.
const KEYWORDS: &[&str] = &[
    "host",
    "net",
    "port",
    "portrange",
    "src",
    "dst",
    "ip",
    "ip6",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "sctp",
    "proto",
    "dev",
    "netns",
    "vni",
    "mark",
    "table",
    "reason",
    "drop",
    "pod",
    "inner",
    "outer",
    "not",
    "and",
    "or",
];

/// A hint when two primitives stand side by side.
pub(super) fn juxtaposed(before: Option<Head>, word: &str) -> String {
    match before {
        None if word.parse::<u16>().is_ok() => format!("a port is written `port {word}`"),
        _ => format!("join them: `… and {word} …`"),
    }
}

pub(super) fn is_keyword(w: &str) -> bool {
    KEYWORDS.contains(&w)
}

pub(super) fn is_foreign(w: &str) -> bool {
    w.contains('[') || FOREIGN.contains(&w)
}

/// Not a word of the language.
pub(super) fn unknown<T>(w: &str, at: usize) -> PResult<T> {
    if is_foreign(w) {
        return fault(
            at,
            w.len(),
            "this part of pcap-filter is not supported",
            Some("tracer works on flows: addresses, ports and protocols of IP packets".to_owned()),
        );
    }
    let near = KEYWORDS.iter().map(|k| (distance(w, k), *k)).min();
    let hint = match near {
        _ if w.parse::<u16>().is_ok() => Some(format!("a port is written `port {w}`")),
        Some((d, k)) if d <= 2 && d < k.len().min(w.len()) => Some(format!("did you mean `{k}`?")),
        _ if w.contains('.') => Some("names are not looked up: use the address".to_owned()),
        _ => None,
    };
    fault(
        at,
        w.len(),
        "expected a primitive (`host 10.0.0.1`, `port 53`, `dev eth0`, ...), `not` or `(`",
        hint,
    )
}

/// Edit distance, for hints.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 16 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let changed = diagonal + usize::from(x.to_ascii_lowercase() != y);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
