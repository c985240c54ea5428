//! What panes show of flows together: traffic of devices, places where packets end, decisions.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use super::flows::Place;
use crate::{
    event::{Ifindex, NetnsId},
    model::{Decision, Drop},
};

/// Traffic of a device, as the flows tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Packets in and out.
    pub(super) packets: [u64; 2],
    /// Bytes in and out.
    pub(super) bytes: [u64; 2],
    pub(super) drops: u64,
}

/// Traffic of devices.
pub(super) type Devices = HashMap<Place, Traffic, RandomState>;

/// Flows and packets.
pub(super) type Hits = (u64, u64);

/// Packets, and an errno that routing left.
pub(super) type Total = (u64, u32);

/// A place where packets end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct End {
    pub(super) reason: Arc<str>,
    pub(super) symbol: Arc<str>,
    pub(super) netns: Option<NetnsId>,
    pub(super) dev: Option<Ifindex>,
}

impl End {
    pub(super) fn of(d: &Drop) -> Self {
        Self {
            reason: d.place.reason.clone(),
            symbol: d.place.symbol.clone(),
            netns: d.place.netns,
            dev: d.place.dev.or(d.place.in_dev),
        }
    }

    /// The device, `home` being where places are that name no namespace.
    pub(super) fn device(&self, home: NetnsId) -> Option<Place> {
        Some((self.netns.unwrap_or(home), self.dev?))
    }
}

/// The errno that routing left in packets of a drop.
pub(super) fn errno(d: &Drop) -> u32 {
    d.route.map_or(0, |r| r.errno)
}

/// Where packets end.
pub(super) type Ends = HashMap<End, Total, RandomState>;

/// Over some flows.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) devices: Devices,
    pub(super) ends: Ends,
    /// Decisions with the flows and packets that they are about; those of two kinds of flows stand
    /// by themselves.
    pub(super) decisions: Vec<(Arc<Decision>, Hits)>,
    /// Numbers of the flows that failed to be routed.
    pub(super) failing: Vec<u32>,
}

impl Sums {
    /// Adds packets that ended.
    pub(super) fn ended(&mut self, end: &End, (count, errno): Total, home: NetnsId) {
        if let Some(place) = end.device(home) {
            self.devices.entry(place).or_default().drops += count;
        }
        // most often it is known already
        let total = match self.ends.get_mut(end) {
            Some(total) => total,
            None => self.ends.entry(end.clone()).or_default(),
        };
        total.0 += count;
        total.1 = total.1.max(errno);
    }
}
