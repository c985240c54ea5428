//! Flows whose addresses are translated between the nodes.
//!
//! Where a node translates them itself, its packets are taken behind that: nothing is to be done. What
//! something between the nodes translates (a gateway, a load balancer, a program behind tracer's)
//! leaves one node under one name and enters the other under another; identification, sequence
//! numbers and payload stay.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{key::Key, side::Wire};
use crate::event::{Proto, Tuple};

/// Packets that must be equal but for their addresses. Sequence numbers of TCP are 64 bits that two
/// connections do not share by chance; an IP identification and a payload may be.
const PROOF: u32 = 2;
const PROOF_TCP: u32 = 1;

/// What each flow is called where it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renamed {
    /// By the name where it arrives, the name that it was sent under.
    sent: HashMap<Tuple, Tuple>,
    /// The other way round.
    arrives: HashMap<Tuple, Tuple>,
}

/// Who has a packet's content.
#[derive(Clone, Copy)]
enum Has {
    Nobody,
    One(Tuple),
    Several,
}

impl Has {
    fn add(self, tuple: Tuple) -> Self {
        match self {
            Self::Nobody => Self::One(tuple),
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

impl Renamed {
    /// Finds out by the content of packets: flows that are seen on one side only and share packets
    /// that no other has. `opposite`: what is known of the other direction.
    pub(super) fn find(sent: &[Wire], received: &[Wire], opposite: Option<&Self>) -> Self {
        let tuples = |wires: &[Wire]| wires.iter().map(|w| w.key.tuple).collect::<HashSet<_>>();
        let (left, came) = (tuples(sent), tuples(received));
        let mut found = Self::default();
        for (arrived, was_sent) in opposite.into_iter().flat_map(|o| &o.sent) {
            let (answer, answered) = (arrived.reversed(), was_sent.reversed());
            if left.contains(&answer) && came.contains(&answered) {
                found.add(answer, answered);
            }
        }
        let mut contents: HashMap<Key, (Has, Has)> = HashMap::new();
        for wire in sent.iter().filter(|w| !came.contains(&w.key.tuple)) {
            let content = wire.key.without_addresses();
            let (s, _) = contents
                .entry(content)
                .or_insert((Has::Nobody, Has::Nobody));
            *s = s.add(wire.key.tuple);
        }
        for wire in received.iter().filter(|w| !left.contains(&w.key.tuple)) {
            // only what was sent is of interest
            if let Some((_, r)) = contents.get_mut(&wire.key.without_addresses()) {
                *r = r.add(wire.key.tuple);
            }
        }
        let mut votes: BTreeMap<(Tuple, Tuple), u32> = BTreeMap::new();
        for pair in contents.into_values() {
            if let (Has::One(s), Has::One(r)) = pair {
                *votes.entry((s, r)).or_default() += 1;
            }
        }
        found.elect(&votes);
        found
    }

    fn add(&mut self, sent: Tuple, arrives: Tuple) {
        if self.arrives.contains_key(&sent) || self.sent.contains_key(&arrives) {
            return;
        }
        self.sent.insert(arrives, sent);
        self.arrives.insert(sent, arrives);
    }

    /// Takes the pairs in which each is the other's best.
    fn elect(&mut self, votes: &BTreeMap<(Tuple, Tuple), u32>) {
        let mut best: HashMap<(bool, Tuple), u32> = HashMap::new();
        for (&(s, r), &n) in votes {
            for end in [(true, s), (false, r)] {
                let most = best.entry(end).or_default();
                *most = n.max(*most);
            }
        }
        for (&(s, r), &n) in votes {
            let proof = if s.proto == Proto::TCP {
                PROOF_TCP
            } else {
                PROOF
            };
            let is_best = |end| best.get(&end) == Some(&n);
            if n >= proof && is_best((true, s)) && is_best((false, r)) {
                self.add(s, r);
            }
        }
    }

    /// Gives packets that arrived the names that they were sent under.
    pub(super) fn apply(&self, received: &mut [Wire]) {
        if self.sent.is_empty() {
            return;
        }
        for wire in received {
            if let Some(sent) = self.sent.get(&wire.key.tuple) {
                wire.key.tuple = *sent;
            }
        }
    }

    /// What a flow is called where it arrives, when that is something else.
    pub(super) fn arrives_as(&self, sent: &Tuple) -> Option<Tuple> {
        self.arrives.get(sent).copied()
    }
}
