//! Limits, ageing, and counting what found no room.

use super::*;

fn flow(n: u16) -> Tuple {
    udp("10.244.1.10", n, "10.244.2.20", 7)
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab
}

#[test]
fn old_and_healthy_flows_make_room_and_are_counted() {
    let mut lab = lab();
    lab.comes(flow(1), "eth0", 1);
    lab.drops(flow(1), "NETFILTER_DROP", "eth0", 1);
    for n in 2..=40 {
        lab.comes(flow(n), "eth0", 1);
    }
    let mut model = Model::new(ModelConfig {
        max_flows: 32,
        ..ModelConfig::default()
    });
    model.set_inventory(Arc::new(lab.inventory.clone()));
    model.set_loss(Loss {
        events: 3,
        evicted: 5,
        ..Loss::default()
    });
    lab.events.iter().for_each(|e| model.apply(e));
    let snapshot = model.snapshot();
    assert!(snapshot.flows.len() <= 32);
    let gone = 40 - snapshot.flows.len() as u64;
    assert_eq!((snapshot.loss.evicted, snapshot.loss.events), (5 + gone, 3));
    assert_eq!(
        snapshot.flows[0].id.tuple,
        flow(1),
        "the one in trouble stays"
    );
    assert!(
        !snapshot.flows.iter().any(|f| f.id.tuple == flow(2)),
        "the oldest other one goes"
    );
    assert!(snapshot.flows.iter().any(|f| f.id.tuple == flow(40)));
}

#[test]
fn flows_that_the_kernel_forgot_go_before_older_ones() {
    let mut lab = lab();
    for n in 1..=16 {
        lab.comes(flow(n), "eth0", 1);
    }
    let mut model = Model::new(ModelConfig {
        max_flows: 16,
        ..ModelConfig::default()
    });
    lab.events.iter().for_each(|e| model.apply(e));
    if let Body::Hop(sample) = &lab.events[15].body {
        model.retire(&sample.key);
    }
    lab.comes(flow(17), "eth0", 1);
    model.apply(&lab.events[16]);
    let snapshot = model.snapshot();
    assert!(snapshot.flows.iter().any(|f| f.id.tuple == flow(1)));
    assert!(!snapshot.flows.iter().any(|f| f.id.tuple == flow(16)));
}

#[test]
fn a_key_that_starts_again_continues_its_sum() {
    let mut lab = lab();
    lab.comes(flow(1), "eth0", 10);
    lab.clock += 60_000 * MS;
    lab.comes(flow(1), "eth0", 4);
    lab.clock += 60_000 * MS;
    lab.comes(flow(1), "eth0", 1);
    let mut model = lab.model();
    // Each twice, and the first one again, late.
    for e in lab.events.iter().chain(&lab.events).chain(&lab.events[..1]) {
        model.apply(e);
        if let Body::Hop(sample) = &e.body {
            model.retire(&sample.key);
        }
    }
    assert_eq!(only(&model.snapshot()).forward.packets, 15);
}

#[test]
fn many_lives_stay_exact_and_bounded() {
    let mut lab = lab();
    for _ in 0..50 {
        lab.clock += 60_000 * MS;
        lab.comes(flow(1), "eth0", 2);
    }
    assert_eq!(only(&lab.snapshot()).forward.packets, 100);
}

#[test]
fn unchanged_flows_are_not_made_again() {
    let mut lab = lab();
    for n in 1..=2000 {
        lab.comes(flow(n), "eth0", 1);
    }
    let mut model = lab.model();
    lab.events.iter().for_each(|e| model.apply(e));
    let before = model.snapshot();
    lab.comes(flow(7), "eth0", 9);
    model.apply(lab.events.last().unwrap());
    let after = model.snapshot();
    let made = after
        .flows
        .iter()
        .filter(|f| !before.flows.iter().any(|b| Arc::ptr_eq(b, f)))
        .count();
    assert_eq!(made, 1);
}

/// A change of the configuration makes all flows anew; those that stay as they were are the same ones,
/// so that they are not there twice.
#[test]
fn a_new_configuration_keeps_the_flows_that_stay_as_they_are() {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    let tuple = udp("10.244.1.10", 4000, "10.0.0.1", 7);
    lab.pod("lxc-p1");
    lab.comes(tuple, "lxc-p1", 3);
    let mut model = lab.model();
    lab.events.iter().for_each(|e| model.apply(e));
    let before = model.snapshot();
    model.set_inventory(Arc::new(lab.inventory.clone()));
    let after = model.snapshot();
    assert!(Arc::ptr_eq(&before.flows[0], &after.flows[0]));
    // the address is no longer the node's
    let eth0 = lab.dev("eth0");
    let home = lab.inventory.netns.get_mut(&HOME).unwrap();
    home.links.get_mut(&eth0).unwrap().addresses.clear();
    model.set_inventory(Arc::new(lab.inventory.clone()));
    let changed = model.snapshot();
    assert!(!Arc::ptr_eq(&before.flows[0], &changed.flows[0]));
    assert_ne!(
        before.flows[0].forward.outcome,
        changed.flows[0].forward.outcome
    );
}
