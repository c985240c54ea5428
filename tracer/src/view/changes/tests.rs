use super::*;
use crate::{
    event::{Dir, Proto},
    model::Outcome::{Dropped, Forwarded, Unanswered},
    view::fixture::{self, ETH0, ETH1, HOME, at, ip},
};

/// What each change is, in one word.
fn words(changes: &[Change]) -> Vec<String> {
    let word = |c: &Change| match c {
        Change::New(_) => "new".into(),
        Change::Route(_) => "route".into(),
        Change::Dropping(_) => "dropping".into(),
        Change::Unanswered(_) => "unanswered".into(),
        Change::End(_) => "end".into(),
        Change::Drop(Some(_), _, n) => format!("drop {n}"),
        Change::Drop(None, _, n) => format!("stray {n}"),
        Change::Icmp(_, _, n) => format!("icmp {n}"),
        Change::RouteFailure(_, _, n) => format!("no route {n}"),
        Change::Neigh(_, n) => format!("neigh {n}"),
        Change::Finding(f) => f.id.to_owned(),
        Change::Loss(_) => "loss".into(),
    };
    changes.iter().map(word).collect()
}

struct Watch {
    changes: Changes,
    /// What the picture before had.
    before: Vec<Arc<Flow>>,
}

impl Watch {
    fn new() -> Self {
        Self {
            changes: Changes::default(),
            before: vec![],
        }
    }

    fn see(&mut self, ms: u64, flows: Vec<Flow>) -> Vec<String> {
        self.look(
            &Snapshot {
                at: at(ms),
                ..fixture::snapshot(flows)
            },
            false,
        )
    }

