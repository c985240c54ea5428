//! What panes show of all flows together, added up when a picture is made and not where keys are
//! answered.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use super::flows::Place;
use crate::{
    event::{Dir, Ifindex, NetnsId},
    model::{Drop, Flow, Snapshot},
};

/// Traffic of a device, as the flows tell it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    /// Packets in and out.
    pub(super) packets: [u64; 2],
    /// Bytes in and out.
    pub(super) bytes: [u64; 2],
    pub(super) drops: u64,
}

/// Traffic of devices.
pub(super) type Devices = HashMap<Place, Traffic, RandomState>;

/// Adds a flow up; `home` is where drops are that name no namespace.
pub(super) fn add(devices: &mut Devices, f: &Flow, home: NetnsId) {
    for d in [&f.forward, &f.reply] {
        for h in d.hops() {
            let sum = devices.entry((h.netns, h.dev)).or_default();
            let i = usize::from(h.dir == Dir::Out);
            sum.packets[i] += h.counters.packets;
            sum.bytes[i] += h.counters.bytes;
        }
        for drop in &d.drops {
            dropped(devices, drop, home);
        }
    }
}

/// Adds a drop up.
pub(super) fn dropped(devices: &mut Devices, drop: &Drop, home: NetnsId) {
    let netns = drop.place.netns.unwrap_or(home);
    if let Some(dev) = drop.place.dev.or(drop.place.in_dev) {
        devices.entry((netns, dev)).or_default().drops += drop.count;
    }
}

/// Reason, function, namespace and device.
pub(super) type Where<'a> = (&'a str, &'a str, Option<NetnsId>, Option<Ifindex>);

/// Packets, and an errno that routing left.
pub(super) type Total = (u64, u32);

/// Where packets end.
pub(super) type Ends<'a> = HashMap<Where<'a>, Total, RandomState>;

/// Adds a drop up.
pub(super) fn ended<'a>(ends: &mut Ends<'a>, d: &'a Drop) {
    let place = &d.place;
    let dev = place.dev.or(place.in_dev);
    let key = (&*place.reason, &*place.symbol, place.netns, dev);
    let total = ends.entry(key).or_default();
    total.0 += d.count;
    total.1 = total.1.max(d.route.map_or(0, |r| r.errno));
}

/// A place of [`Ends`] and its total.
#[derive(Clone, Debug)]
pub(super) struct End {
    reason: Arc<str>,
    symbol: Arc<str>,
    at: (Option<NetnsId>, Option<Ifindex>),
    pub(super) total: Total,
}

impl End {
    pub(super) fn place(&self) -> Where<'_> {
        (&self.reason, &self.symbol, self.at.0, self.at.1)
    }
}

/// Over all flows of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) devices: Devices,
    pub(super) ends: Vec<End>,
    /// Numbers of the flows that failed to be routed.
    pub(super) failing: Vec<u32>,
}

impl Sums {
    pub(super) fn of(snapshot: &Snapshot, home: NetnsId) -> Self {
        let (mut devices, mut ends) = (Devices::default(), Ends::default());
        let mut failing = Vec::new();
        for (number, f) in (0..).zip(&snapshot.flows) {
            add(&mut devices, f, home);
            for d in f.forward.drops.iter().chain(&f.reply.drops) {
                ended(&mut ends, d);
            }
            if !f.route_failures.is_empty() {
                failing.push(number);
            }
        }
        let ends = ends
            .into_iter()
            .map(|((reason, symbol, netns, dev), total)| End {
                reason: reason.into(),
                symbol: symbol.into(),
                at: (netns, dev),
                total,
            });
        Self {
            ends: ends.collect(),
            devices,
            failing,
        }
    }
}
