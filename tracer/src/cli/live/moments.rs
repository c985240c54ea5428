//! The moments of a recording: those up to which it is complete, and at which of them packets were
//! dropped.

use std::{collections::HashMap, ops::ControlFlow};

use crate::{
    event::{Body, DropPlace, KtimeNs, Tuple},
    pipeline::{PipelineEvent, Replayed},
    view::flow_name,
};

/// One of them.
#[derive(Debug)]
struct Moment {
    at: KtimeNs,
    /// The first drop since the moment before, in words.
    dropped: Option<String>,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Moments {
    all: Vec<Moment>,
    /// Packets dropped so far, by flow and place: totals are told again and again.
    dropped: HashMap<(Option<Tuple>, DropPlace), u64>,
    /// Since the last moment.
    first: Option<String>,
    tick: Option<KtimeNs>,
}

impl Moments {
    /// Takes in what the file tells.
    pub(super) fn take(&mut self, told: &Replayed<'_>) -> ControlFlow<()> {
        match told {
            Replayed::Session(PipelineEvent::Event(event)) => self.event(&event.body),
            Replayed::Tick(tick) => self.tick = Some(tick.at),
            Replayed::Session(_) | Replayed::Packet(_) => {}
        }
        ControlFlow::Continue(())
    }

    /// What was told last is one.
    pub(super) fn is_one(told: &Replayed<'_>) -> bool {
        matches!(told, Replayed::Tick(_))
    }

    /// A block was read: it is a moment when a tick was in it.
    pub(super) fn read(&mut self) {
        if let Some(at) = self.tick.take() {
            let dropped = self.first.take();
            self.all.push(Moment { at, dropped });
        }
    }

    /// The file ends here: what came behind the last tick belongs to the end.
    pub(super) fn end(&mut self, at: KtimeNs) {
        self.tick = self.tick.or_else(|| self.first.as_ref().map(|_| at));
        self.read();
        self.dropped = HashMap::new();
    }

    fn event(&mut self, body: &Body) {
        let text = match body {
            Body::Drop(d) if d.loss => {
                let known = self.dropped.entry((d.tuple, d.place.clone())).or_default();
                if d.count <= *known {
                    return;
                }
                *known = d.count;
                let flow = d.tuple.as_ref().map_or("a packet".to_owned(), flow_name);
                format!("{} {flow}", d.place.reason)
            }
            Body::RouteFailure(f) => format!("no route for {}", flow_name(&f.tuple)),
            _ => return,
        };
        self.first.get_or_insert(text);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Time of the `n`th, from 1.
    pub(super) fn time(&self, n: usize) -> u64 {
        n.checked_sub(1)
            .and_then(|i| self.all.get(i))
            .map_or(0, |m| m.at.0)
    }

    /// Time of the one after the `n`th.
    pub(super) fn after(&self, n: usize) -> u64 {
        self.all.get(n).map_or(0, |m| m.at.0)
    }

    /// Time of the last one.
    pub(super) fn last(&self) -> KtimeNs {
        self.all.last().map_or(KtimeNs::default(), |m| m.at)
    }

    /// The next moment with a drop behind the `n`th (or before it), and the drop in words. Behind
    /// the last comes the first again.
    pub(super) fn drop_from(&self, n: usize, forward: bool) -> Option<(usize, String)> {
        let drops = || {
            let numbered = (1..).zip(&self.all);
            numbered.filter_map(|(i, m)| Some((i, m.dropped.clone()?)))
        };
        if forward {
            drops().find(|(i, _)| *i > n).or_else(|| drops().next())
        } else {
            let before = drops().take_while(|(i, _)| *i < n).last();
            before.or_else(|| drops().last())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(dropped: &[bool]) -> Moments {
        let mut moments = Moments::default();
        for (i, dropped) in (1_u64..).zip(dropped) {
            moments.first = dropped.then(|| format!("drop {i}"));
            moments.tick = Some(KtimeNs(i * 1000));
            moments.read();
        }
        moments
    }

    #[test]
    fn the_next_drop_and_the_one_before_come_round() {
        let m = moments(&[false, true, false, true, false]);
        let at = |n, forward| m.drop_from(n, forward).map(|(i, _)| i);
        assert_eq!(
            (at(1, true), at(2, true), at(4, true)),
            (Some(2), Some(4), Some(2))
        );
        assert_eq!(
            (at(5, false), at(4, false), at(2, false)),
            (Some(4), Some(2), Some(4))
        );
        assert_eq!(m.drop_from(0, true).unwrap().1, "drop 2");
        assert_eq!(moments(&[false]).drop_from(1, true), None);
    }

    #[test]
    fn times_are_those_of_the_moments() {
        let m = moments(&[false, false]);
        assert_eq!((m.len(), m.last()), (2, KtimeNs(2000)));
        assert_eq!(
            (m.time(0), m.time(1), m.after(1), m.after(2)),
            (0, 1000, 2000, 0)
        );
    }
}