    fn look(&mut self, s: &Snapshot, last: bool) -> Vec<String> {
        let gone = self.before.iter();
        let gone = gone.filter(|old| s.flows.iter().all(|f| f.id != old.id));
        let s = Snapshot {
            gone: gone.cloned().collect(),
            ..s.clone()
        };
        self.before.clone_from(&s.flows);
        words(&self.changes.update(&s, &[], last))
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_flow_is_told_when_its_path_has_settled() {
    let mut w = Watch::new();
    let whole = fixture::routed(Forwarded(ETH1));
    let mut half = whole.clone();
    half.forward.path.truncate(1);
    assert_eq!(w.see(10, vec![half]), NOTHING);
    assert_eq!(w.see(20, vec![whole.clone()]), NOTHING);
    assert_eq!(w.see(30, vec![whole.clone()]), ["new"]);
    assert_eq!(w.see(40, vec![whole]), NOTHING);
}

#[test]
fn the_last_look_tells_what_was_held_back() {
    let mut w = Watch::new();
    let s = fixture::snapshot(vec![fixture::dropped()]);
    assert_eq!(w.look(&s, true), ["new", "dropping", "drop 3"]);
}

#[test]
fn a_new_way_is_told_once_a_second() {
    let mut w = Watch::new();
    let (one, two) = (
        fixture::routed(Forwarded(ETH1)),
        fixture::tunnelled(Forwarded(ETH0)),
    );
    w.see(0, vec![one.clone()]);
    assert_eq!(w.see(100, vec![one.clone()]), ["new"]);
    assert_eq!(w.see(200, vec![two.clone()]), ["route"]);
    assert_eq!(w.see(300, vec![one.clone()]), NOTHING);
    assert_eq!(w.see(1300, vec![one]), ["route"]);
    assert_eq!(w.see(2400, vec![two.clone()]), ["route"]);
    // it came back within the quiet second: nothing to tell
    assert_eq!(w.see(2500, vec![two]), NOTHING);
}

#[test]
fn counters_are_no_new_way() {
    let mut w = Watch::new();
    let mut f = fixture::routed(Forwarded(ETH1));
    w.see(0, vec![f.clone()]);
    w.see(1, vec![f.clone()]);
    f.forward.packets += 9;
    if let Step::Hop(h) = &mut f.forward.path[0] {
        h.counters.packets += 9;
    }
    f.reply.path = vec![Step::Hop(fixture::hop(ETH1, Dir::In, 1, 1))];
    assert_eq!(w.see(2000, vec![f]), NOTHING);
}

#[test]
fn drops_are_told_first_and_then_each_second() {
    let mut w = Watch::new();
    let with = |n| {
        let mut f = fixture::dropped();
        f.forward.drops[0].count = n;
        vec![f]
    };
    w.see(0, with(1));
    assert_eq!(w.see(100, with(1)), ["new", "dropping", "drop 1"]);
    assert_eq!(w.see(200, with(50)), NOTHING);
    assert_eq!(w.see(1100, with(90)), ["drop 89"]);
    assert_eq!(w.see(2200, with(90)), NOTHING);
    assert_eq!(w.see(2300, with(91)), ["drop 1"]);
    let last = Snapshot {
        at: at(2400),
        ..fixture::snapshot(with(95))
    };
    assert_eq!(w.look(&last, true), ["drop 4"]);
}

#[test]
fn a_count_that_begins_anew_is_told() {
    let mut told = Told::default();
    assert_eq!(told.news(5, at(0), false), Some(5));
    assert_eq!(told.news(2, at(2000), false), Some(2));
    assert_eq!(told.news(2, at(4000), false), None);
}

#[test]
fn silence_is_told_once() {
    let mut w = Watch::new();
    let f = fixture::routed(Unanswered(ETH1));
    w.see(0, vec![f.clone()]);
    assert_eq!(w.see(1, vec![f.clone()]), ["new", "unanswered"]);
    assert_eq!(w.see(2, vec![f]), NOTHING);
}

#[test]
fn flows_end_when_closed_idle_or_forgotten() {
    let closed = {
        let mut f = fixture::routed(Forwarded(ETH1));
        f.id.tuple.proto = Proto::TCP;
        (f.forward.tcp_flags, f.reply.tcp_flags) = (0x11, 0x11);
        f
    };
    let open = fixture::routed(Forwarded(ETH1));
    let mut w = Watch::new();
    let all = || vec![closed.clone(), open.clone()];
    w.see(0, all());
    assert_eq!(w.see(3000, all()), ["new", "new"]);
    // the last packets were 2001 ms after the start
    assert_eq!(w.see(4100, all()), ["end"]);
    assert_eq!(w.see(62_100, all()), ["end"]);
    assert_eq!(w.see(62_200, all()), NOTHING);
    // it speaks again
    let mut again = open.clone();
    again.forward.packets += 1;
    again.forward.last = at(62_300);
    assert_eq!(w.see(62_300, vec![again]), ["new"]);
    assert_eq!(w.see(62_500, vec![]), ["end"]);
    assert_eq!(w.changes.known.len(), 0);
}

#[test]
fn housekeeping_is_not_told() {
    let nd = fixture::tuple(Proto::ICMPV6, "fe80::1", 0, "ff02::1", 135 << 8);
    let f = fixture::flow(nd, fixture::direction(vec![], Dropped("X".into()), 1, 86));
    assert_eq!(
        Watch::new().look(&fixture::snapshot(vec![f]), true),
        NOTHING
    );
}

#[test]
fn what_belongs_to_no_flow() {
    let mut w = Watch::new();
    let mut s = fixture::snapshot(vec![]);
    s.stray_drops = vec![fixture::drop_at("CSUM", "tcp_v4_rcv", ETH0, 2)];
    let neigh = NeighFailure {
        address: ip("192.0.2.9"),
        netns: HOME,
        dev: ETH0,
        queued: 1,
    };
    s.neigh_failures = vec![(neigh, 1)];
    s.loss.events = 1;
    assert_eq!(w.look(&s, false), ["stray 2", "neigh 1", "loss"]);
    assert_eq!(w.look(&s, false), NOTHING);
    s.at = at(20_000);
    s.neigh_failures[0].1 = 3;
    assert_eq!(w.look(&s, false), ["neigh 2"]);
}

#[test]
fn a_finding_is_told_when_it_appears() {
    let mut c = Changes::default();
    let s = fixture::snapshot(vec![]);
    let mut f = fixture::finding(&fixture::dropped());
    assert_eq!(
        words(&c.update(&s, std::slice::from_ref(&f), false)),
        ["no-route"]
    );
    f.summary = "its numbers have grown".into();
    assert_eq!(words(&c.update(&s, &[f], false)), NOTHING);
}
