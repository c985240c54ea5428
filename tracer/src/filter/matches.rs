//! Exact evaluation, three-valued where facts are missing.

use std::net::IpAddr;

use super::ast::{Atom, Expr, Family, Layer, NetnsRef, Side};
use crate::{
    event::{Encap, EncapKind, Ifindex, NetnsId, Proto, Tuple},
    inventory::Inventory,
};

/// What is known of a flow, or of one packet. `None` stands for "not known", an empty slice for
/// "known, and there is none".
#[derive(Clone, Copy, Debug)]
pub struct FlowFacts<'a> {
    /// Innermost addresses of the forward direction.
    pub tuple: &'a Tuple,
    /// The same direction on the other side of address translation.
    pub nat: Option<&'a Tuple>,
    /// Encapsulations around packets of the forward direction.
    pub encaps: &'a [Encap],
    /// Encapsulations around packets of the answers, as they were on the wire.
    pub reply_encaps: &'a [Encap],
    /// Devices where it was seen.
    pub devs: Option<&'a [(NetnsId, Ifindex)]>,
    /// Namespaces where it was seen.
    pub netns: Option<&'a [NetnsId]>,
    /// Marks (`skb->mark`) that its packets had.
    pub marks: Option<&'a [u32]>,
    /// Tables that routed it.
    pub tables: Option<&'a [u32]>,
    /// Reasons for which packets of it were dropped, without `SKB_DROP_REASON_`.
    pub reasons: Option<&'a [&'a str]>,
    /// Packets of it were dropped.
    pub dropped: Option<bool>,
    /// The pods at its ends.
    pub pods: Option<PodFacts<'a>>,
}

/// Namespace and name of the pods at the ends of a flow: more than one where an end is translated.
#[derive(Clone, Copy, Debug, Default)]
pub struct PodFacts<'a> {
    /// At the source of the forward direction.
    pub src: &'a [(&'a str, &'a str)],
    /// At its destination.
    pub dst: &'a [(&'a str, &'a str)],
}

impl<'a> FlowFacts<'a> {
    /// Facts of which only the addresses are known.
    pub fn new(tuple: &'a Tuple) -> Self {
        Self {
            tuple,
            nat: None,
            encaps: &[],
            reply_encaps: &[],
            devs: None,
            netns: None,
            marks: None,
            tables: None,
            reasons: None,
            dropped: None,
            pods: None,
        }
    }
}

/// In which direction a flow matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In none.
    No,
    /// As it is named.
    Forward,
    /// With source and destination exchanged.
    Reverse,
    /// In both.
    Both,
}

impl Verdict {
    /// Matches in some direction.
    pub fn is_match(self) -> bool {
        self != Self::No
    }
}

/// Tests both directions.
pub(super) fn verdict(e: &Expr, facts: &FlowFacts<'_>, inventory: &Inventory) -> Verdict {
    let holds = |swap| {
        Eye {
            facts,
            inventory,
            swap,
        }
        .expr(e)
    };
    match (holds(false), holds(true)) {
        (false, false) => Verdict::No,
        (true, false) => Verdict::Forward,
        (false, true) => Verdict::Reverse,
        (true, true) => Verdict::Both,
    }
}

/// Tests the direction that the facts name.
pub(super) fn forward(e: &Expr, facts: &FlowFacts<'_>, inventory: &Inventory) -> bool {
    Eye {
        facts,
        inventory,
        swap: false,
    }
    .expr(e)
}

/// A header as a primitive sees it.
#[derive(Clone, Copy)]
struct Header {
    proto: Proto,
    src: IpAddr,
    dst: IpAddr,
    sport: u16,
    dport: u16,
    ports: bool,
}

impl Header {
    fn inner(t: &Tuple) -> Self {
        let ports = t.proto.has_ports() && !t.later_fragment;
        Self {
            proto: t.proto,
            src: t.src,
            dst: t.dst,
            sport: t.sport,
            dport: t.dport,
            ports,
        }
    }

    fn outer(e: &Encap) -> Self {
        let proto = match e.key.kind {
            EncapKind::Vxlan | EncapKind::Geneve => Proto::UDP,
            EncapKind::Ipip => Proto(4),
            EncapKind::Ip6 => Proto(41),
            EncapKind::Gre => Proto(47),
        };
        let ports = proto.has_ports();
        Self {
            proto,
            src: e.src,
            dst: e.dst,
            sport: e.sport,
            dport: e.dport,
            ports,
        }
    }

    fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            ..self
        }
    }

    fn family(&self, family: Family) -> bool {
        self.src.is_ipv6() == (family == Family::V6)
    }

    /// The primitive holds for this header.
    fn fits(&self, atom: &Atom) -> bool {
        match atom {
            Atom::Net { side, net, .. } => {
                ends(*side, net.contains(self.src), net.contains(self.dst))
            }
            Atom::Port {
                side,
                proto,
                first,
                last,
                ..
            } => {
                let within = |port| (*first..=*last).contains(&port);
                self.ports
                    && proto.is_none_or(|p| p == self.proto)
                    && ends(*side, within(self.sport), within(self.dport))
            }
            Atom::Family { family, .. } => self.family(*family),
            Atom::Proto { family, proto, .. } => {
                *proto == self.proto && family.is_none_or(|f| self.family(f))
            }
            _ => false,
        }
    }
}

fn ends(side: Side, src: bool, dst: bool) -> bool {
    match side {
        Side::Src => src,
        Side::Dst => dst,
        Side::Either => src || dst,
        Side::Both => src && dst,
    }
}

/// A header, and the innermost one of the same packet.
type View = (Header, Header);

