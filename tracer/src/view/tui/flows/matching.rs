//! Which flows match the filter. What it asks of the way of a flow is the same for all flows of a
//! kind; addresses stand with the facts. No flow is looked at.

use crate::{
    filter::{Filter, FlowFacts, Verdict},
    view::{
        owners::Who,
        select::Pods,
        tui::{action::Picture, facts::Facts},
    },
};

/// One picture's flows are asked about.
pub(super) struct Asking<'a> {
    picture: &'a Picture,
    filter: &'a Filter,
    all: bool,
    headers: bool,
    /// What the filter says of each kind, when it asks for nothing else.
    said: Option<Vec<Verdict>>,
    /// For each kind, why packets end.
    reasons: Vec<Vec<&'a str>>,
    pods: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn new(filter: &'a Filter, picture: &'a Picture) -> Self {
        let kinds = picture.kinds.all();
        let all = filter.is_all();
        let reasons: Vec<Vec<&str>> = if all {
            Vec::new()
        } else {
            kinds.iter().map(|k| k.asked.reasons()).collect()
        };
        // no such filter looks at it
        let nobody = picture.facts.first().map(|f| f.id.tuple);
        let said = nobody.filter(|_| filter.asks_way_only()).map(|tuple| {
            let said = kinds.iter().zip(&reasons).map(|(kind, reasons)| {
                let facts = kind.asked.facts(&tuple, reasons);
                filter.matches_flow(&facts, &picture.inventory)
            });
            said.collect()
        });
        Self {
            picture,
            filter,
            all,
            headers: filter.asks_headers_only(),
            said,
            reasons,
            pods: filter.names_pods(),
        }
    }

    /// In which direction a flow matches.
    pub(super) fn verdict(&self, facts: &Facts) -> Verdict {
        if self.all {
            return Verdict::Forward;
        }
        if let Some(said) = &self.said {
            return said[facts.kind as usize];
        }
        let (inventory, tuple) = (&self.picture.inventory, &facts.id.tuple);
        if self.headers && facts.beside.is_none() {
            return self.filter.matches_flow(&FlowFacts::new(tuple), inventory);
        }
        let kinds = &self.picture.kinds;
        let kind = kinds.of(facts);
        let ([encaps, reply_encaps], nat) = kinds.beside(facts);
        let who = if self.pods && inventory.has_owners() {
            kind.way.who(inventory, tuple, nat)
        } else {
            Who::default()
        };
        let pods = Pods::new(inventory, &who);
        let known = FlowFacts {
            pods: pods.facts(),
            nat,
            encaps,
            reply_encaps,
            ..kind.asked.facts(tuple, &self.reasons[facts.kind as usize])
        };
        self.filter.matches_flow(&known, inventory)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::{
        event::{Nat, NetnsId},
        model::{Flow, Outcome},
        view::{
            fixture::{self, ETH0, ETH1},
            select,
        },
    };

    /// Of every sort, and several of one kind.
    fn flows() -> Vec<Flow> {
        let mut flows = vec![
            fixture::tunnelled(Outcome::Forwarded(ETH0)),
            fixture::routed(Outcome::Forwarded(ETH1)),
            fixture::routed(Outcome::Unanswered(ETH1)),
            fixture::dropped(),
        ];
        let mut natted = fixture::routed(Outcome::Forwarded(ETH1));
        natted.nat = Some(Box::new(Nat {
            original: natted.id.tuple,
            translated: fixture::tuple(
                natted.id.tuple.proto,
                "10.244.1.10",
                40_000,
                "10.96.0.10",
                53,
            ),
        }));
        let mut marked = fixture::tunnelled(Outcome::Forwarded(ETH0));
        if let Some(crate::model::Step::Hop(h)) = marked.forward.path.last_mut() {
            h.mark = 0x200;
        }
        marked.reply = marked.forward.clone();
        flows.extend([natted, marked]);
        for i in 0..flows.len() {
            let mut other = flows[i].clone();
            (other.id.tuple.src, other.id.tuple.sport) = (fixture::ip("10.244.1.77"), 9);
            other.id.scope.netns = NetnsId(other.id.scope.netns.0 + (i % 2) as u32);
            flows.push(other);
        }
        flows
    }

    #[rstest]
    #[case("udp")]
    #[case("host 10.244.1.77")]
    #[case("src host 10.244.2.20")]
    #[case("vni 42")]
    #[case("outer host 192.0.2.2")]
    #[case("not outer port 4789")]
    #[case("host 10.96.0.10")]
    #[case("dev ens6")]
    #[case("not dev ens6")]
    #[case("drop")]
    #[case("reason IP_*")]
    #[case("not reason IP_*")]
    #[case("table 6 or drop")]
    #[case("mark 0x200/0xf00")]
    #[case("netns 1")]
    #[case("dev ens6 and src host 10.244.2.20 and not port 9")]
    #[case("pod shop/web-0")]
    #[case("src pod db-0")]
    #[case("not pod web-0 and dev ens6")]
    fn a_kind_and_the_facts_say_what_the_flow_says(#[case] text: &str) {
        let filter = Filter::parse(text).unwrap();
        for inventory in [fixture::named_inventory(), fixture::inventory()] {
            let picture = Picture::new(
                Arc::new(inventory),
                Arc::new(fixture::snapshot(flows())),
                Arc::from([]),
                Arc::from([]),
            );
            let asking = Asking::new(&filter, &picture);
            for (facts, f) in picture.facts.iter().zip(&picture.snapshot.flows) {
                let said = select::verdict(&filter, &picture.inventory, f);
                assert_eq!(asking.verdict(facts), said, "{:?}", f.id);
            }
        }
    }
}
