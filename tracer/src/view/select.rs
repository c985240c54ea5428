//! The part of a snapshot that a filter asks for, each flow in the direction that matches.

use std::{collections::HashSet, mem, sync::Arc};

use foldhash::fast::RandomState;

use super::owners::{Ends, Who};
use crate::{
    diagnose::Finding,
    event::{Body, Encap, Event, Ifindex, NetnsId, Tuple},
    filter::{Filter, FlowFacts, PodFacts, Verdict},
    inventory::{Inventory, Owner},
    model::{Direction, Flow, FlowId, Snapshot, Step},
};

/// Flows that match, and what concerns them.
pub fn select(
    filter: &Filter,
    inventory: &Inventory,
    snapshot: &Snapshot,
    findings: &[Finding],
) -> (Snapshot, Vec<Finding>) {
    if filter.is_all() {
        return (snapshot.clone(), findings.to_vec());
    }
    let flows = snapshot
        .flows
        .iter()
        .filter_map(|f| turned(filter, inventory, f));
    let selected = Snapshot {
        flows: flows.collect(),
        gone: snapshot
            .gone
            .iter()
            .filter_map(|f| turned(filter, inventory, f))
            .collect(),
        // these name no flow, so that nobody can tell whether they match
        stray_drops: Vec::new(),
        neigh_failures: Vec::new(),
        no_loss: Vec::new(),
        sums: None,
        ..*snapshot
    };
    let findings = concerning(&selected, findings);
    (selected, findings)
}

/// Findings about the node, and about flows that there are.
fn concerning(selected: &Snapshot, findings: &[Finding]) -> Vec<Finding> {
    if findings.iter().all(|f| f.subject.flows.is_empty()) {
        return findings.to_vec();
    }
    let ways = |id: FlowId| {
        let tuple = id.tuple.reversed();
        [id, FlowId { tuple, ..id }]
    };
    let ids: HashSet<FlowId, RandomState> =
        selected.flows.iter().flat_map(|f| ways(f.id)).collect();
    let concerns = |f: &&Finding| {
        f.subject.flows.is_empty() || f.subject.flows.iter().any(|id| ids.contains(id))
    };
    findings.iter().filter(concerns).cloned().collect()
}

/// The packet of an event, when it is one and matches.
pub fn packet<'a>(
    filter: &Filter,
    inventory: &Inventory,
    event: &'a Event,
) -> Option<&'a crate::event::PacketSample> {
    let Body::Packet(p) = &event.body else {
        return None;
    };
    let (dev, netns) = ([(p.key.netns, p.key.dev)], [p.key.netns]);
    let pods = Pods::new(inventory, &Who::of_packet(inventory, p));
    let facts = FlowFacts {
        pods: pods.facts(),
        devs: Some(&dev),
        netns: Some(&netns),
        ..FlowFacts::new(&p.key.tuple)
    };
    // a filter names flows: the packets of both directions belong to it
    filter
        .matches_flow(&facts, inventory)
        .is_match()
        .then_some(p)
}

/// A flow of which only the addresses are known, when either direction matches.
pub fn tuple_matches(filter: &Filter, inventory: &Inventory, tuple: &Tuple) -> bool {
    let who = Who {
        ends: Ends {
            src: inventory.owner_of(tuple.src),
            dst: inventory.owner_of(tuple.dst),
        },
        far: None,
    };
    let pods = Pods::new(inventory, &who);
    let facts = FlowFacts {
        pods: pods.facts(),
        ..FlowFacts::new(tuple)
    };
    filter.matches_flow(&facts, inventory).is_match()
}

/// The pods at the ends of a flow, as a filter asks for them.
pub(in crate::view) struct Pods<'a> {
    known: bool,
    src: Vec<(&'a str, &'a str)>,
    dst: Vec<(&'a str, &'a str)>,
}

impl<'a> Pods<'a> {
    pub(in crate::view) fn new(inventory: &Inventory, who: &Who<'a>) -> Self {
        let far = who.far.unwrap_or_default();
        let pods = |near: Option<&'a Owner>, far: Option<&'a Owner>| {
            let both = [near, far].into_iter().flatten();
            both.filter_map(Owner::as_pod).collect()
        };
        Self {
            known: inventory.has_pods(),
            src: pods(who.ends.src, far.src),
            dst: pods(who.ends.dst, far.dst),
        }
    }

    /// Nothing is known on a node where no pod has a name.
    pub(in crate::view) fn facts(&self) -> Option<PodFacts<'_>> {
        self.known.then_some(PodFacts {
            src: &self.src,
            dst: &self.dst,
        })
    }
}

