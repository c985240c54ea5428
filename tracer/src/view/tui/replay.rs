//! Time in a recording: where the view stands in it, and how it moves.

use super::{action::Effect, state::State};
use crate::event::KtimeNs;

/// A way to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// Play, or pause.
    Toggle,
    /// A moment forward (true) or back.
    Step(bool),
    /// The next moment at which packets were dropped (true), or the one before.
    Drop(bool),
    /// Twice as fast (true), or half.
    Faster(bool),
    /// The first moment (false) or the last.
    End(bool),
}

/// Where a recording stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Time at this place.
    pub at: KtimeNs,
    /// Of its last moment.
    pub end: KtimeNs,
    /// It goes on by itself.
    pub playing: bool,
    /// How many times faster than it was.
    pub speed: u32,
}

impl State {
    /// What the outside has to do for it.
    pub(super) fn seek(&self, seek: Seek) -> Vec<Effect> {
        match self.setup.replay {
            Some(_) => vec![Effect::Replay(seek)],
            None => Vec::new(),
        }
    }

    /// Asks for a recording of what is shown, or for its end.
    pub(super) fn record(&mut self) -> Vec<Effect> {
        vec![Effect::Record(self.filter_text.clone())]
    }

    /// Time went back: what is known from later is forgotten.
    pub(super) fn rewind(&mut self) {
        self.history.clear();
        self.cleared = KtimeNs::default();
        self.flows.rewind();
        self.drops.rewind();
        self.devices.rewind();
    }
}
