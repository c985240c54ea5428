//! Totals that changed, until they are written: once a second, however often they change.

use std::{collections::hash_map::Entry, mem, net::IpAddr};

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

/// Totals that wait to be written, at most. With 100,000 flows they would take as much memory as the flows.
const MANY: usize = 16_384;

/// What is still to be done with a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is in the file, and is kept for the next one.
    Written,
    /// It is to be written.
    Open,
    /// It is to be written, and then forgotten: the kernel has no entry of it any more.
    Last,
}

/// A total. Behind a pointer because a table is up to twice as large as what is in it.
type Total = (Box<Event>, State);

/// Totals by what they are about.
#[derive(Debug, Default)]
pub(super) struct Totals {
    all: FastMap<Key, Total>,
    /// Keep what is written, for the next file of a rotation.
    keep: bool,
    /// Those that are not written yet.
    open: usize,
    /// How many were written since the last tick, and between the two before it.
    since: usize,
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
        self.put(event, State::Open);
    }

    /// How many there will be to write at the end, as far as can be told: those that changed, and
    /// as many as changed before.
    pub(super) fn to_come(&self) -> usize {
        self.open + self.last.max(self.since)
    }

    /// A total that is written at once.
    pub(super) fn written(&mut self, event: &Event) {
        if self.keep {
            self.put(event, State::Written);
        }
    }

    /// The kernel's entry of a total was deleted: it is kept until it is written, and no longer.
    pub(super) fn forget(&mut self, event: &Event) {
        let Some(key) = Key::of(event) else { return };
        if let Entry::Occupied(mut entry) = self.all.entry(key) {
            if entry.get().1 == State::Written {
                entry.remove();
            } else {
                entry.get_mut().1 = State::Last;
            }
        }
    }

    fn put(&mut self, event: &Event, state: State) {
        let Some(key) = Key::of(event) else { return };
        let was_open = match self.all.entry(key) {
            Entry::Occupied(mut entry) => {
                let (known, before) = entry.get_mut();
                known.as_mut().clone_from(event);
                mem::replace(before, state) != State::Written
            }
            Entry::Vacant(entry) => {
                entry.insert((Box::new(event.clone()), state));
                false
            }
        };
        self.open -= usize::from(was_open);
        self.open += usize::from(state != State::Written);
    }

    /// What is to be written of a flow before it is forgotten.
    pub(super) fn take(&mut self, key: &HopKey) -> Option<Event> {
        let (event, state) = self.all.remove(&Key::Hop(*key))?;
        let open = state != State::Written;
        self.open -= usize::from(open);
        open.then_some(*event)
    }

    /// Hands out what is to be written.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&Event)) {
        let keep = self.keep;
        self.all.retain(|_, (event, state)| {
            let before = mem::replace(state, State::Written);
            if before != State::Written {
                each(event);
            }
            keep && before != State::Last
        });
        self.since += mem::take(&mut self.open);
    }

    /// So many are to be written that they should not wait: as many again would come before the
    /// next tick. Those that are kept take the same memory anyway.
    pub(super) fn are_many(&self) -> bool {
        !self.keep && self.open >= MANY
    }

    /// All are written; a second begins.
    pub(super) fn tick(&mut self) {
        self.last = mem::take(&mut self.since);
    }

    /// All are to be written again: into a new file.
    pub(super) fn reopen(&mut self) {
        for (_, state) in self.all.values_mut() {
            *state = State::Open;
        }
        self.open = self.all.len();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::event::{DropSample, KtimeNs, Proto};

    /// A drop of the flow with this source port.
    fn drop(sport: u16) -> Event {
        let any = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Event {
            at: KtimeNs(1),
            body: Body::Drop(DropSample {
                tuple: Some(Tuple {
                    proto: Proto::TCP,
                    src: any,
                    dst: any,
                    sport,
                    dport: 80,
                    later_fragment: false,
                }),
                encap: None,
                original: None,
                place: DropPlace {
                    reason: "NOT_SPECIFIED".into(),
                    symbol: "tcp_fin".into(),
                    netns: None,
                    dev: None,
                    in_dev: None,
                },
                count: 1,
                bytes: 60,
                first: KtimeNs(1),
                last: KtimeNs(1),
                route: None,
                mtu: None,
                max_len: 60,
                mark: 0,
                has_sock: true,
                loss: false,
            }),
        }
    }

    fn written(totals: &mut Totals) -> usize {
        let mut lines = 0;
        totals.drain(|_| lines += 1);
        lines
    }

    /// Each connection ends with a drop that is no loss: hours of them must not be kept.
    #[test]
    fn what_the_kernel_has_no_entry_of_is_written_and_forgotten() {
        let mut totals = Totals::new(true);
        for sport in 1..1000 {
            totals.changed(&drop(sport));
            totals.forget(&drop(sport));
            assert_eq!(totals.open, 1);
            assert_eq!(written(&mut totals), 1);
            assert_eq!(totals.all.len(), 0);
        }
    }

    #[test]
    fn many_do_not_wait_and_are_expected_again() {
        let mut totals = Totals::default();
        for sport in 0..u16::MAX {
            totals.changed(&drop(sport));
            if totals.are_many() {
                assert_eq!(written(&mut totals), MANY);
            }
        }
        assert_eq!(totals.all.len(), usize::from(u16::MAX) % MANY);
        assert_eq!(totals.to_come(), usize::from(u16::MAX));
        written(&mut totals);
        totals.tick();
        // as many may have changed once more at the end
        assert_eq!(totals.to_come(), usize::from(u16::MAX));
        totals.tick();
        assert_eq!(totals.to_come(), 0);
        let kept = &mut Totals::new(true);
        (0..u16::MAX).for_each(|sport| kept.changed(&drop(sport)));
        assert!(!kept.are_many());
    }

    #[test]
    fn what_is_there_is_written_into_each_file() {
        let mut totals = Totals::new(true);
        totals.changed(&drop(1));
        totals.written(&drop(2));
        assert_eq!(written(&mut totals), 1);
        assert_eq!(written(&mut totals), 0);
        totals.reopen();
        // one that goes just now is in this file, and not in the next
        totals.forget(&drop(2));
        assert_eq!(written(&mut totals), 2);
        totals.reopen();
        assert_eq!(written(&mut totals), 1);
        // and one that comes again is a total like any other
        totals.changed(&drop(2));
        totals.forget(&drop(2));
        totals.changed(&drop(2));
        assert_eq!(written(&mut totals), 1);
        totals.reopen();
        assert_eq!(written(&mut totals), 2);
    }
}
