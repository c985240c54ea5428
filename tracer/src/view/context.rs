//! What views need beside the snapshot.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    event::{Ifindex, KtimeNs, NetnsId},
    inventory::Inventory,
};

/// Turns the kernel's monotonic time into wall time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Nanoseconds to add to `CLOCK_MONOTONIC` for `CLOCK_REALTIME`.
    pub offset_ns: i64,
    /// Zone of the times that people read; `None` for UTC. Machine output is always UTC.
    pub zone: Option<TimeZone>,
}

impl WallClock {
    /// The wall time, or the epoch when it cannot be represented.
    pub fn timestamp(&self, at: KtimeNs) -> Timestamp {
        let ns = i128::from(at.0) + i128::from(self.offset_ns);
        Timestamp::from_nanosecond(ns).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(&self, at: KtimeNs) -> String {
        format!("{:.3}", self.timestamp(at))
    }

    /// `HH:MM:SS.ffffff` in the zone, as tcpdump prints it.
    pub fn time_of_day(&self, at: KtimeNs) -> String {
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let t = self.timestamp(at).to_zoned(zone);
        let (h, m, s) = (t.hour(), t.minute(), t.second());
        format!("{h:02}:{m:02}:{s:02}.{:06}", t.subsec_nanosecond() / 1000)
    }
}

/// A question that something missing on this kernel leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// Were packets dropped?
    Drops,
    /// Which table and next hop?
    Routes,
    /// Which devices and tunnels?
    Path,
}

/// Something that this kernel, or our privileges on it, did not let us see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// One sentence.
    pub text: String,
    /// What it leaves open.
    pub hides: Question,
}

/// What every view needs beside the snapshot.
#[derive(Clone, Copy, Debug)]
pub struct ViewContext<'a> {
    /// Names of devices and namespaces.
    pub inventory: &'a Inventory,
    /// Wall time.
    pub clock: &'a WallClock,
    /// What a drop reason at a symbol with an errno means, in a few words.
    pub meaning: fn(&str, &str, u32) -> String,
    /// Numbers instead of names for tables, namespaces and errors.
    pub numeric: bool,
}

impl ViewContext<'_> {
    /// The device's name (from outside: escape it before a terminal sees it).
    pub(crate) fn dev(&self, netns: NetnsId, dev: Ifindex) -> String {
        self.inventory.dev_name(netns, dev)
    }

    /// The pod in the namespace, otherwise the namespace's name, otherwise `net:[INODE]`.
    pub(crate) fn netns(&self, netns: NetnsId) -> String {
        let known = self.inventory.netns.get(&netns);
        // runtimes give namespaces names of their own: `cni-5d2c…`
        let owner = known
            .and_then(|n| n.owner.as_ref())
            .map(ToString::to_string);
        let name = owner.or_else(|| known?.name.clone());
        name.filter(|_| !self.numeric)
            .unwrap_or_else(|| netns.to_string())
    }
}
