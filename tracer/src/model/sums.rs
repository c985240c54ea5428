//! Sums over all flows since the start, for readers that come again and again. They only grow, also
//! when flows are forgotten.

use std::{collections::BTreeMap, sync::Arc};

use crate::event::{Counters, Dir, DropPlace, Ifindex, NetnsId};

/// Most keys of one kind. A device that is made anew has a new number, so that a node on which pods
/// come and go would have more and more; beyond, they are counted under a key without a device.
const MAX_KEYS: usize = 4096;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Wire packets.
    pub packets: u64,
    /// Bytes with the link header.
    pub bytes: u64,
}

/// Where and why packets ended, without the kernel's function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropAt {
    /// Name in this kernel's `enum skb_drop_reason`, without `SKB_DROP_REASON_`.
    pub reason: Arc<str>,
    /// Namespace and device; `None` when the packet carried none.
    pub device: Option<(NetnsId, Ifindex)>,
}

/// Sums over all flows since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What passed each device. Packets of the link's own housekeeping are not in it.
    pub devices: BTreeMap<(Option<(NetnsId, Ifindex)>, Dir), Volume>,
    /// Packets that were lost on this node, also those of no flow.
    pub drops: BTreeMap<DropAt, u64>,
    /// Lookups of local senders that found no route, by errno.
    pub route_failures: BTreeMap<u32, u64>,
}

impl Sums {
    pub(super) fn passed(
        &mut self,
        (netns, dev, dir): (NetnsId, Ifindex, Dir),
        before: &Counters,
        after: &Counters,
    ) {
        let mut key = (Some((netns, dev)), dir);
        if self.devices.len() >= MAX_KEYS && !self.devices.contains_key(&key) {
            key = (None, dir);
        }
        let volume = self.devices.entry(key).or_default();
        let more =
            |sum: u64, before: u64, after: u64| sum.saturating_add(after.saturating_sub(before));
        volume.packets = more(volume.packets, before.packets, after.packets);
        volume.bytes = more(volume.bytes, before.bytes, after.bytes);
    }

    pub(super) fn dropped(&mut self, place: &DropPlace, packets: u64) {
        let mut key = DropAt {
            reason: place.reason.clone(),
            device: place.netns.zip(place.dev),
        };
        if self.drops.len() >= MAX_KEYS && !self.drops.contains_key(&key) {
            key.device = None;
        }
        let known = self.drops.entry(key).or_default();
        *known = known.saturating_add(packets);
    }
}
