//! Chains → the steps of a path, with route decisions between the hops.

use std::net::IpAddr;

use super::{
    Decision, Drop, Hop, Step,
    chain::{Chain, ChainStep, Leg},
    draft::Draft,
    explain::{EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH, Explain, Lookup, transport},
    group::Context,
    redirect::redirected,
    topology::Topology,
};
use crate::{
    event::{Dir, How, Ifindex, RouteDecision, RouteFailure, RouteKind, Tuple, Why},
    inventory::Query,
};

/// The steps of a direction in the order of its packets.
pub(super) fn path(draft: &Draft, context: Context<'_>) -> Vec<Step> {
    let (topology, explain) = (context.topology, context.explain);
    let route = |d| Step::Route(context.decisions.borrow_mut().share(d));
    let mut steps = Vec::new();
    if let Some(chain) = &draft.chain {
        for step in &chain.steps {
            steps.extend(decision_before(chain, step, topology, explain).map(route));
            steps.push(Step::Hop(hop(&step.leg, &draft.tuple)));
        }
    }
    steps.extend(last_decision(draft, topology, explain).map(route));
    // Kept for as long as the flow.
    steps.shrink_to_fit();
    steps
}

fn hop(leg: &Leg, flow: &Tuple) -> Hop {
    Hop {
        wire: (leg.key.tuple != *flow).then(|| Box::new(leg.key.tuple)),
        netns: leg.key.netns,
        dev: leg.key.dev,
        dir: leg.key.dir,
        counters: leg.counters,
        encap: leg.encap.map(Box::new),
        tunnel_key: leg.key.tunnel_key,
        vlan: leg.vlan,
        max_len: leg.max_len,
        mark: leg.mark,
    }
}

/// The decision that led to an outgoing hop. The devices below (VLAN, bond) repeat that of the
/// device above.
fn decision_before(
    chain: &Chain,
    step: &ChainStep,
    topology: &Topology,
    explain: &dyn Explain,
) -> Option<Decision> {
    let leg = &step.leg;
    let route = leg.route.filter(|_| leg.key.dir == Dir::Out)?;
    let bridged = route.bridged || was_bridged(chain, step, topology);
    let redirected_by = if bridged {
        None
    } else {
        redirected(chain, step, &route, topology)
    };
    let above = step.parent.and_then(|p| chain.steps.get(p)).map(|s| &s.leg);
    let repeated = above.is_some_and(|a| {
        a.key.dir == Dir::Out && a.key.encap == leg.key.encap && a.route.is_some()
    });
    if repeated && redirected_by.is_none() {
        return None;
    }
    let route = RouteDecision {
        bridged,
        bypass: redirected_by.is_some(),
        ..match route.how {
            // a lookup that a program made says something only when it was followed
            How::Inferred if route.dev != Some(leg.key.dev) => {
                RouteDecision::unknown(How::Inferred)
            }
            _ => route,
        }
    };
    let route = if route.how == How::Inferred && !bridged && redirected_by.is_none() {
        not_routed(route, leg)
    } else {
        route
    };
    Some(Decision {
        redirected_by,
        ..explained(route, &lookup(leg), leg.route_changes, explain)
    })
}

/// The packet carried no route, was not bridged, and came in by no device with a program.
fn not_routed(route: RouteDecision, leg: &Leg) -> RouteDecision {
    RouteDecision {
        how: How::Unknown,
        why: Some(match leg.key.in_dev {
            Some(_) => Why::NotRouted,
            None => Why::PacketSocket,
        }),
        ..route
    }
}

/// From one port of a bridge to another without a decision. Only `br_netfilter` marks such packets.
fn was_bridged(chain: &Chain, step: &ChainStep, topology: &Topology) -> bool {
    let came = step
        .parent
        .and_then(|p| chain.steps.get(p))
        .map(|s| &s.leg.key);
    let went = &step.leg.key;
    let bridge = |dev| {
        let master = topology.master(went.netns, dev);
        master.filter(|m| topology.is_bridge(went.netns, *m))
    };
    step.leg.route.is_some_and(|r| r.how == How::Inferred)
        && came.is_some_and(|came| {
            came.netns == went.netns
                && came.dir == Dir::In
                && bridge(came.dev).is_some_and(|m| bridge(went.dev) == Some(m))
        })
}

