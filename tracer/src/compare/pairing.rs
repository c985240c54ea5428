//! Pairs of what left one node and what entered the other.

use std::collections::BTreeMap;

use super::{
    Clocks, Delays, Side,
    renamed::Renamed,
    side::{Crossing, Wire},
};
use crate::event::Tuple;

/// One of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The first file's.
    A,
    /// The second file's.
    B,
}

/// By how much a packet may seem to arrive before it was sent: the clocks are compared by the fastest
/// packets of both directions, which need not have taken the same time.
const SLACK_NS: i64 = 200_000;

/// What became of wire packets between two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Left the sender's node for the other.
    pub sent: u64,
    /// Of them: entered the receiver's node.
    pub received: u64,
    /// Of them: did not, though it was recording.
    pub lost: u64,
    /// Entered more often than they were sent.
    pub duplicated: u64,
    /// Entered behind one that was sent later.
    pub reordered: u64,
    /// Left while the other node was not recording: not judged.
    pub outside: u64,
}

/// One direction of one flow between the nodes.
#[derive(Clone, Debug)]
pub struct FlowCompared {
    /// Addresses as they are on the wire where it leaves, the innermost ones.
    pub tuple: Tuple,
    /// As they are on the wire where it arrives, when something between the nodes translates them.
    pub arrives_as: Option<Tuple>,
    /// What the sender's node had before it translated them itself.
    pub before: Option<Tuple>,
    /// What the receiver's node makes of them.
    pub after: Option<Tuple>,
    /// Who sent it.
    pub from: Node,
    /// What became of it.
    pub totals: Totals,
    /// By what device the last lost packet left; otherwise the last packet.
    pub left_by: String,
    /// How long it took.
    pub delays: Option<Delays>,
    /// Ends on the receiver's node of packets that entered it: reason, function, packets.
    pub dropped: Vec<(String, String, u64)>,
}

/// What two captures say together.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// The clocks; `None` when no packet was seen on both.
    pub clocks: Option<Clocks>,
    /// Flows, those that lost most first.
    pub flows: Vec<FlowCompared>,
    /// All of them.
    pub totals: Totals,
    /// Why this is no answer; empty when it is one.
    pub open: Vec<String>,
}

/// Packets of one direction by key, while they are matched.
#[derive(Debug, Default)]
struct Open {
    /// Keys that more than one packet has: told apart by time.
    repeated: Vec<(Vec<Wire>, Vec<Wire>)>,
    pairs: Pairs,
}

/// Matched packets of one direction.
#[derive(Debug, Default)]
pub struct Pairs {
    matched: Vec<(Wire, Wire)>,
    /// Of them: the first ones, of keys that only one packet has. What they tell about time is sure.
    sure: usize,
    unmatched: Vec<Wire>,
    extra: Vec<Wire>,
}

impl Open {
    /// Matches what needs no clock.
    fn of(mut sent: Vec<Wire>, mut received: Vec<Wire>) -> Self {
        // equal packets stay in the order of their times
        sent.sort_by_key(|w| w.key);
        received.sort_by_key(|w| w.key);
        let mut open = Self::default();
        let mut rest = received.as_slice();
        for sent in sent.chunk_by(|a, b| a.key == b.key) {
            let [first, ..] = sent else { continue };
            // what was never sent is not from the other node
            rest = &rest[rest.partition_point(|w| w.key < first.key)..];
            let (received, behind) = rest.split_at(rest.partition_point(|w| w.key == first.key));
            rest = behind;
            match (sent, received) {
                ([s], [r, extra @ ..]) => {
                    open.pairs.matched.push((*s, *r));
                    open.pairs.extra.extend(extra);
                }
                (_, []) => open.pairs.unmatched.extend(sent),
                _ => open.repeated.push((sent.to_vec(), received.to_vec())),
            }
        }
        open.pairs.sure = open.pairs.matched.len();
        open
    }

    /// The shortest time by two clocks.
    fn fastest(&self) -> Option<i64> {
        self.pairs.matched.iter().map(|(s, r)| took(s, r)).min()
    }

