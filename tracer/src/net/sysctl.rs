//! Sysctls that explain losses.

use std::{collections::BTreeMap, fs};

use crate::inventory::Netns;

const GLOBAL: [&str; 8] = [
    "ipv4/ip_forward",
    "ipv4/fib_multipath_hash_policy",
    "ipv4/conf/all/rp_filter",
    "ipv4/conf/all/forwarding",
    "ipv6/conf/all/forwarding",
    "ipv4/conf/all/accept_local",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-call-ip6tables",
];
const PER_DEVICE: [(&str, &str); 3] = [
    ("ipv4", "rp_filter"),
    ("ipv4", "forwarding"),
    ("ipv6", "forwarding"),
];

/// Those of the calling thread's namespace. A value that does not exist (no IPv6, no
/// `br_netfilter`) is left out.
pub(super) fn sysctls(netns: &Netns) -> BTreeMap<String, String> {
    let global = GLOBAL.iter().map(|name| (*name).to_owned());
    let per_device = netns.links.values().flat_map(|link| {
        let of = move |(family, key)| format!("{family}/conf/{}/{key}", link.name);
        PER_DEVICE.into_iter().map(of)
    });
    let read = |name: String| {
        let value = fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
        Some((name, value.trim().to_owned()))
    };
    global.chain(per_device).filter_map(read).collect()
}
