//! Totals that changed, until they are written: once a second, however often they change.

use std::{mem, net::IpAddr};

use super::hash::FastMap;
use crate::event::{
    Body, Dir, DropPlace, EncapKey, Event, HopKey, IcmpSample, Ifindex, NetnsId, RouteFailure,
    Tuple,
};

/// What a total is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Hop(HopKey),
    Drop(Option<Tuple>, Option<EncapKey>, DropPlace),
    Icmp(Tuple, IpAddr, (NetnsId, Ifindex, Dir), (u8, u8, bool)),
    RouteFailure(Tuple, NetnsId, u32, u32, u32),
}

impl Key {
    /// `None` for what is a moment and no total.
    fn of(event: &Event) -> Option<Self> {
        Some(match &event.body {
            Body::Hop(h) => Self::Hop(h.key),
            Body::Drop(d) => Self::Drop(d.tuple, d.encap.map(|e| e.key), d.place.clone()),
            Body::Icmp(i) => icmp(i),
            Body::RouteFailure(r) => failure(r),
            _ => return None,
        })
    }
}

fn icmp(i: &IcmpSample) -> Key {
    Key::Icmp(
        i.about,
        i.from,
        (i.netns, i.dev, i.dir),
        (i.icmp_type, i.code, i.local),
    )
}

fn failure(r: &RouteFailure) -> Key {
    Key::RouteFailure(r.tuple, r.netns, r.table, r.errno, r.pid)
}

/// Totals by what they are about.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// With a mark for those that are not written yet.
    all: FastMap<Key, (Event, bool)>,
    /// Keep what is written, for the next file of a rotation.
    keep: bool,
    /// Those that are not written yet.
    open: usize,
    /// How many there were the last time.
    last: usize,
}

impl Totals {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    /// A total from a scan: to be written.
    pub(super) fn changed(&mut self, event: &Event) {
        if let Some(key) = Key::of(event) {
            let before = self.all.insert(key, (event.clone(), true));
            self.open += usize::from(!before.is_some_and(|(_, open)| open));
        }
    }

    /// How many there will be to write at the end, as far as can be told: those that changed, and
    /// as many as changed before.
    pub(super) fn to_come(&self) -> usize {
        self.open + self.last
    }

    /// A total that is written at once.
    pub(super) fn written(&mut self, event: &Event) {
        if self.keep
            && let Some(key) = Key::of(event)
        {
            let before = self.all.insert(key, (event.clone(), false));
            self.open -= usize::from(before.is_some_and(|(_, open)| open));
        }
    }

    /// What is to be written of a flow before it is forgotten.
    pub(super) fn take(&mut self, key: &HopKey) -> Option<Event> {
        let (event, open) = self.all.remove(&Key::Hop(*key))?;
        self.open -= usize::from(open);
        open.then_some(event)
    }

    /// Hands out what is to be written.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&Event)) {
        for (event, open) in self.all.values_mut() {
            if mem::take(open) {
                each(event);
            }
        }
        self.last = mem::take(&mut self.open);
        if !self.keep {
            self.all.clear();
        }
    }

    /// All are to be written again: into a new file.
    pub(super) fn reopen(&mut self) {
        for (_, open) in self.all.values_mut() {
            *open = true;
        }
        self.open = self.all.len();
    }
}
