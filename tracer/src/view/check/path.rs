//! What the path of one flow answers to a path expectation.

use crate::{
    event::{Dir, Ifindex, NetnsId},
    inventory::{Inventory, table_name},
    model::{Decision, Flow, Hop, Outcome, Step},
};

/// The answer for one flow. The text continues a sentence whose subject is the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No(String),
    Unknown(String),
}

/// Left by one of `allowed`, and by no other device.
pub(super) fn via(f: &Flow, allowed: &[String], inv: &Inventory) -> Answer {
    let out: Vec<&Hop> = hops(f).filter(|h| h.dir == Dir::Out).collect();
    let wanted = allowed.join(" or ");
    let named = |h: &Hop| allowed.contains(&inv.dev_name(h.netns, h.dev));
    let Some(right) = out.iter().find(|h| named(h)) else {
        return match out.last() {
            Some(h) => {
                let dev = inv.dev_name(h.netns, h.dev);
                Answer::No(format!("left by {dev}, not by {wanted}"))
            }
            None => not_left(f, &format!("by {wanted}")),
        };
    };
    // a second way out beside the expected one: the route changed, or several next hops
    match out.iter().find(|h| !named(h) && !same_way(h, right, inv)) {
        Some(h) => {
            let dev = inv.dev_name(h.netns, h.dev);
            Answer::No(format!(
                "left by {dev} too ({} packets)",
                h.counters.packets
            ))
        }
        None => Answer::Yes,
    }
}

/// Left by none of `banned`.
pub(super) fn not_via(f: &Flow, banned: &[String], inv: &Inventory) -> Answer {
    let mut out = hops(f).filter(|h| h.dir == Dir::Out).peekable();
    if out.peek().is_none() {
        return undecided(f);
    }
    match out
        .map(|h| inv.dev_name(h.netns, h.dev))
        .find(|n| banned.contains(n))
    {
        Some(dev) => Answer::No(format!("left by {dev}")),
        None => Answer::Yes,
    }
}

/// Was encapsulated; when `which` is given, by that device or kind.
pub(super) fn tunnel(f: &Flow, which: Option<&str>, inv: &Inventory) -> Answer {
    let wanted = which.map_or_else(|| "a tunnel".to_owned(), |w| format!("tunnel {w}"));
    let mut other = None;
    for (hop, kind, dev) in tunnels(f, inv) {
        if which.is_none_or(|w| w == kind || dev.as_deref() == Some(w)) {
            return Answer::Yes;
        }
        other.get_or_insert_with(|| dev.unwrap_or_else(|| hop.dev.to_string()));
    }
    match (other, hops(f).any(|h| h.dir == Dir::Out)) {
        (Some(dev), _) => Answer::No(format!("took tunnel {dev}, not {wanted}")),
        (None, true) => Answer::No(format!("left without {wanted}")),
        (None, false) => not_left(f, &format!("by {wanted}")),
    }
}

/// Was not encapsulated.
pub(super) fn no_tunnel(f: &Flow, inv: &Inventory) -> Answer {
    let found = tunnels(f, inv).find(|(h, ..)| h.dir == Dir::Out);
    match found {
        Some((_, kind, Some(dev))) => Answer::No(format!("took the {kind} tunnel {dev}")),
        Some((_, kind, None)) => Answer::No(format!("was encapsulated in {kind}")),
        None if hops(f).any(|h| h.dir == Dir::Out) => Answer::Yes,
        None => undecided(f),
    }
}

/// Every decision about the flow itself (not about its outer packet) came from `table`.
pub(super) fn table(f: &Flow, table: &str) -> Answer {
    let same = |t: u32| t.to_string() == table || table_name(t) == table;
    let mut any = false;
    for d in own_decisions(f) {
        match d.decision.table {
            Some(t) if same(t) => any = true,
            Some(t) => {
                let name = table_name(t);
                return Answer::No(format!("was routed by table {name}, not {table}"));
            }
            None => {
                let how = d.decision.how.name();
                return Answer::Unknown(format!("was routed by a table that is not known ({how})"));
            }
        }
    }
    match (any, f.route_failures.first()) {
        (true, _) => Answer::Yes,
        (false, Some(r)) => Answer::No(format!(
            "found no route; the last table was {}",
            table_name(r.table)
        )),
        (false, None) => undecided(f),
    }
}

