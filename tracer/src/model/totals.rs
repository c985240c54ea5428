//! Totals of one key, also when the kernel's map entry was aged out and made anew.

use std::collections::BTreeSet;

use thin_vec::ThinVec;

use crate::event::{Counters, KtimeNs};

/// More lives of one key than this are folded together, oldest first.
const MAX_LIVES: usize = 8;

/// More moments of one kind than this are kept as a number only.
const MAX_MOMENTS: usize = 256;

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Changed {
    Nothing,
    /// Packets, bytes and the time of the last one, nothing else.
    Counts,
    /// Something that flows are made by.
    More,
}

impl Changed {
    /// Together with a change of something else.
    pub(super) fn or_more(self, more: bool) -> Self {
        if more { Self::More } else { self }
    }
}

/// Totals of a key over all lives of its kernel map entry.
///
/// Within one life totals only grow and `first` stays, so the larger of two samples is the newer.
/// An entry that was aged out starts again from 0 with a later `first`: samples whose times do
/// not overlap are of different lives, and their sum is the total. Neither the order of samples
/// nor repeated ones change the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lives {
    newest: Counters,
    older: ThinVec<Counters>,
}

impl Lives {
    pub(super) fn new(sample: Counters) -> Self {
        Self {
            newest: sample,
            older: ThinVec::new(),
        }
    }

    /// Takes a sample, and says what it changed.
    pub(super) fn apply(&mut self, sample: &Counters) -> Changed {
        let life = std::iter::once(&mut self.newest)
            .chain(&mut self.older)
            .find(|l| sample.first <= l.last && l.first <= sample.last);
        if let Some(life) = life {
            let before = *life;
            grow(life, sample);
            return if life.first != before.first {
                Changed::More
            } else if *life == before {
                Changed::Nothing
            } else {
                Changed::Counts
            };
        }
        if sample.first > self.newest.last {
            self.older
                .push(std::mem::replace(&mut self.newest, *sample));
        } else {
            self.older.push(*sample);
        }
        if self.older.len() >= MAX_LIVES {
            self.fold_oldest();
        }
        Changed::More
    }

    fn fold_oldest(&mut self) {
        self.older.sort_by_key(|l| l.first);
        if self.older.len() >= 2 {
            let second = self.older.remove(1);
            self.older[0] = sum(&self.older[0], &second);
        }
    }

    /// The sum of all lives.
    pub(super) fn total(&self) -> Counters {
        self.older.iter().fold(self.newest, |acc, l| sum(&acc, l))
    }
}

fn grow(life: &mut Counters, sample: &Counters) {
    life.packets = life.packets.max(sample.packets);
    life.bytes = life.bytes.max(sample.bytes);
    life.skbs = life.skbs.max(sample.skbs);
    life.first = life.first.min(sample.first);
    life.last = life.last.max(sample.last);
}

/// Totals of two disjoint sets of packets.
pub(super) fn sum(a: &Counters, b: &Counters) -> Counters {
    Counters {
        packets: a.packets.saturating_add(b.packets),
        bytes: a.bytes.saturating_add(b.bytes),
        skbs: a.skbs.saturating_add(b.skbs),
        first: a.first.min(b.first),
        last: a.last.max(b.last),
    }
}

/// How often something without totals happened, told apart by its times, so that an event that
/// is applied twice counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moments {
    /// Number of older moments that are no longer kept.
    folded: u64,
    /// Up to here moments are in `folded`.
    floor: KtimeNs,
    seen: BTreeSet<KtimeNs>,
}

impl Moments {
    pub(super) fn new(at: KtimeNs) -> Self {
        Self {
            seen: BTreeSet::from([at]),
            ..Self::default()
        }
    }

    /// Takes a moment; true when it is new.
    pub(super) fn add(&mut self, at: KtimeNs) -> bool {
        if (self.folded > 0 && at <= self.floor) || !self.seen.insert(at) {
            return false;
        }
        if self.seen.len() > MAX_MOMENTS
            && let Some(oldest) = self.seen.pop_first()
        {
            self.folded += 1;
            self.floor = oldest;
        }
        true
    }

    pub(super) fn count(&self) -> u64 {
        self.folded + self.seen.len() as u64
    }

    pub(super) fn last(&self) -> KtimeNs {
        self.seen.last().copied().unwrap_or(self.floor)
    }
}
