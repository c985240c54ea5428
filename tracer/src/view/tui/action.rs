//! What can be asked of the interface, and what it asks of whoever runs it.

use std::sync::Arc;

use super::{
    facts::Facts,
    kinds::Kinds,
    pane::Pane,
    replay::{Position, Seek},
    sums::Sums,
};
use crate::{
    diagnose::{Finding, Intent},
    inventory::{Attached, Inventory},
    model::Snapshot,
    view::Limit,
};

/// Everything known at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The node's configuration.
    pub inventory: Arc<Inventory>,
    /// Flows, drops, losses.
    pub snapshot: Arc<Snapshot>,
    /// What is wrong, the worst first.
    pub findings: Arc<[Finding]>,
    /// What this kernel does not let us see.
    pub limits: Arc<[Limit]>,
    /// What the network is meant to do.
    pub intent: Arc<Intent>,
    /// Where tracer is attached; `None` when this is a recording.
    pub attached: Option<Arc<Attached>>,
    /// Of the snapshot's flows, in its order.
    pub(super) facts: Arc<[Facts]>,
    pub(super) kinds: Arc<Kinds>,
    /// Over all flows.
    pub(super) sums: Arc<Sums>,
}

impl Picture {
    /// With very many flows this takes a while: it is not for where keys are answered.
    pub fn new(
        inventory: Arc<Inventory>,
        snapshot: Arc<Snapshot>,
        findings: Arc<[Finding]>,
        limits: Arc<[Limit]>,
    ) -> Self {
        let (facts, kinds) = Facts::of(&snapshot, &findings, &inventory, None);
        Self {
            sums: Arc::new(kinds.sum(&facts, 0..facts.len() as u32)),
            facts,
            kinds: Arc::new(kinds),
            inventory,
            snapshot,
            findings,
            limits,
            intent: Arc::default(),
            attached: None,
        }
    }

    /// The next one of the same node.
    #[must_use]
    pub fn next(&self, snapshot: Arc<Snapshot>, findings: Arc<[Finding]>) -> Self {
        let before = (&*self.facts, &*self.kinds);
        let (facts, kinds) = Facts::of(&snapshot, &findings, &self.inventory, Some(before));
        Self {
            sums: Arc::new(kinds.sum(&facts, 0..facts.len() as u32)),
            facts,
            kinds: Arc::new(kinds),
            snapshot,
            findings,
            ..self.clone()
        }
    }

    /// The same, with what the network is meant to do.
    #[must_use]
    pub fn meant(self, intent: Arc<Intent>) -> Self {
        Self { intent, ..self }
    }
}

/// A change of the state.
#[derive(Clone, Debug)]
pub enum Action {
    /// A new picture came.
    Picture(Picture),
    /// Something to tell in the last line; true for bad news.
    Say(String, bool),
    /// The size of the terminal.
    Resize(u16, u16),
    /// Move the selection by rows.
    Move(isize),
    /// Move the selection by pages.
    Page(isize),
    /// First row.
    Top,
    /// Last row.
    Bottom,
    /// The pane after this one, or before it.
    Cycle(bool),
    /// A pane.
    Go(Pane),
    /// Open what is selected.
    Open,
    /// Close what is open, take back what narrows the view.
    Back,
    /// Type a filter.
    Filter,
    /// Sort by the next column.
    Sort,
    /// Sort by this column, or reverse when that is so already.
    SortBy(super::columns::Column),
    /// The other way round.
    Reverse,
    /// Group by the next key.
    Group,
    /// Only flows in trouble, or all.
    OnlyTrouble,
    /// Stop or go on.
    Pause,
    /// Hide what has not been seen since now.
    Clear,
    /// Write everything to a file.
    Export,
    /// Start to record into a file, or stop.
    Record,
    /// The file that is being written with its bytes so far; `None` when there is none any more.
    Recording(Option<(String, u64)>),
    /// Move through the time of a recording.
    Replay(Seek),
    /// Where in a recording the next picture is.
    At(Position),
    /// Show what matches this filter only; text that makes no sense is told.
    Narrow(String),
    /// Copy the command of the next step.
    Copy,
    /// Show the keys.
    Help,
    /// Draw everything again.
    Redraw,
    /// Stop as `^Z` does.
    Suspend,
    /// End.
    Quit,
}

/// Something that only the outside can do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Put this into the clipboard.
    Copy(String),
    /// Write what is shown to a file, as JSON.
    Export(Export),
    /// Start to record what matches this filter (empty for all that is traced), or stop.
    Record(String),
    /// Move through the time of a recording.
    Replay(Seek),
    /// Draw everything again.
    Redraw,
    /// Restore the terminal and stop.
    Suspend,
    /// Restore the terminal and end.
    Quit,
}

/// What to write to a file.
#[derive(Clone, Debug)]
pub struct Export {
    /// The picture.
    pub picture: Picture,
    /// The filter that applies to it, as text; empty for none.
    pub filter: String,
}
