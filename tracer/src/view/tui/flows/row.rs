//! A flow with what orders and colours it.

use std::borrow::Cow;

use crate::{
    event::{Ifindex, KtimeNs, NetnsId},
    model::{Direction, Flow, FlowId, Outcome},
    view::{
        select,
        text::Tone,
        tui::{action::Picture, facts::Facts, number::smooth},
    },
};

/// How much trouble a flow is in, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::view::tui) enum Class {
    /// Packets end on this node.
    Lost,
    /// It left, and nothing came back.
    Unanswered,
    /// A finding is about it, some of its packets were lost, or answers take another way.
    Suspicious,
    /// What became of it is not known.
    Unknown,
    /// As it should be.
    Fine,
}

impl Class {
    /// Its mark, which says it without colour.
    pub(in crate::view::tui) fn mark(self, ascii: bool) -> &'static str {
        match (self, ascii) {
            (Self::Lost, false) => "✗",
            (Self::Lost, true) => "X",
            (Self::Unanswered, _) => "?",
            (Self::Suspicious, _) => "!",
            (Self::Unknown, false) => "·",
            (Self::Unknown, true) => "-",
            (Self::Fine, false) => "✓",
            (Self::Fine, true) => ".",
        }
    }

    pub(in crate::view::tui) fn tone(self) -> Tone {
        match self {
            Self::Lost | Self::Unanswered => Tone::Bad,
            Self::Suspicious => Tone::Warn,
            Self::Unknown => Tone::Dim,
            Self::Fine => Tone::Good,
        }
    }
}

/// A row of the flow table.
#[derive(Clone, Copy, Debug)]
pub(in crate::view::tui) struct Row {
    pub(super) facts: Facts,
    /// Number of the flow in its snapshot.
    pub(in crate::view::tui) source: u32,
    /// The filter asks for the direction of the answers.
    pub(super) turned: bool,
    pub(in crate::view::tui) class: Class,
    /// Packets per second, both directions.
    pub(in crate::view::tui) rate: f64,
    /// Packets dropped per second, and lookups that failed.
    pub(in crate::view::tui) drop_rate: f64,
}

impl Row {
    /// Of the flow with a number.
    pub(super) fn new(facts: &Facts, source: u32, turned: bool) -> Self {
        Self {
            class: facts.class(turned),
            facts: *facts,
            source,
            turned,
            rate: 0.0,
            drop_rate: 0.0,
        }
    }

    /// The flow as the snapshot has it. `picture` is the one that the row is of.
    pub(in crate::view::tui) fn source(self, picture: &Picture) -> &Flow {
        &picture.snapshot.flows[self.source as usize]
    }

    /// The flow in the direction that the filter asks for.
    pub(in crate::view::tui) fn shown(self, picture: &Picture) -> Cow<'_, Flow> {
        let flow = self.source(picture);
        if self.turned {
            Cow::Owned(select::reversed(flow))
        } else {
            Cow::Borrowed(flow)
        }
    }

    /// The flow as the snapshot has it, by which findings name it.
    pub(in crate::view::tui) fn id(&self) -> FlowId {
        self.facts.id
    }

    /// Number of the first finding about it.
    pub(in crate::view::tui) fn finding(&self) -> Option<usize> {
        (self.facts.finding != u32::MAX).then_some(self.facts.finding as usize)
    }

    /// Works out the rates from what it was `seconds` ago; a flow that was not there had nothing.
    pub(super) fn measure(&mut self, before: Option<&Self>, seconds: f64) {
        let (rate, drop_rate) = before.map_or((0.0, 0.0), |b| (b.rate, b.drop_rate));
        if seconds <= 0.0 {
            (self.rate, self.drop_rate) = (rate, drop_rate);
            return;
        }
        let (packets, drops) = before.map_or((0, 0), |b| (b.packets(), b.drops()));
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        self.rate = smooth(rate, since(self.packets(), packets), seconds);
        self.drop_rate = smooth(drop_rate, since(self.drops(), drops), seconds);
    }

    /// Packets of both directions.
    pub(super) fn packets(&self) -> u64 {
        self.facts.all_packets()
    }

    /// Packets dropped, both directions, and lookups that failed.
    pub(in crate::view::tui) fn drops(&self) -> u64 {
        self.facts.drops
    }

    /// Time of the last packet, drop or failed lookup.
    pub(in crate::view::tui) fn last(&self) -> KtimeNs {
        self.facts.last
    }

    /// Something for each direction, that which is shown first first.
    pub(super) fn ways<T: Copy>(&self, [forward, reply]: [T; 2]) -> [T; 2] {
        if self.turned {
            [reply, forward]
        } else {
            [forward, reply]
        }
    }
}

/// Time of the last packet, drop or failed lookup.
pub(in crate::view::tui) fn last(f: &Flow) -> KtimeNs {
    let ends = [&f.forward, &f.reply].into_iter().flat_map(|d| {
        let drops = d.drops.iter().map(|x| x.last);
        drops.chain([d.last])
    });
    ends.chain(f.route_failures.iter().map(|r| r.last))
        .max()
        .unwrap_or_default()
}

pub(in crate::view::tui) fn drops(f: &Flow) -> u64 {
    let of = |d: &Direction| d.drops.iter().map(|x| x.count).sum::<u64>();
    let failed: u64 = f.route_failures.iter().map(|r| r.count).sum();
    of(&f.forward) + of(&f.reply) + failed
}

/// What findings say of it aside. `ways` are the directions of the flow, that which is shown first
/// first.
pub(in crate::view::tui) fn class(ways: [&Direction; 2], f: &Flow, drops: u64) -> Class {
    let has = |is: fn(&Outcome) -> bool| ways.iter().any(|d| d.outcome.as_ref().is_some_and(is));
    if has(|o| matches!(o, Outcome::Dropped(_))) || !f.route_failures.is_empty() {
        Class::Lost
    } else if has(|o| matches!(o, Outcome::Unanswered(_))) {
        Class::Unanswered
    } else if drops > 0 || asymmetry(f).is_some() {
        Class::Suspicious
    } else if ways[1].packets == 0 && matches!(ways[0].outcome, None | Some(Outcome::Unknown(_))) {
        Class::Unknown
    } else {
        Class::Fine
    }
}

/// A device with its namespace.
pub(in crate::view::tui) type Place = (NetnsId, Ifindex);

/// Packets and answers that pass the node by different devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view::tui) enum Asymmetry {
    /// The packets left by the first device, the answers came in by the second.
    Left(Place, Place),
    /// The packets came in by the first device, the answers left by the second.
    Came(Place, Place),
}

/// The answers take a way that the packets did not pass.
pub(in crate::view::tui) fn asymmetry(f: &Flow) -> Option<Asymmetry> {
    let way = || f.forward.hops().map(|h| (h.netns, h.dev));
    let back = || f.reply.hops().map(|h| (h.netns, h.dev));
    way().nth(1)?;
    back().nth(1)?;
    let differ = |a: Place, b: Place| back().all(|p| p != a) && way().all(|p| p != b);
    let (left, came) = (way().next_back()?, back().next()?);
    if differ(left, came) {
        return Some(Asymmetry::Left(left, came));
    }
    let (came, left) = (way().next()?, back().next_back()?);
    differ(came, left).then_some(Asymmetry::Came(came, left))
}