/// What was looked up for a hop: the outer addresses when it is the outer leg of a tunnel.
fn lookup(leg: &Leg) -> Lookup {
    let for_output = (leg.route).is_some_and(|r| r.bypass && r.how != How::Inferred);
    let (src, dst) = if let Some(outer) = leg.encap {
        (outer.src, outer.dst)
    } else {
        let routed = leg.routed();
        (routed.src, routed.dst)
    };
    Lookup {
        netns: leg.key.netns,
        ipv6: dst.is_ipv6(),
        src,
        dst,
        // a program looks up as if the packet were sent from here
        iif: leg.key.in_dev.filter(|_| !for_output),
        mark: leg.mark,
        transport: leg
            .encap
            .is_none()
            .then(|| transport(&leg.key.tuple))
            .flatten(),
    }
}

fn explained(
    route: RouteDecision,
    lookup: &Lookup,
    changes: u32,
    explain: &dyn Explain,
) -> Decision {
    let lookup = &if route.source_check {
        back_to_source(lookup)
    } else {
        *lookup
    };
    // the kernel's record of a smaller path MTU names the destination itself as its gateway
    let route = RouteDecision {
        gateway: route.gateway.filter(|g| *g != lookup.dst),
        ..route
    };
    let found = explain.explain(lookup, &route).unwrap_or_default();
    Decision {
        decision: RouteDecision {
            table: route.table.or(found.table),
            ..route
        },
        ipv6: lookup.ipv6,
        rule: found.rule,
        prefsrc: found.prefsrc,
        matched: found.matched,
        changes,
        redirected_by: None,
        why: route.why.map(|why| why.text().to_owned()).or(found.why),
    }
}

/// What source validation looks up (`__fib_validate_source()`): as if the packet were answered.
fn back_to_source(lookup: &Lookup) -> Lookup {
    Lookup {
        src: lookup.dst,
        dst: lookup.src,
        // the reverse lookup has no ports
        transport: None,
        ..*lookup
    }
}

/// The decision that ended the packets on this node: none, blackhole, local delivery and so on.
fn last_decision(draft: &Draft, topology: &Topology, explain: &dyn Explain) -> Option<Decision> {
    let routed = draft.routed();
    let lookup = Lookup {
        netns: draft.scope.netns,
        ipv6: routed.is_ipv6(),
        src: routed.src,
        dst: routed.dst,
        iif: draft.scope.dev,
        mark: draft
            .chain
            .iter()
            .flat_map(Chain::legs)
            .map(|l| l.mark)
            .last()
            .unwrap_or(0),
        transport: transport(&draft.tuple),
    };
    let route = dropped_by(draft)
        .or_else(|| {
            draft
                .failures
                .iter()
                .max_by_key(|f| (f.last, f.errno))
                .map(failed)
        })
        .or_else(|| local_delivery(draft, topology))?;
    Some(explained(route, &lookup, 0, explain))
}

/// From the drops: a decision that is an error, or one that no hop shows.
fn dropped_by(draft: &Draft) -> Option<RouteDecision> {
    let worst = |drops: &mut dyn Iterator<Item = &Drop>| {
        drops
            .max_by_key(|d| (d.count, d.last, d.place.clone()))
            .and_then(|d| d.route)
    };
    let error = worst(
        &mut draft
            .drops
            .iter()
            .filter(|d| d.route.is_some_and(|r| ends(&r))),
    );
    let routed = || {
        draft
            .chain
            .iter()
            .flat_map(Chain::legs)
            .any(|l| l.key.dir == Dir::Out && l.route.is_some())
    };
    error.map(named_by_errno).or_else(|| {
        if routed() {
            return None;
        }
        // An underlay decision says nothing about the packet inside.
        worst(
            &mut draft
                .drops
                .iter()
                .filter(|d| d.route.is_some() && d.encap.is_none()),
        )
    })
}

fn ends(route: &RouteDecision) -> bool {
    route.errno != 0
        || matches!(
            route.kind,
            RouteKind::None | RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
        )
}

/// IPv6 answers a missing route with an entry of type unreachable; its errno tells it apart.
fn named_by_errno(route: RouteDecision) -> RouteDecision {
    let specific = matches!(
        route.kind,
        RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
    );
    let kind = match route.errno {
        ENETUNREACH => RouteKind::None,
        _ if specific => route.kind,
        errno => kind_of_errno(errno).unwrap_or(route.kind),
    };
    RouteDecision { kind, ..route }
}

