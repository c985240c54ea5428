//! Packets leave by another uplink than the one their source address belongs to.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Context, Finding, Rule, Severity, Subject, drops, duplicate_default,
    lookup::in_table,
    signs::{Sign, Signs},
    text,
    trace::Trace,
};
use crate::{
    event::{Dir, Ifindex, NetnsId},
    inventory::{Netns, Role},
    model::Hop,
};

/// See the module.
pub(super) struct WrongEgress;

/// Flows without these are not misdirected.
pub(super) const MISDIRECTED: Signs = Signs::or(Sign::Unheard, Sign::AnswersOut);

/// A direction that leaves by the wrong device.
pub(super) struct Misdirection {
    /// The device it left by.
    pub(super) used: Ifindex,
    /// The device that its source address belongs to.
    pub(super) belongs: Ifindex,
    /// How that is known.
    pub(super) why: String,
}

impl Rule for WrongEgress {
    const ID: &'static str = "wrong-egress";
    const ABOUT: &'static str =
        "packets leave by another uplink than their source address belongs to";
    const HIDES: &'static [&'static str] = &["left-unanswered"];

    fn check(&self, ctx: &Context<'_>) -> Vec<Finding> {
        let mut cases: BTreeMap<(IpAddr, Ifindex, Ifindex), Vec<(Trace<'_>, String)>> =
            BTreeMap::new();
        for trace in ctx.traces_with(MISDIRECTED) {
            if let Some(wrong) = misdirection(ctx, &trace) {
                let key = (trace.tuple().src, wrong.used, wrong.belongs);
                cases.entry(key).or_default().push((trace, wrong.why));
            }
        }
        cases
            .into_iter()
            .filter_map(|(key, flows)| finding(ctx, key, &flows))
            .collect()
    }
}

/// Whether a direction leaves by an uplink though its source belongs to another one. Two uplinks
/// are no fault by themselves (ECMP to two switches): it takes a network where addresses are bound
/// to devices, or packets that get lost.
pub(super) fn misdirection(ctx: &Context<'_>, trace: &Trace<'_>) -> Option<Misdirection> {
    let exit = trace.exit().filter(|h| is_plain_uplink(ctx, h, Dir::Out))?;
    if exit.netns != trace.flow.id.scope.netns || trace.is_connected() {
        return None;
    }
    let ns = ctx.netns(exit.netns)?;
    let source = trace.tuple().src;
    let (belongs, why) = home_of(ctx, ns, trace, exit)?;
    let ipv6 = source.is_ipv6();
    let one_subnet = on_link(ns, belongs, source) && on_link(ns, exit.dev, source);
    // an answer to what was sent this way shows that it works; a request shows nothing
    let bound = trace.is_reply
        && trace.back().packets > 0
        && (one_subnet || duplicate_default::are_rivals(ns, ipv6, belongs, exit.dev));
    (bound || trace.is_lost_beyond(ctx)).then_some(Misdirection {
        used: exit.dev,
        belongs,
        why,
    })
}

/// The uplink that the source address belongs to, when it is not the one that was used.
fn home_of(
    ctx: &Context<'_>,
    ns: &Netns,
    trace: &Trace<'_>,
    exit: &Hop,
) -> Option<(Ifindex, String)> {
    let source = trace.tuple().src;
    let name = |dev| text::dev_name(ctx, ns.id, dev);
    if let Some(owner) = ns.owner_for(source, Some(exit.dev)) {
        let other = owner.role == Role::Uplink && owner.ifindex != exit.dev;
        return other.then(|| {
            (
                owner.ifindex,
                format!("{source} is an address of {}", owner.name),
            )
        });
    }
    let entry = trace
        .opposite()
        .entry()
        .filter(|h| is_plain_uplink(ctx, h, Dir::In));
    if let Some(entry) = entry {
        let other = entry.dev != exit.dev && entry.netns == exit.netns;
        return other.then(|| {
            (
                entry.dev,
                format!(
                    "the network delivers packets for {source} to {}",
                    name(entry.dev)
                ),
            )
        });
    }
    by_rule(ns, trace).filter(|(dev, _)| *dev != exit.dev)
}

/// `ip rule from SOURCE lookup TABLE`, with the device of the route in that table.
fn by_rule(ns: &Netns, trace: &Trace<'_>) -> Option<(Ifindex, String)> {
    let t = trace.tuple();
    let rule = ns.rules.iter().find(|r| {
        let from = r.from.is_some_and(|p| !p.is_default() && p.contains(t.src));
        from && r.ipv6 == t.is_ipv6() && !r.invert && r.to.is_none_or(|p| p.contains(t.dst))
    })?;
    let dev = in_table(ns, rule.table, t.dst)?.nexthops.first()?.dev?;
    Some((dev, format!("rule {}: {}", rule.preference, rule.text)))
}

