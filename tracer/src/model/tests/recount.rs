//! A flow of which nothing but counts changed is counted anew, and not made again.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Explains nothing, and knows how often it was asked.
#[derive(Debug, Default)]
struct Asked(AtomicUsize);

impl Explain for Asked {
    fn explain(&self, _: &Lookup, _: &RouteDecision) -> Option<Explanation> {
        self.0.fetch_add(1, Ordering::Relaxed);
        None
    }
}

fn node() -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab.pod("lxc-p1");
    lab
}

/// Forwarded and answered.
fn answered() -> Lab {
    let mut lab = node();
    lab.comes(there(), "lxc-p1", 3);
    lab.leaves(there(), "lxc-p1", "eth0", 3);
    lab.comes(back(), "eth0", 3);
    lab.leaves(back(), "eth0", "lxc-p1", 3);
    lab
}

fn lost() -> Lab {
    let mut lab = node();
    lab.comes(there(), "lxc-p1", 3);
    lab.drops(there(), "NETFILTER_DROP", "lxc-p1", 3).route =
        Some(route(RouteKind::Unicast, Some(Ifindex(2))));
    lab
}

/// The same again, a second later, with more packets.
fn more(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    for event in &mut events {
        event.at.0 += 1000 * MS;
        match &mut event.body {
            Body::Hop(hop) => {
                hop.counters.packets += 7;
                hop.counters.bytes += 700;
                hop.counters.last.0 += 1000 * MS;
            }
            Body::Drop(drop) => {
                drop.count += 7;
                drop.last.0 += 1000 * MS;
            }
            _ => {}
        }
    }
    events
}

fn tell(model: &mut Model, events: &[Event]) {
    for event in events {
        model.apply(event);
    }
}

fn check(lab: &Lab) {
    let asked = Arc::new(Asked::default());
    let times = || asked.0.load(Ordering::Relaxed);
    let mut model = lab.model();
    model.set_explain(asked.clone());
    tell(&mut model, &lab.events);
    let first = model.snapshot();
    let before = format!("{first:?}");
    let explained = times();
    assert!(explained > 0, "nothing was explained");

    let again = more(&lab.events);
    tell(&mut model, &again);
    let second = model.snapshot();
    assert_eq!(times(), explained, "it was made again");
    assert_eq!(format!("{first:?}"), before, "an earlier snapshot changed");
    let mut anew = lab.model();
    tell(&mut anew, &lab.events);
    tell(&mut anew, &again);
    assert_eq!(format!("{second:?}"), format!("{:?}", anew.snapshot()));
    assert_eq!(only(&second).forward.packets, 10);

    // what does not change is shared
    assert!(Arc::ptr_eq(&model.snapshot().flows[0], &second.flows[0]));
    let mut larger = again[0].clone();
    if let Body::Hop(hop) = &mut larger.body {
        hop.max_len += 1;
        hop.counters.last.0 += MS;
    }
    model.apply(&larger);
    drop(model.snapshot());
    assert!(times() > explained, "a larger packet was not looked at");
}

#[test]
fn more_of_the_same() {
    check(&answered());
    check(&lost());
}

/// Which of two devices most packets left by depends on how many they are.
#[test]
fn what_depends_on_counts_is_made_again() {
    let mut lab = answered();
    lab.uplink("eth1", "10.0.1.1");
    lab.leaves(there(), "lxc-p1", "eth1", 2);
    let mut model = lab.model();
    tell(&mut model, &lab.events);
    let left = |s: &Snapshot| lab.outcome(&only(s).forward);
    assert_eq!(left(&model.snapshot()), "forwarded eth0");
    let mut by_the_other = lab.events.last().cloned().unwrap();
    if let Body::Hop(hop) = &mut by_the_other.body {
        hop.counters.packets = 50;
        hop.counters.last.0 += MS;
    }
    model.apply(&by_the_other);
    assert_eq!(left(&model.snapshot()), "forwarded eth1");
}