/// The packet of an event out of a capture, when it matches. More is known of it than of a live
/// one: its outer header and whether it ended here.
pub fn recorded<'a>(
    filter: &Filter,
    inventory: &Inventory,
    event: &'a Event,
    encap: Option<Encap>,
    drop: Option<(&str, &str)>,
) -> Option<&'a crate::event::PacketSample> {
    let Body::Packet(p) = &event.body else {
        return None;
    };
    let (dev, netns) = ([(p.key.netns, p.key.dev)], [p.key.netns]);
    let encaps: Vec<Encap> = encap.into_iter().collect();
    let reasons: Vec<&str> = drop.iter().map(|(reason, _)| *reason).collect();
    let pods = Pods::new(inventory, &Who::of_packet(inventory, p));
    let facts = FlowFacts {
        pods: pods.facts(),
        encaps: &encaps,
        reply_encaps: &encaps,
        devs: Some(&dev),
        netns: Some(&netns),
        reasons: Some(&reasons),
        dropped: Some(drop.is_some()),
        ..FlowFacts::new(&p.key.tuple)
    };
    filter
        .matches_flow(&facts, inventory)
        .is_match()
        .then_some(p)
}

/// The flow in the direction that matches; `None` when none does.
pub(in crate::view) fn turned(
    filter: &Filter,
    inventory: &Inventory,
    f: &Arc<Flow>,
) -> Option<Arc<Flow>> {
    if filter.is_all() {
        return Some(f.clone());
    }
    match verdict(filter, inventory, f) {
        Verdict::No => None,
        Verdict::Forward | Verdict::Both => Some(f.clone()),
        Verdict::Reverse => Some(Arc::new(reversed(f))),
    }
}

/// The same flow, answers first.
pub(in crate::view) fn reversed(f: &Flow) -> Flow {
    let mut flow = Flow::clone(f);
    flow.id.tuple = flow.id.tuple.reversed();
    mem::swap(&mut flow.forward, &mut flow.reply);
    flow
}

/// In which direction a flow matches.
pub(in crate::view) fn verdict(filter: &Filter, inventory: &Inventory, f: &Flow) -> Verdict {
    let (encaps, reply_encaps) = (encaps(&f.forward), encaps(&f.reply));
    let beside = !encaps.is_empty() || !reply_encaps.is_empty() || f.nat.is_some();
    if !beside && filter.asks_headers_only() {
        // the way of so many flows need not be looked at
        return filter.matches_flow(&FlowFacts::new(&f.id.tuple), inventory);
    }
    let asked = Asked::of(f);
    let reasons = asked.reasons();
    let far = f.far();
    let who = if filter.names_pods() {
        Who::of_flow(inventory, f)
    } else {
        Who::default()
    };
    let pods = Pods::new(inventory, &who);
    let facts = FlowFacts {
        pods: pods.facts(),
        nat: far.as_ref(),
        encaps: &encaps,
        reply_encaps: &reply_encaps,
        ..asked.facts(&f.id.tuple, &reasons)
    };
    filter.matches_flow(&facts, inventory)
}

/// What a filter can ask about the way of a flow.
#[derive(Clone, Debug)]
pub(in crate::view) struct Asked {
    devs: Box<[(NetnsId, Ifindex)]>,
    netns: Box<[NetnsId]>,
    marks: Box<[u32]>,
    tables: Box<[u32]>,
    reasons: Box<[Arc<str>]>,
    dropped: bool,
}

impl Asked {
    pub(in crate::view) fn of(f: &Flow) -> Self {
        let mut devs: Vec<(NetnsId, Ifindex)> = f.hops().map(|h| (h.netns, h.dev)).collect();
        devs.extend(f.id.scope.dev.map(|d| (f.id.scope.netns, d)));
        let mut netns: Vec<NetnsId> = f.hops().map(|h| h.netns).collect();
        netns.push(f.id.scope.netns);
        let drops = || f.forward.drops.iter().chain(&f.reply.drops);
        for place in drops().map(|d| &d.place) {
            netns.extend(place.netns);
            devs.extend(place.netns.zip(place.dev));
        }
        let failed = f.route_failures.iter().map(|r| r.table);
        Self {
            devs: devs.into(),
            netns: netns.into(),
            marks: f.hops().map(|h| h.mark).collect(),
            tables: (tables(&f.forward).chain(tables(&f.reply)))
                .chain(failed)
                .collect(),
            reasons: drops().map(|d| d.place.reason.clone()).collect(),
            dropped: drops().next().is_some() || !f.route_failures.is_empty(),
        }
    }

    /// As [`Asked::facts`] takes them.
    pub(in crate::view) fn reasons(&self) -> Vec<&str> {
        self.reasons.iter().map(|r| &**r).collect()
    }

