//! Any events in any order.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 7] = ["eth0", "lxc-p1", "br-a", "h-a1", "vxa", "vxm", "eth0.5"];

fn node() -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab.pod("lxc-p1");
    lab.link("br-a", LinkKind::Bridge, Role::Bridge);
    lab.pod("h-a1");
    lab.vxlan("vxa", Some(100));
    lab.vxlan("vxm", None);
    lab.set_master("h-a1", "br-a");
    lab.set_master("vxa", "br-a");
    let eth0 = lab.dev("eth0");
    lab.link("eth0.5", LinkKind::Vlan { id: 5 }, Role::Other)
        .lower = Some(eth0);
    lab
}

/// Some report: what, which tuple, device, input device, VNI, size, moment.
type Report = (u8, u8, usize, Option<usize>, Option<u32>, u64, u64);

fn report() -> impl Strategy<Value = Report> {
    (
        0..9_u8,
        0..5_u8,
        0..NAMES.len(),
        proptest::option::of(0..NAMES.len()),
        proptest::option::of(100..102_u32),
        1..50_u64,
        0..3_u64,
    )
}

fn tuple_of(n: u8) -> Tuple {
    match n {
        0 => there(),
        1 => back(),
        2 => udp("10.0.0.2", 50_000, "10.0.0.1", 4789),
        3 => Tuple {
            sport: 0,
            dport: 0,
            later_fragment: true,
            ..there()
        },
        _ => tuple(Proto::ICMP, "10.244.1.10", 1, "10.0.0.1", 8 << 8),
    }
}

fn add(lab: &mut Lab, (what, which, dev, in_dev, vni, size, life): Report) {
    let tuple = tuple_of(which);
    let (name, in_name) = (NAMES[dev], in_dev.map_or("", |d| NAMES[d]));
    // Lives of a map entry are told apart by their times: far apart, and no longer than this.
    let first = KtimeNs((life * 100_000 + u64::from(which)) * MS);
    let last = KtimeNs(first.0 + size * MS);
    let hop = match what {
        0..=2 => lab.comes(tuple, name, size),
        3..=5 => lab.leaves(tuple, in_name, name, size),
        6 | 7 => {
            let in_dev = in_dev.map(|d| lab.dev(NAMES[d]));
            // Whether it is a loss follows from the place.
            let reason = if what == 6 {
                "NETFILTER_DROP"
            } else {
                "TCP_OLD_DATA"
            };
            let drop = lab.drops(tuple, reason, name, size);
            (drop.place.in_dev, drop.loss) = (in_dev, what == 6);
            (drop.first, drop.last) = (first, last);
            return;
        }
        _ => {
            let notice = TcpNotice {
                tuple,
                netns: HOME,
                what: TcpWhat::Retransmit,
            };
            lab.event(Body::Tcp(notice));
            return;
        }
    };
    if let Some(vni) = vni {
        hop.vxlan(vni);
    }
    (hop.counters.first, hop.counters.last) = (first, last);
}

fn lab_of(reports: &[Report]) -> Lab {
    let mut lab = node();
    for report in reports {
        add(&mut lab, *report);
    }
    lab
}

/// What was counted, by the rules of totals: the largest of each life.
fn counted(events: &[Event]) -> u64 {
    let mut largest = std::collections::BTreeMap::new();
    for event in events {
        if let Body::Hop(hop) = &event.body {
            let packets: &mut u64 = largest.entry((hop.key, hop.counters.first)).or_default();
            *packets = hop.counters.packets.max(*packets);
        }
    }
    largest.values().sum()
}

fn text(snapshot: &Snapshot) -> String {
    format!("{snapshot:#?}")
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_matters(
        reports in proptest::collection::vec(report(), 0..40),
        seed in any::<u64>(),
    ) {
        let lab = lab_of(&reports);
        let expected = lab.later();
        let mut shuffled: Vec<Event> = lab.events.iter().chain(&lab.events).cloned().collect();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let mut model = lab.model();
        for (i, event) in shuffled.iter().enumerate() {
            model.apply(event);
            if i % 7 == 0 {
                // What is kept between snapshots must not show.
                drop(model.snapshot());
            }
        }
        model.tick(expected.at);
        // but for what was shown and is no more
        let shown = Snapshot { gone: Vec::new(), ..model.snapshot() };
        prop_assert_eq!(text(&shown), text(&expected));
    }

    #[test]
    fn packets_are_conserved(reports in proptest::collection::vec(report(), 0..40)) {
        let lab = lab_of(&reports);
        let snapshot = lab.snapshot();
        let shown: u64 =
            snapshot.flows.iter().flat_map(|f| f.hops()).map(|h| h.counters.packets).sum();
        prop_assert_eq!(shown, counted(&lab.events));
        let drops = |d: &Direction| d.drops.iter().map(|d| d.count).sum::<u64>();
        let dropped: u64 = snapshot.flows.iter().map(|f| drops(&f.forward) + drops(&f.reply)).sum();
        let stray: u64 = snapshot.stray_drops.iter().map(|d| d.count).sum();
        let mut largest = std::collections::BTreeMap::new();
        for event in &lab.events {
            if let Body::Drop(d) = &event.body && d.loss {
                let count: &mut u64 =
                    largest.entry((d.tuple, d.place.clone(), d.first)).or_default();
                *count = d.count.max(*count);
            }
        }
        prop_assert_eq!(dropped + stray, largest.values().sum::<u64>());
    }

    #[test]
    fn a_flow_has_one_name(reports in proptest::collection::vec(report(), 0..40)) {
        let snapshot = lab_of(&reports).later();
        for flow in &snapshot.flows {
            let turned = flow.reversed();
            prop_assert_eq!(turned.forward.packets, flow.reply.packets);
            prop_assert!(flow.forward.first <= flow.forward.last);
        }
    }
}