fn is_plain_uplink(ctx: &Context<'_>, hop: &Hop, dir: Dir) -> bool {
    hop.dir == dir && hop.encap.is_none() && ctx.role(hop.netns, hop.dev) == Some(Role::Uplink)
}

fn on_link(ns: &Netns, dev: Ifindex, address: IpAddr) -> bool {
    ns.links
        .get(&dev)
        .is_some_and(|l| l.addresses.iter().any(|a| a.prefix().contains(address)))
}

fn finding(
    ctx: &Context<'_>,
    (source, used, belongs): (IpAddr, Ifindex, Ifindex),
    flows: &[(Trace<'_>, String)],
) -> Option<Finding> {
    let (trace, why) = flows.first()?;
    let netns = trace.flow.id.scope.netns;
    let name = |dev| text::dev_name(ctx, netns, dev);
    let ids = drops::ranked(flows.iter().map(|(t, _)| (t.dir().packets, t.flow.id)));
    let packets: u64 = flows.iter().map(|(t, _)| t.dir().packets).sum();
    let mut evidence = vec![why.clone()];
    for decision in trace.decisions().filter(|d| d.decision.dev == Some(used)) {
        let via = decision
            .decision
            .gateway
            .map_or(String::new(), |g| format!(" via {g}"));
        let matched = decision.matched.as_deref().unwrap_or("route");
        evidence.push(format!("decided: {matched}{via} dev {}", name(used)));
    }
    if trace.is_handshake_stuck(ctx) {
        evidence.push("TCP: the other side repeats itself, it does not get these packets".into());
    }
    evidence.extend(text::samples(ctx, &ids));
    let ipv6 = source.is_ipv6();
    let ip = text::ip(ctx, netns, ipv6);
    Some(Finding {
        id: WrongEgress::ID,
        severity: Severity::Error,
        summary: format!(
            "{} from {source} left {} by {}, but {source} belongs to {}: a network that ties \
             addresses to interfaces (source/destination check, uRPF) drops them.",
            text::count(packets, "packet"),
            text::place(ctx, netns),
            name(used),
            name(belongs),
        ),
        subject: Subject {
            flows: ids,
            dev: Some((netns, used)),
            address: Some(source),
        },
        evidence,
        next: format!(
            "{}; {ip} rule show; {}",
            text::route_get(ctx, trace),
            own_table(ctx, netns, belongs, &[source]),
        ),
    })
}

/// Tables from this number on are free for administrators; CNIs use lower ones for their devices.
const FIRST_TABLE: u32 = 100;
/// Those from here on are the kernel's (`default`, `main`, `local`).
const LAST_TABLE: u32 = 253;

/// Commands that send packets of these addresses out by a device: its table, and rules to it.
pub(super) fn own_table(
    ctx: &Context<'_>,
    netns: NetnsId,
    dev: Ifindex,
    sources: &[IpAddr],
) -> String {
    let Some(ns) = ctx.netns(netns) else {
        return "ip rule add from ADDRESS lookup TABLE".into();
    };
    let ipv6 = sources.first().is_some_and(IpAddr::is_ipv6);
    let (ip, name) = (text::ip(ctx, netns, ipv6), text::dev_name(ctx, netns, dev));
    let defaults: Vec<_> = ns
        .routes
        .iter()
        .filter(|r| r.dst.is_default() && r.dst.address.is_ipv6() == ipv6)
        .flat_map(|r| r.nexthops.iter().map(move |n| (r.table, n)))
        .collect();
    let own = defaults
        .iter()
        .find(|(table, n)| *table != 254 && n.dev == Some(dev))
        .map(|(table, _)| *table);
    let used =
        |t: u32| ns.routes.iter().any(|r| r.table == t) || ns.rules.iter().any(|r| r.table == t);
    let table = own
        .or_else(|| (FIRST_TABLE..LAST_TABLE).find(|t| !used(*t)))
        .unwrap_or(FIRST_TABLE);
    // the gateway of its own default route, or another's that is on its network
    let gateway = defaults
        .iter()
        .filter(|(_, n)| n.dev == Some(dev))
        .chain(&defaults)
        .find_map(|(_, n)| {
            n.gateway
                .filter(|g| n.dev == Some(dev) || on_link(ns, dev, *g))
        });
    let mut commands = Vec::new();
    if own.is_none() {
        let via = gateway.map_or("GATEWAY".into(), |g| g.to_string());
        commands.push(format!(
            "{ip} route add default via {via} dev {name} table {table}"
        ));
    }
    let all: std::collections::BTreeSet<&IpAddr> = sources.iter().collect();
    commands.extend(
        all.into_iter()
            .take(3)
            .map(|a| format!("{ip} rule add from {a} lookup {table}")),
    );
    commands.join("; ")
}