/// The facts seen in one direction.
struct Eye<'a> {
    facts: &'a FlowFacts<'a>,
    inventory: &'a Inventory,
    swap: bool,
}

impl Eye<'_> {
    /// The innermost header, on both sides of address translation.
    fn inners(&self) -> impl Iterator<Item = Header> {
        let tuples = std::iter::once(self.facts.tuple).chain(self.facts.nat);
        let swap = self.swap;
        tuples
            .map(Header::inner)
            .map(move |h| if swap { h.reversed() } else { h })
    }

    /// Outer headers, those of answers turned round.
    fn outers(&self) -> impl Iterator<Item = Header> {
        let turn = |swap| move |h: Header| if swap { h.reversed() } else { h };
        let forward = self
            .facts
            .encaps
            .iter()
            .map(Header::outer)
            .map(turn(self.swap));
        let reply = self
            .facts
            .reply_encaps
            .iter()
            .map(Header::outer)
            .map(turn(!self.swap));
        forward.chain(reply)
    }

    /// The filter is tried on the innermost packet, as it is on each side of address translation,
    /// then on each outer header, each time whole.
    fn expr(&self, e: &Expr) -> bool {
        let beside = |h: Header| self.inners().map(move |inner| (h, inner));
        let inner = self.inners().map(|h| (h, h));
        inner
            .chain(self.outers().flat_map(beside))
            .any(|view| self.holds(e, &view, false) == Some(true))
    }

    /// Kleene's logic: `None` is "not known".
    fn holds(&self, e: &Expr, view: &View, negated: bool) -> Option<bool> {
        let (list, all) = match e {
            Expr::Atom(a) => return self.literal(a, view, negated),
            Expr::Not(e) => return self.holds(e, view, !negated),
            Expr::And(v) => (v, !negated),
            Expr::Or(v) => (v, negated),
        };
        let mut result = Some(all);
        for e in list {
            match self.holds(e, view, negated) {
                Some(b) if b == all => {}
                Some(b) => return Some(b),
                None => result = None,
            }
        }
        result
    }

    fn literal(&self, a: &Atom, view: &View, negated: bool) -> Option<bool> {
        let held = match a {
            Atom::Net { layer, .. }
            | Atom::Port { layer, .. }
            | Atom::Family { layer, .. }
            | Atom::Proto { layer, .. } => Some(match layer {
                Layer::Inner if !negated => view.1.fits(a),
                Layer::Inner => self.inners().any(|h| h.fits(a)),
                Layer::Outer => self.outers().any(|h| h.fits(a)),
                Layer::Any if !negated => view.0.fits(a),
                // what is excluded must be in no header
                Layer::Any => self.inners().chain(self.outers()).any(|h| h.fits(a)),
            }),
            a => self.fact(a),
        };
        held.map(|h| h != negated)
    }

    /// Primitives that are not about a header.
    fn fact(&self, a: &Atom) -> Option<bool> {
        let f = self.facts;
        match a {
            Atom::Vni(n) => Some(
                f.encaps
                    .iter()
                    .chain(f.reply_encaps)
                    .any(|e| e.key.vni == Some(*n)),
            ),
            Atom::Dev(want) => Some(f.devs?.iter().any(|(netns, dev)| {
                self.inventory
                    .link(*netns, *dev)
                    .is_some_and(|l| glob(want, &l.name))
            })),
            Atom::Netns(want) => self.netns(want),
            Atom::Mark { value, mask } => Some(f.marks?.iter().any(|m| m & mask == *value)),
            Atom::Table(n) => Some(f.tables?.contains(n)),
            Atom::Reason(want) => match f.reasons {
                Some(reasons) => Some(reasons.iter().any(|r| glob(want, &r.to_ascii_uppercase()))),
                None if f.dropped == Some(false) => Some(false),
                None => None,
            },
            Atom::Drop => f.dropped.or(f.reasons.map(|r| !r.is_empty())),
            Atom::Pod {
                side,
                namespace,
                name,
            } => {
                let wanted = |pods: &[(&str, &str)]| {
                    pods.iter()
                        .any(|(ns, pod)| pod_fits((namespace, name), (ns, pod)))
                };
                let (src, dst) = (wanted(f.pods?.src), wanted(f.pods?.dst));
                let (src, dst) = if self.swap { (dst, src) } else { (src, dst) };
                Some(ends(*side, src, dst))
            }
            _ => None,
        }
    }

    fn netns(&self, want: &NetnsRef) -> Option<bool> {
        let wanted = |id: NetnsId| {
            let known = self.inventory.netns.get(&id);
            match want {
                NetnsRef::Inode(inode) => id == *inode,
                NetnsRef::Pid(pid) => known.is_some_and(|n| n.pid == Some(*pid)),
                NetnsRef::Name(name) => known.is_some_and(|n| n.name.as_ref() == Some(name)),
            }
        };
        if self.facts.netns.is_none() && self.facts.devs.is_none() {
            return None;
        }
        let seen = self.facts.netns.unwrap_or_default().iter().copied();
        let at_devs = self
            .facts
            .devs
            .unwrap_or_default()
            .iter()
            .map(|(netns, _)| *netns);
        Some(seen.chain(at_devs).any(wanted))
    }
}

/// The pod fits the patterns, both namespace and name.
pub(super) fn pod_fits(pattern: (&str, &str), pod: (&str, &str)) -> bool {
    glob(pattern.0, pod.0) && glob(pattern.1, pod.1)
}

/// `text` fits `pattern`, in which `*` stands for any characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(i) => text = &text[i + part.len()..],
            None => return false,
        }
    }
    true
}
