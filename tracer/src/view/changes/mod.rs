//! What changed from one snapshot to the next: the lines of `watch`, before they are text or JSON.
//!
//! State is one entry per flow of the last snapshot, so the model's bound on flows bounds it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use foldhash::fast::RandomState;

use crate::{
    diagnose::{Finding, Subject},
    event::{DropPlace, IcmpSample, Ifindex, KtimeNs, NeighFailure, NetnsId, RouteFailure},
    model::{Direction, Drop, Flow, FlowId, Loss, Outcome, Snapshot, Step},
};

/// Lines of one kind about one thing are at least this far apart.
const QUIET_NS: u64 = 1_000_000_000;
/// A connection that was closed is over after this silence.
const CLOSED_NS: u64 = 2_000_000_000;
/// Any flow is over after this silence.
const IDLE_NS: u64 = 60_000_000_000;
const TCP_FIN: u8 = 1;
const TCP_RST: u8 = 4;

/// Something that a reader of `watch` wants to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A flow appeared.
    New(Arc<Flow>),
    /// Its path or a decision on it changed.
    Route(Arc<Flow>),
    /// The first packet of it was dropped.
    Dropping(Arc<Flow>),
    /// It left, and nothing came back.
    Unanswered(Arc<Flow>),
    /// It is over.
    End(Arc<Flow>),
    /// Packets were dropped: the flow if there is one, the place, how many since the last line.
    Drop(Option<Arc<Flow>>, Box<Drop>, u64),
    /// ICMP errors about a flow.
    Icmp(Arc<Flow>, Box<IcmpSample>, u64),
    /// A local sender found no route.
    RouteFailure(Arc<Flow>, Box<RouteFailure>, u64),
    /// A next hop does not answer.
    Neigh(NeighFailure, u64),
    /// A finding appeared.
    Finding(Box<Finding>),
    /// The loss counters grew.
    Loss(Loss),
}

/// A count that was told, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    count: u64,
    at: Option<KtimeNs>,
}

impl Told {
    /// How much to tell now, `None` for nothing (yet).
    fn news(&mut self, count: u64, now: KtimeNs, last: bool) -> Option<u64> {
        let quiet = self.at.is_some_and(|at| now.since(at) < QUIET_NS);
        // a smaller count: the entry was forgotten and began anew
        let new = if count < self.count {
            count
        } else {
            count - self.count
        };
        if new == 0 || (quiet && !last) {
            return None;
        }
        *self = Self {
            count,
            at: Some(now),
        };
        Some(new)
    }
}

/// What was told of a flow. The flow itself is not kept: the model would have to make a second one beside it
/// to change anything.
#[derive(Debug)]
struct Known {
    /// Packets of it.
    activity: u64,
    /// `New` was told.
    told: bool,
    shape: u64,
    route: Told,
    unanswered: bool,
    ended: bool,
    /// The last comparison that had it.
    round: u64,
    troubles: Option<Box<Troubles>>,
}

/// What was told of a flow in trouble. Most flows have none.
#[derive(Debug, Default)]
struct Troubles {
    // few of each, for which a tree would have room for eleven
    drops: Vec<(DropPlace, Told)>,
    icmp: Vec<((IpAddr, u8, u8, u32), Told)>,
    failures: Told,
}

/// What was told of `key`.
fn told_of<K: PartialEq>(all: &mut Vec<(K, Told)>, key: K) -> &mut Told {
    let at = all.iter().position(|(k, _)| *k == key);
    let at = at.unwrap_or_else(|| {
        all.reserve_exact(1);
        all.push((key, Told::default()));
        all.len() - 1
    });
    &mut all[at].1
}

/// Compares snapshots.
#[derive(Debug, Default)]
pub struct Changes {
    /// Behind pointers because a table is up to three times as large as what is in it.
    known: HashMap<FlowId, Box<Known>, RandomState>,
    round: u64,
    strays: BTreeMap<DropPlace, Told>,
    neigh: HashMap<(IpAddr, u32, u32), Told>,
    findings: HashSet<Identity>,
    loss: Loss,
}

impl Changes {
    /// What is new in `snapshot`. `last` tells everything that was held back: flows that have not
    /// settled, counts within their quiet second.
    pub fn update(&mut self, snapshot: &Snapshot, findings: &[Finding], last: bool) -> Vec<Change> {
        let mut out = Vec::new();
        self.round += 1;
        for flow in &snapshot.flows {
            if flow.id.tuple.is_housekeeping() {
                continue;
            }
            let now = Now {
                at: snapshot.at,
                round: self.round,
                last,
            };
            match self.known.entry(flow.id) {
                Entry::Occupied(mut known) => update_flow(known.get_mut(), flow, now, &mut out),
                Entry::Vacant(place) => {
                    let known = place.insert(Box::new(Known::new(flow)));
                    update_flow(known, flow, now, &mut out);
                }
            }
        }
        for flow in &snapshot.gone {
            let known = self.known.get(&flow.id);
            if known.is_some_and(|k| k.round != self.round && k.told && !k.ended) {
                // the model forgot it
                out.push(Change::End(flow.clone()));
            }
        }
        // in place: a second table as large would be there for a moment
        self.known.retain(|_, k| k.round == self.round);
        self.rest(snapshot, findings, last, &mut out);
        out
    }