    /// Of a flow with these addresses, but for headers around it, translation and pods.
    pub(in crate::view) fn facts<'a>(
        &'a self,
        tuple: &'a Tuple,
        reasons: &'a [&'a str],
    ) -> FlowFacts<'a> {
        FlowFacts {
            devs: Some(&self.devs),
            netns: Some(&self.netns),
            marks: Some(&self.marks),
            tables: Some(&self.tables),
            reasons: Some(reasons),
            dropped: Some(self.dropped),
            ..FlowFacts::new(tuple)
        }
    }
}

/// Headers around packets of a direction, each once but where packets ended.
pub(in crate::view) fn encaps(d: &Direction) -> Vec<Encap> {
    let mut all: Vec<Encap> = Vec::new();
    for step in &d.path {
        if let Step::Hop(h) = step
            && let Some(e) = h.encap.as_deref().copied()
            && !all.contains(&e)
        {
            all.push(e);
        }
    }
    all.extend(d.drops.iter().filter_map(|x| x.encap));
    all
}

fn tables(d: &Direction) -> impl Iterator<Item = u32> {
    d.path.iter().filter_map(|s| match s {
        Step::Route(r) => r.decision.table,
        Step::Hop(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        event::KtimeNs,
        model::Outcome::Forwarded,
        view::fixture::{self, ETH0, ETH1},
    };

    fn selected(filter: &str, flows: Vec<Flow>) -> (Snapshot, Vec<Finding>) {
        let findings: Vec<Finding> = flows.iter().map(fixture::finding).collect();
        let filter = Filter::parse(filter).unwrap();
        let mut snapshot = fixture::snapshot(flows);
        snapshot.stray_drops = vec![fixture::drop_at("CSUM", "tcp_v4_rcv", ETH0, 1)];
        select(&filter, &fixture::inventory(), &snapshot, &findings)
    }

    #[rstest]
    #[case("", 3)]
    #[case("udp", 3)]
    #[case("tcp", 0)]
    #[case("dst host 10.244.2.20", 3)]
    #[case("src host 10.244.2.20", 3)]
    #[case("drop", 1)]
    #[case("reason IP_OUTNOROUTES", 1)]
    #[case("table 6", 1)]
    #[case("dev ens6", 1)]
    #[case("vni 42", 1)]
    #[case("outer host 192.0.2.2", 1)]
    fn what_a_flow_tells_a_filter(#[case] filter: &str, #[case] n: usize) {
        let flows = vec![
            fixture::tunnelled(Forwarded(ETH0)),
            fixture::routed(Forwarded(ETH1)),
            fixture::dropped(),
        ];
        let (s, findings) = selected(filter, flows);
        assert_eq!(s.flows.len(), n);
        assert_eq!(findings.is_empty(), n == 0);
        assert_eq!(s.stray_drops.len(), usize::from(filter.is_empty()));
        assert_eq!(s.at, KtimeNs(fixture::START.0 + 10_000_000_000));
    }

    #[test]
    fn a_flow_is_turned_to_the_direction_that_matches() {
        let mut f = fixture::routed(Forwarded(ETH1));
        f.reply.packets = 2;
        let (s, _) = selected("src host 10.244.2.20", vec![f.clone()]);
        let turned = &s.flows[0];
        assert_eq!(turned.id.tuple, f.id.tuple.reversed());
        assert_eq!((turned.forward.packets, turned.reply.packets), (2, 3));
        let (s, _) = selected("host 10.244.2.20", vec![f.clone()]);
        assert_eq!(*s.flows[0], f);
    }

    #[rstest]
    #[case("pod shop/web-0", 1)]
    #[case("pod web-*", 1)]
    #[case("src pod web-0 and dst pod db-0", 1)]
    // the flow turned round
    #[case("src pod db-0", 1)]
    #[case("pod shop/web-1", 0)]
    #[case("src and dst pod web-0", 0)]
    #[case("not pod shop/web-1", 1)]
    #[case("not pod shop/web-0", 0)]
    fn pods_are_known_by_the_way_of_a_flow(#[case] filter: &str, #[case] n: usize) {
        let filter = Filter::parse(filter).unwrap();
        let snapshot = fixture::snapshot(vec![fixture::tunnelled(Forwarded(ETH0))]);
        let inventory = fixture::named_inventory();
        let (s, _) = select(&filter, &inventory, &snapshot, &[]);
        assert_eq!(s.flows.len(), n);
        // and nothing without names
        let (s, _) = select(&filter, &fixture::inventory(), &snapshot, &[]);
        assert_eq!(s.flows.len(), 0);
    }
}
