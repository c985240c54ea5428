use std::collections::BTreeMap;

use super::*;
use crate::{
    event::{Ifindex, NetnsId},
    model::{DropAt, Outcome, Volume},
    view::fixture::{self, ETH1, HOME, LXC},
};

fn sums() -> Sums {
    let volume = |packets| Volume {
        packets,
        bytes: packets * 100,
    };
    Sums {
        devices: BTreeMap::from([
            ((Some((HOME, LXC)), Dir::In), volume(3)),
            ((Some((HOME, ETH1)), Dir::Out), volume(2)),
            ((None, Dir::Out), volume(1)),
        ]),
        drops: BTreeMap::from([(
            DropAt {
                reason: "IP_OUTNOROUTES".into(),
                device: Some((HOME, ETH1)),
            },
            4,
        )]),
        route_failures: BTreeMap::from([(101, 7)]),
    }
}

fn page(labels: &Labels, inventory: &Inventory) -> String {
    let flow = fixture::routed(Outcome::Forwarded(ETH1));
    let findings = [fixture::finding(&flow)];
    let mut snapshot = fixture::snapshot(vec![flow, fixture::dropped()]);
    snapshot.sums = Some(sums());
    let checks = [Checked {
        name: "to \"the\" peer\n".into(),
        verdict: Some(Judgement::Fail),
        at: 1.5e9,
        runs: [2, 1, 0],
        errors: 1,
    }];
    let scene = Scene {
        snapshot: &snapshot,
        findings: &findings,
        inventory,
        labels,
        devices: 3,
        limits: 1,
        started: 1_764_000_000.25,
        checks: &checks,
    };
    String::from_utf8(render(&scene).unwrap()).unwrap()
}

#[test]
fn a_scrape() {
    let inventory = fixture::inventory();
    let mut labels = Labels::default();
    labels.update(&inventory, &sums());
    let text = page(&labels, &inventory);
    insta::assert_snapshot!(text);
    assert_eq!(text, page(&labels, &inventory));
}

/// A counter must not fall: a device keeps its label when it is gone, and an unknown one is counted
/// when it stays unknown.
#[test]
fn labels_stay() {
    let inventory = fixture::inventory();
    let mut labels = Labels::default();
    labels.update(&inventory, &sums());
    let before = labels.get(Some((HOME, ETH1))).unwrap();
    assert_ne!(before.device, OTHER);
    labels.update(&Inventory::default(), &sums());
    assert_eq!(labels.get(Some((HOME, ETH1))), Some(before));

    let mut labels = Labels::default();
    labels.update(&Inventory::default(), &sums());
    assert_eq!(labels.get(Some((HOME, ETH1))), None);
    labels.update(&Inventory::default(), &sums());
    assert_eq!(labels.get(Some((HOME, ETH1))).unwrap().device, OTHER);
}

#[test]
fn there_are_few_labels() {
    let mut inventory = fixture::inventory();
    let mut sums = Sums::default();
    let template = inventory.link(HOME, ETH1).unwrap().clone();
    let home = inventory.netns.get_mut(&HOME).unwrap();
    for number in 1000..2000 {
        let ifindex = Ifindex(number);
        let mut link = template.clone();
        link.ifindex = ifindex;
        link.name = format!("d{number}");
        home.links.insert(ifindex, link);
        let key = (Some((HOME, ifindex)), Dir::In);
        sums.devices.insert(key, Volume::default());
    }
    let mut labels = Labels::default();
    labels.update(&inventory, &sums);
    let distinct: std::collections::HashSet<Label> = (1000..2000)
        .filter_map(|n| labels.get(Some((HOME, Ifindex(n)))))
        .collect();
    assert_eq!(distinct.len(), MAX_DEVICES + 1);
    assert_eq!(labels.get(None).unwrap().device, OTHER);
    let elsewhere = Some((NetnsId(1), ETH1));
    assert_eq!(labels.get(elsewhere), None);
}