    fn rest(&mut self, s: &Snapshot, findings: &[Finding], last: bool, out: &mut Vec<Change>) {
        self.strays
            .retain(|place, _| s.stray_drops.iter().any(|d| d.place == *place));
        for d in &s.stray_drops {
            let told = self.strays.entry(d.place.clone()).or_default();
            if let Some(n) = told.news(d.count, s.at, last) {
                out.push(Change::Drop(None, Box::new(d.clone()), n));
            }
        }
        for (n, count) in &s.neigh_failures {
            let told = self
                .neigh
                .entry((n.address, n.netns.0, n.dev.0))
                .or_default();
            if let Some(new) = told.news(*count, s.at, last) {
                out.push(Change::Neigh(*n, new));
            }
        }
        let now = findings.iter().map(identity).collect();
        for f in findings {
            if !self.findings.contains(&identity(f)) {
                out.push(Change::Finding(Box::new(f.clone())));
            }
        }
        // one that goes and comes back is told again
        self.findings = now;
        if s.loss != self.loss {
            self.loss = s.loss;
            out.push(Change::Loss(s.loss));
        }
    }
}

type Identity = (
    &'static str,
    Option<(NetnsId, Ifindex)>,
    Option<IpAddr>,
    Option<FlowId>,
);

/// The same finding in the next snapshot, though its numbers have grown.
fn identity(f: &Finding) -> Identity {
    let Subject {
        flows,
        dev,
        address,
    } = &f.subject;
    // about a device or address: the flows come and go
    let flow = if dev.is_some() || address.is_some() {
        None
    } else {
        flows.iter().min().copied()
    };
    (f.id, *dev, *address, flow)
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
struct Now {
    at: KtimeNs,
    round: u64,
    last: bool,
}

impl Known {
    fn new(flow: &Arc<Flow>) -> Self {
        Self {
            activity: activity(flow),
            told: false,
            shape: shape(flow),
            route: Told::default(),
            unanswered: false,
            ended: false,
            round: 0,
            troubles: None,
        }
    }
}

fn update_flow(k: &mut Known, flow: &Arc<Flow>, this: Now, out: &mut Vec<Change>) {
    let Now { at: now, last, .. } = this;
    let shape = shape(flow);
    let first_sight = k.round == 0;
    k.round = this.round;
    let moved = k.shape != shape;
    let active = k.activity != activity(flow);
    k.activity = activity(flow);
    if k.ended && active {
        k.ended = false;
        k.told = false;
    }
    if !k.told {
        // a path is complete when a second look shows the same
        k.shape = shape;
        k.told = last || (!first_sight && !moved);
        if k.told {
            out.push(Change::New(flow.clone()));
        }
    } else if moved && k.route.news(k.route.count + 1, now, last).is_some() {
        k.shape = shape;
        out.push(Change::Route(flow.clone()));
    }
    if k.told {
        troubles(k, flow, this, out);
        end(k, flow, now, out);
    }
}

fn troubles(k: &mut Known, flow: &Arc<Flow>, this: Now, out: &mut Vec<Change>) {
    let Now { at: now, last, .. } = this;
    for d in flow.forward.drops.iter().chain(&flow.reply.drops) {
        let drops = &mut k.troubles.get_or_insert_default().drops;
        let first = drops.is_empty();
        let told = told_of(drops, d.place.clone());
        if let Some(n) = told.news(d.count, now, last) {
            if first {
                out.push(Change::Dropping(flow.clone()));
            }
            out.push(Change::Drop(Some(flow.clone()), Box::new(d.clone()), n));
        }
    }
    for s in flow.forward.icmp.iter().chain(&flow.reply.icmp) {
        let icmp = &mut k.troubles.get_or_insert_default().icmp;
        let told = told_of(icmp, (s.from, s.icmp_type, s.code, s.dev.0));
        if let Some(n) = told.news(s.count, now, last) {
            out.push(Change::Icmp(flow.clone(), Box::new(*s), n));
        }
    }
    if let Some(r) = flow.route_failures.last() {
        let count = flow.route_failures.iter().map(|r| r.count).sum();
        let failures = &mut k.troubles.get_or_insert_default().failures;
        if let Some(n) = failures.news(count, now, last) {
            out.push(Change::RouteFailure(flow.clone(), Box::new(r.clone()), n));
        }
    }
    let unanswered = matches!(flow.forward.outcome, Some(Outcome::Unanswered(_)));
    if unanswered && !k.unanswered {
        out.push(Change::Unanswered(flow.clone()));
    }
    k.unanswered = unanswered;
}

fn end(k: &mut Known, flow: &Arc<Flow>, now: KtimeNs, out: &mut Vec<Change>) {
    let quiet = now.since(flow.forward.last.max(flow.reply.last));
    let (fwd, back) = (flow.forward.tcp_flags, flow.reply.tcp_flags);
    let closed = (fwd | back) & TCP_RST != 0 || fwd & back & TCP_FIN != 0;
    let never = flow.forward.packets + flow.reply.packets == 0;
    if !k.ended && !never && (quiet >= IDLE_NS || (closed && quiet >= CLOSED_NS)) {
        k.ended = true;
        out.push(Change::End(flow.clone()));
    }
}

fn activity(f: &Flow) -> u64 {
    f.forward.packets + f.reply.packets
}

/// A number for the way that the flow takes: devices, outer addresses, decisions, and not the
/// counters. Only the way of packets that were seen: the answers' path begins late, and that is
/// no change.
fn shape(f: &Flow) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut h = DefaultHasher::new();
    let mut one = |d: &Direction| {
        for step in &d.path {
            match step {
                Step::Hop(x) => {
                    let outer = x.encap.as_ref().map(|e| (e.key, e.src, e.dst));
                    (x.netns, x.dev, x.dir, outer).hash(&mut h);
                }
                Step::Route(r) => {
                    let d = &r.decision;
                    (r.changes, d.kind, d.table, d.gateway, d.dev, d.errno).hash(&mut h);
                }
            }
        }
    };
    one(&f.forward);
    h.finish()
}

#[cfg(test)]
mod tests;