fn hops(f: &Flow) -> impl Iterator<Item = &Hop> {
    f.forward.path.iter().filter_map(|s| match s {
        Step::Hop(h) => Some(h),
        Step::Route(_) => None,
    })
}

/// Decisions up to the first encapsulation that was added on this node.
fn own_decisions(f: &Flow) -> impl Iterator<Item = &Decision> {
    let added = |s: &Step| matches!(s, Step::Hop(h) if h.dir == Dir::Out && h.encap.is_some());
    f.forward
        .path
        .iter()
        .take_while(move |s| !added(s))
        .filter_map(|s| match s {
            Step::Route(d) if !d.decision.bridged => Some(&**d),
            Step::Route(_) | Step::Hop(_) => None,
        })
}

/// Places where the flow is or becomes encapsulated: the hop, the kind, and the tunnel device.
fn tunnels<'a>(
    f: &'a Flow,
    inv: &'a Inventory,
) -> impl Iterator<Item = (&'a Hop, &'a str, Option<String>)> {
    hops(f).filter_map(|h| {
        let link = inv.link(h.netns, h.dev);
        match (link.filter(|l| l.kind.is_tunnel()), h.encap.as_deref()) {
            (Some(link), _) => Some((h, link.kind.name(), Some(link.name.clone()))),
            (None, Some(e)) => Some((h, e.key.kind.name(), None)),
            (None, None) => None,
        }
    })
}

/// The two devices are parts of one way out: a tunnel over an underlay, a VLAN or a bond over its
/// ports, two namespaces in a row.
fn same_way(a: &Hop, b: &Hop, inv: &Inventory) -> bool {
    a.netns != b.netns
        || a.encap.is_some() != b.encap.is_some()
        || tunnel_dev(a, inv) != tunnel_dev(b, inv)
        || stacked(inv, a.netns, a.dev, b.dev)
        || stacked(inv, a.netns, b.dev, a.dev)
}

fn tunnel_dev(h: &Hop, inv: &Inventory) -> bool {
    inv.link(h.netns, h.dev).is_some_and(|l| l.kind.is_tunnel())
}

/// `upper` sits on `lower`, directly or through others.
fn stacked(inv: &Inventory, netns: NetnsId, upper: Ifindex, lower: Ifindex) -> bool {
    let mut dev = lower;
    // a stack of devices is short; the bound keeps a wrong inventory from looping
    for _ in 0..8 {
        let Some(link) = inv.link(netns, dev) else {
            break;
        };
        match link.master {
            Some(m) if m == upper => return true,
            Some(m) => dev = m,
            None => break,
        }
    }
    let mut dev = upper;
    for _ in 0..8 {
        match inv.link(netns, dev).and_then(|l| l.lower) {
            Some(l) if l == lower => return true,
            Some(l) => dev = l,
            None => return false,
        }
    }
    false
}

/// For an expectation that the flow leaves: it did not, or nobody knows.
fn not_left(f: &Flow, how: &str) -> Answer {
    match &f.forward.outcome {
        Some(Outcome::Dropped(why)) => Answer::No(format!("did not leave {how}: {why}")),
        Some(Outcome::Delivered) => Answer::No(format!(
            "did not leave {how}: it was delivered on this node"
        )),
        _ if !f.route_failures.is_empty() => {
            Answer::No(format!("did not leave {how}: no route was found"))
        }
        _ => Answer::Unknown(format!("was not seen to leave {how}")),
    }
}

/// For an expectation that something does not happen, when the flow was not seen to leave.
fn undecided(f: &Flow) -> Answer {
    match &f.forward.outcome {
        Some(Outcome::Delivered) => Answer::Yes,
        Some(Outcome::Dropped(why)) => {
            Answer::Unknown(format!("ended before it showed its way: {why}"))
        }
        _ => Answer::Unknown("was not seen to leave".to_owned()),
    }
}
