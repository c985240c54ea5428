//! Sums over all flows, also of those that are forgotten.

use super::*;

fn model(lab: &Lab) -> Model {
    let mut model = Model::new(ModelConfig {
        sums: true,
        ..ModelConfig::default()
    });
    model.set_inventory(Arc::new(lab.inventory.clone()));
    model
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab
}

fn came(model: &Model) -> u64 {
    let sums = model.snapshot().sums.unwrap();
    let volumes = sums.devices.iter().filter(|((_, dir), _)| *dir == Dir::In);
    volumes.map(|(_, volume)| volume.packets).sum()
}

fn retire(model: &mut Model, events: &[Event]) {
    for event in events {
        if let Body::Hop(sample) = &event.body {
            model.retire(&sample.key);
        }
    }
}

#[test]
fn only_when_they_are_asked_for() {
    assert_eq!(lab().snapshot().sums, None);
}

/// Repeated and late samples of a total do not count again.
#[test]
fn a_total_counts_once() {
    let mut lab = lab();
    lab.comes(there(), "eth0", 5);
    lab.drops(there(), "NETFILTER_DROP", "eth0", 2);
    let mut model = model(&lab);
    for event in lab.events.iter().chain(lab.events.iter().rev()) {
        model.apply(event);
    }
    let sums = model.snapshot().sums.unwrap();
    assert_eq!(came(&model), 5);
    let drops: Vec<(&str, u64)> = sums.drops.iter().map(|(at, n)| (&*at.reason, *n)).collect();
    assert_eq!(drops, [("NETFILTER_DROP", 2)]);
}

/// A flow whose entry the kernel still has would be counted again when it comes back.
#[test]
fn only_what_the_kernel_forgot_is_forgotten() {
    let mut lab = lab();
    lab.comes(there(), "eth0", 3);
    let mut model = model(&lab);
    lab.events.iter().for_each(|e| model.apply(e));
    lab.clock += 60_000 * MS;
    let late = KtimeNs(lab.clock);
    model.forget(late);
    assert_eq!(model.snapshot().flows.len(), 1);
    retire(&mut model, &lab.events);
    model.forget(KtimeNs(1));
    assert_eq!(model.snapshot().flows.len(), 1, "it was not idle so long");
    model.forget(late);
    assert_eq!(model.snapshot().flows.len(), 0);
    assert_eq!(came(&model), 3);

    // the kernel counts from 0 again
    lab.comes(there(), "eth0", 4);
    model.apply(lab.events.last().unwrap());
    assert_eq!(came(&model), 7);
    assert_eq!(only(&model.snapshot()).forward.packets, 4);
}

#[test]
fn keys_are_bounded() {
    let mut lab = lab();
    let mut model = model(&lab);
    lab.comes(there(), "eth0", 1);
    let mut event = lab.events[0].clone();
    for number in 1..=10_000 {
        if let Body::Hop(sample) = &mut event.body {
            sample.key.dev = Ifindex(number);
        }
        model.apply(&event);
    }
    let sums = model.snapshot().sums.unwrap();
    assert!(sums.devices.len() < 5000, "{}", sums.devices.len());
    assert_eq!(came(&model), 10_000);
}

/// A damaged file may hold any count.
#[test]
fn no_count_is_too_large() {
    let mut lab = lab();
    for tuple in [there(), udp("10.244.1.10", 9, "10.244.2.20", 7)] {
        let counters = &mut lab.comes(tuple, "eth0", 1).counters;
        (counters.packets, counters.bytes) = (u64::MAX, u64::MAX);
        lab.drops(tuple, "NETFILTER_DROP", "eth0", 1).count = u64::MAX;
        let late = lab.drops(tuple, "NOT_SPECIFIED", "eth0", 1);
        (late.count, late.loss) = (u64::MAX, false);
    }
    let mut model = model(&lab);
    lab.events.iter().for_each(|e| model.apply(e));
    let sums = model.snapshot().sums.unwrap();
    assert!(sums.drops.values().all(|n| *n == u64::MAX), "{sums:?}");
    assert!(
        sums.devices.values().all(|v| v.packets == u64::MAX),
        "{sums:?}"
    );
    let no_loss: Vec<u64> = model.snapshot().no_loss.iter().map(|(.., n)| *n).collect();
    assert_eq!(no_loss, [u64::MAX]);
}