    /// Matches equal packets. With the clocks known, each that was received belongs to the last one
    /// that was sent before it; without, they are taken in their order.
    fn close(self, shift: Option<i64>) -> Pairs {
        let mut pairs = self.pairs;
        for (sent, received) in self.repeated {
            let mut next = 0;
            for (i, r) in received.iter().enumerate() {
                let left = sent.get(next..).unwrap_or_default();
                // as many as are still to come need one each
                let most = left.len().saturating_sub(received.len() - i - 1);
                let before = match shift {
                    Some(shift) => left
                        .iter()
                        .take(most.max(1))
                        .take_while(|s| took(s, r).saturating_sub(shift) >= -SLACK_NS)
                        .count(),
                    None => 1,
                };
                let Some(s) = left.get(before.max(1) - 1) else {
                    pairs.extra.push(*r);
                    continue;
                };
                pairs.unmatched.extend(&left[..before.max(1) - 1]);
                pairs.matched.push((*s, *r));
                next += before.max(1);
            }
            pairs.unmatched.extend(sent.get(next..).unwrap_or_default());
        }
        pairs
    }
}

impl Pairs {
    /// The shortest time by two clocks.
    fn fastest(&self) -> Option<i64> {
        self.matched.iter().map(|(s, r)| took(s, r)).min()
    }

    /// The longest time that is sure.
    fn slowest(&self) -> Option<i64> {
        let sure = self.matched.iter().take(self.sure);
        sure.map(|(s, r)| took(s, r)).max()
    }
}