fn kind_of_errno(errno: u32) -> Option<RouteKind> {
    match errno {
        ENETUNREACH => Some(RouteKind::None),
        EINVAL => Some(RouteKind::Blackhole),
        EHOSTUNREACH => Some(RouteKind::Unreachable),
        EACCES => Some(RouteKind::Prohibit),
        _ => None,
    }
}

/// The name of an errno that a failed lookup gives its sender.
pub(super) fn errno_name(errno: u32) -> String {
    match errno {
        ENETUNREACH => "ENETUNREACH".into(),
        EINVAL => "EINVAL".into(),
        EHOSTUNREACH => "EHOSTUNREACH".into(),
        EACCES => "EACCES".into(),
        n => format!("errno {n}"),
    }
}

fn failed(failure: &RouteFailure) -> RouteDecision {
    RouteDecision {
        kind: kind_of_errno(failure.errno).unwrap_or(RouteKind::Unknown),
        // the last table that had no match is not the one that decided
        table: (failure.errno != ENETUNREACH && !failure.by_rule).then_some(failure.table),
        errno: failure.errno,
        asked: Some(failure.asked),
        ..RouteDecision::unknown(if failure.by_rule {
            How::Inferred
        } else {
            How::Lookup
        })
    }
}

/// By the lookup that was made for the packets, else by the configuration.
fn local_delivery(draft: &Draft, topology: &Topology) -> Option<RouteDecision> {
    if let Some(seen) = seen_to_stay(draft) {
        return Some(seen);
    }
    let (kind, dev) = match delivered_by(draft, topology) {
        Some(dev) => (RouteKind::Local, Some(dev)),
        None => to_several(draft, topology)?,
    };
    Some(RouteDecision {
        kind,
        dev,
        ..RouteDecision::unknown(How::Inferred)
    })
}

/// The lookup for packets that came in and stayed: that they do. An underlay's says nothing about the
/// packet inside.
fn seen_to_stay(draft: &Draft) -> Option<RouteDecision> {
    let chain = draft.chain.as_ref()?;
    if chain.exits().next().is_some() {
        return None;
    }
    let last = chain.steps.iter().filter(|s| s.leaf).map(|s| &s.leg);
    last.filter(|l| l.is_in() && l.key.encap.is_none())
        .find_map(|l| l.route)
}

/// An address that is this node's among others': broadcast, multicast, anycast. By the
/// configuration, when the packets came in and stayed.
pub(super) fn to_several(
    draft: &Draft,
    topology: &Topology,
) -> Option<(RouteKind, Option<Ifindex>)> {
    let chain = draft.chain.as_ref()?;
    if chain.exits().next().is_some() || !draft.drops.is_empty() {
        return None;
    }
    let netns = topology.inventory.netns.get(&draft.scope.netns)?;
    let iif = draft.scope.dev.and_then(|dev| netns.links.get(&dev))?;
    // IPv4 looks neither up, and drops what is for a group without a member here
    // (ip_route_input_rcu(), net/ipv4/route.c)
    if let IpAddr::V4(dst) = draft.tuple.dst {
        if dst.is_broadcast() {
            return Some((RouteKind::Broadcast, draft.scope.dev));
        }
        if dst.is_multicast() {
            return Some((RouteKind::Multicast, draft.scope.dev));
        }
    }
    let query = Query {
        ipv6: draft.tuple.is_ipv6(),
        src: Some(draft.tuple.src),
        dst: draft.tuple.dst,
        iif: Some(iif.name.as_str()),
        mark: 0,
        transport: transport(&draft.tuple),
        asked: None,
    };
    let (_, route) = netns.lookup(&query)?;
    let several = matches!(
        route.kind,
        RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast
    );
    several.then(|| (route.kind, route.nexthops.first().and_then(|n| n.dev)))
}

/// The device that has the destination address, or that the local route names, when the packets came
/// in and stayed.
pub(super) fn delivered_by(draft: &Draft, topology: &Topology) -> Option<Ifindex> {
    let chain = draft.chain.as_ref()?;
    if chain.exits().next().is_some() {
        return None;
    }
    let inventory = topology.inventory.netns.get(&draft.scope.netns)?;
    let owner = inventory.owner_for(draft.routed().dst, draft.scope.dev);
    owner.map(|link| link.ifindex).or_else(|| {
        // a local route to a whole network (`ip route add local …`)
        let seen = seen_to_stay(draft)?;
        seen.dev.filter(|_| seen.kind == RouteKind::Local)
    })
}
