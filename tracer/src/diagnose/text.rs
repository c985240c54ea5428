//! How findings name things: as `ip`, `tcpdump` and `sysctl` print them.

use std::fmt::Write as _;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use foldhash::fast::RandomState;

use super::{Context, drops::Hit, trace::Trace};
use crate::{
    event::{Ifindex, NetnsId, Tuple},
    inventory::{Prefix, Route},
    model::FlowId,
};

/// More flows than these are only counted.
const SAMPLES: usize = 3;

/// `10.0.0.1:80`, `[fd00::1]:80`, or the bare address without a port.
fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (_, None) => address.to_string(),
        (IpAddr::V4(a), Some(p)) => format!("{a}:{p}"),
        (IpAddr::V6(a), Some(p)) => format!("[{a}]:{p}"),
    }
}

/// `udp 10.244.1.10:40000 -> 10.244.2.20:7`.
pub(super) fn tuple(t: &Tuple) -> String {
    let ports = t.proto.has_ports() && !t.later_fragment;
    let (src, dst) = (
        end(t.src, ports.then_some(t.sport)),
        end(t.dst, ports.then_some(t.dport)),
    );
    format!("{} {src} -> {dst}", t.proto)
}

/// The flow, and where it entered when that matters to tell it from another.
pub(super) fn scoped(ctx: &Context<'_>, id: &FlowId) -> String {
    let mut s = tuple(&id.tuple);
    if let Some(dev) = id.scope.dev {
        let _ = write!(s, " from {}", dev_name(ctx, id.scope.netns, dev));
    }
    if let Some(vni) = id.scope.vni {
        let _ = write!(s, " vni {vni}");
    }
    s
}

/// The flows as evidence lines, the first few by name.
pub(super) fn samples(ctx: &Context<'_>, flows: &[FlowId]) -> Vec<String> {
    let mut lines: Vec<String> = flows
        .iter()
        .take(SAMPLES)
        .map(|f| format!("flow {}", scoped(ctx, f)))
        .collect();
    if flows.len() > SAMPLES {
        lines.push(format!("and {} more flows", flows.len() - SAMPLES));
    }
    lines
}

/// `3 packets: NETFILTER_DROP at nft_do_chain on lxc-p1`, one line for each place.
pub(super) fn places(ctx: &Context<'_>, hits: &[Hit<'_>]) -> Vec<String> {
    // named once for each place, not for each drop
    let mut places: HashMap<_, u64, RandomState> = HashMap::default();
    for hit in hits {
        let (p, errno) = (&hit.drop.place, hit.drop.route.map_or(0, |r| r.errno));
        let place = (&*p.reason, &*p.symbol, hit.netns(), hit.dev(), errno);
        let sum = places.entry(place).or_default();
        *sum = sum.saturating_add(hit.drop.count);
    }
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for ((reason, symbol, netns, dev, errno), n) in places {
        let dev = dev.map_or_else(String::new, |d| format!(" on {}", dev_name(ctx, netns, d)));
        let errno = match errno {
            0 => String::new(),
            n => format!(", route error {} ({n})", self::errno(n)),
        };
        let place = format!("{reason} at {symbol}{dev}{errno}");
        let sum = sums.entry(place).or_default();
        *sum = sum.saturating_add(n);
    }
    sums.into_iter()
        .map(|(place, n)| format!("{}: {place}", count(n, "packet")))
        .collect()
}

/// The errno's name, for those that routing uses.
pub(super) fn errno(n: u32) -> &'static str {
    match n {
        13 => "EACCES",
        22 => "EINVAL",
        101 => "ENETUNREACH",
        113 => "EHOSTUNREACH",
        _ => "errno",
    }
}

/// `1 packet`, `3 packets`.
pub(super) fn count(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// The name of the namespace in a sentence: the node's name, or the pod's.
pub(super) fn place(ctx: &Context<'_>, netns: NetnsId) -> String {
    let node = if ctx.inventory.node.is_empty() {
        "this node"
    } else {
        &ctx.inventory.node
    };
    if netns == ctx.inventory.home {
        return node.to_owned();
    }
    match ctx.netns(netns).and_then(|n| n.name.as_deref()) {
        Some(name) => format!("namespace {name} on {node}"),
        None => format!("{netns} on {node}"),
    }
}

/// The device's name.
pub(super) fn dev_name(ctx: &Context<'_>, netns: NetnsId, dev: Ifindex) -> String {
    ctx.inventory.dev_name(netns, dev)
}

/// `ip`, `ip -6`, `ip -n NAME`: the command for a namespace and family.
pub(super) fn ip(ctx: &Context<'_>, netns: NetnsId, ipv6: bool) -> String {
    let mut s = in_netns(ctx, netns);
    s += if ipv6 { "ip -6" } else { "ip" };
    s
}

/// What goes before a command to run it in the namespace; empty for the node's own.
pub(super) fn in_netns(ctx: &Context<'_>, netns: NetnsId) -> String {
    if netns == ctx.inventory.home {
        return String::new();
    }
    match ctx.netns(netns) {
        Some(ns) if ns.name.is_some() => {
            format!("ip netns exec {} ", ns.name.as_deref().unwrap_or_default())
        }
        Some(ns) if ns.pid.is_some() => {
            format!("nsenter -t {} -n ", ns.pid.unwrap_or_default())
        }
        _ => String::new(),
    }
}

/// `ip route get DST from SRC iif DEV` for packets like these.
pub(super) fn route_get(ctx: &Context<'_>, trace: &Trace<'_>) -> String {
    let (t, netns) = (trace.tuple(), trace.flow.id.scope.netns);
    let mut s = format!("{} route get {}", ip(ctx, netns, t.is_ipv6()), t.dst);
    if !t.src.is_unspecified() {
        let _ = write!(s, " from {}", t.src);
    }
    if let Some(hop) = trace.entry() {
        let _ = write!(s, " iif {}", dev_name(ctx, hop.netns, hop.dev));
    }
    s
}

/// A route as `ip route` prints it; the table is added where it is not main.
pub(super) fn route(ctx: &Context<'_>, netns: NetnsId, r: &Route) -> String {
    ctx.inventory.route_text(netns, r)
}

/// `10.244.2.20`, or `10.244.2.20 and 2 more addresses`.
pub(super) fn addresses(all: impl IntoIterator<Item = IpAddr>) -> String {
    let mut all: Vec<IpAddr> = all.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    let Some(first) = all.first() else {
        return "an unknown address".into();
    };
    match all.len() - 1 {
        0 => first.to_string(),
        1 => format!("{first} and 1 more address"),
        n => format!("{first} and {n} more addresses"),
    }
}

/// The node that has the pods of a prefix, for a command: its address, or `NODE`.
pub(super) fn node_for(ctx: &Context<'_>, pods: &Prefix) -> String {
    let known = ctx.intent.node_for(pods, pods.address.is_ipv6());
    known.map_or("NODE".into(), |a| a.to_string())
}

/// `IPv6` or `IPv4`.
pub(super) fn family(ipv6: bool) -> &'static str {
    if ipv6 { "IPv6" } else { "IPv4" }
}