/// Time between two crossings by two clocks.
fn took(sent: &Wire, received: &Wire) -> i64 {
    let (s, r) = (i128::from(sent.at.wall_ns), i128::from(received.at.wall_ns));
    (r - s).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Joins two captures.
pub fn compare(a: &Side, b: &Side) -> Compared {
    let (a_sent, mut b_received) = (a.wires(true), b.wires(false));
    let (b_sent, mut a_received) = (b.wires(true), a.wires(false));
    let ab_names = Renamed::find(&a_sent, &b_received, None);
    let ba_names = Renamed::find(&b_sent, &a_received, Some(&ab_names));
    // an answer may tell what its request is called
    let ab_names = Renamed::find(&a_sent, &b_received, Some(&ba_names));
    ab_names.apply(&mut b_received);
    ba_names.apply(&mut a_received);
    let ab = Open::of(a_sent, b_received);
    let ba = Open::of(b_sent, a_received);
    let clocks = Clocks::estimate(ab.fastest(), ba.fastest());
    let ab = ab.close(clocks.map(|c| c.offset_ns));
    let ba = ba.close(clocks.and_then(|c| c.offset_ns.checked_neg()));
    // where packets of one direction are all equal, their pairs are known only now
    let clocks = clocks
        .filter(|c| c.both_ways)
        .or_else(|| Clocks::estimate(ab.fastest(), ba.fastest()));
    let mut open = Vec::new();
    for (name, side) in [("first", a), ("second", b)] {
        if !side.has_crossings() {
            open.push(format!(
                "The {name} capture has no packet at an uplink of {}.",
                side.inventory.node
            ));
        }
        if side.packets_lost > 0 {
            open.push(format!(
                "The {name} capture lacks {} packets that tracer could not keep up with.",
                side.packets_lost
            ));
        }
    }
    let shift = clocks.map_or(0, |c| c.offset_ns);
    let mut flows = join(Node::A, &ab, a, b, shift);
    name(&mut flows, &ab_names, a, b);
    let mut back = join(Node::B, &ba, b, a, shift.saturating_neg());
    name(&mut back, &ba_names, b, a);
    flows.extend(back);
    flows.retain(|f| f.totals.sent > 0);
    flows.sort_by(|x, y| {
        let rank = |f: &FlowCompared| (f.totals.lost, f.totals.sent);
        rank(y)
            .cmp(&rank(x))
            .then_with(|| (x.tuple, x.from).cmp(&(y.tuple, y.from)))
    });
    let mut totals = Totals::default();
    for f in &flows {
        totals.add(&f.totals);
    }
    if totals.sent == 0 {
        open.push("No packet of one node to the other was recorded.".into());
    } else if clocks.is_none() {
        open.push(
            "No packet was seen on both nodes: the clocks cannot be compared, and packets that left \
             while the other node was not recording count as lost."
                .into(),
        );
    }
    Compared {
        clocks,
        flows,
        totals,
        open,
    }
}

impl Compared {
    /// Keeps the flows that are wanted, by any of their names.
    pub fn keep(&mut self, wanted: impl Fn(&Tuple) -> bool) {
        self.flows.retain(|f| f.names().any(|name| wanted(&name)));
        self.totals = Totals::default();
        for f in &self.flows {
            self.totals.add(&f.totals);
        }
    }
}

impl FlowCompared {
    /// What the flow is called on its way.
    pub fn names(&self) -> impl Iterator<Item = Tuple> {
        let names = [Some(self.tuple), self.arrives_as, self.before, self.after];
        names.into_iter().flatten()
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.outside += other.outside;
    }
}

/// Says what flows are called before they leave and after they arrive.
fn name(flows: &mut [FlowCompared], names: &Renamed, sender: &Side, receiver: &Side) {
    for f in flows {
        f.arrives_as = names.arrives_as(&f.tuple);
        f.before = sender.inside(&f.tuple);
        f.after = receiver.inside(&f.arrives_as.unwrap_or(f.tuple));
    }
}

/// A flow while it is put together.
#[derive(Default)]
struct Draft {
    totals: Totals,
    left: Option<Crossing>,
    left_lost: bool,
    delays: Vec<i64>,
    dropped: BTreeMap<(String, String), u64>,
    /// When the latest of those that arrived so far was sent.
    latest: u64,
}

/// The flows of one direction. `shift` is what to add to a time of the sender for one of the
/// receiver.
fn join(
    from: Node,
    pairs: &Pairs,
    sender: &Side,
    receiver: &Side,
    shift: i64,
) -> Vec<FlowCompared> {
    let mut drafts: BTreeMap<Tuple, Draft> = BTreeMap::new();
    let mut matched: Vec<&(Wire, Wire)> = pairs.matched.iter().collect();
    matched.sort_by_key(|(_, r)| r.at.wall_ns);
    for (s, r) in matched {
        let d = drafts.entry(s.key.tuple).or_default();
        d.totals.sent += 1;
        d.totals.received += 1;
        d.totals.reordered += u64::from(s.at.wall_ns < d.latest);
        d.latest = d.latest.max(s.at.wall_ns);
        d.delays.push(took(s, r).saturating_sub(shift));
        if !d.left_lost {
            d.left = Some(s.at);
        }
        if let Some(dropped) = receiver.seen.get(r.packet).and_then(|p| p.dropped.clone()) {
            *d.dropped.entry(dropped).or_default() += 1;
        }
    }
    for r in &pairs.extra {
        drafts.entry(r.key.tuple).or_default().totals.duplicated += 1;
    }
    // the slowest packet of all says how late one may still come
    let slowest = pairs.slowest().map(|ns| ns.saturating_sub(shift));
    for s in &pairs.unmatched {
        let known = drafts.contains_key(&s.key.tuple);
        if !known && !receiver.owns(s.key.tuple.dst) {
            continue;
        }
        let d = drafts.entry(s.key.tuple).or_default();
        let arrives = i128::from(s.at.wall_ns) + i128::from(shift);
        let last = arrives + i128::from(slowest.unwrap_or(0).max(0));
        if arrives < i128::from(receiver.from_ns) || last > i128::from(receiver.until_ns) {
            d.totals.outside += 1;
            continue;
        }
        d.totals.sent += 1;
        d.totals.lost += 1;
        d.left = Some(s.at);
        d.left_lost = true;
    }
    drafts
        .into_iter()
        .map(|(tuple, d)| FlowCompared {
            tuple,
            arrives_as: None,
            before: None,
            after: None,
            from,
            totals: d.totals,
            left_by: d
                .left
                .map_or_else(String::new, |c| sender.inventory.dev_name(c.netns, c.dev)),
            delays: Delays::of(d.delays),
            dropped: d
                .dropped
                .into_iter()
                .map(|((reason, symbol), n)| (reason, symbol, n))
                .collect(),
        })
        .collect()
}
