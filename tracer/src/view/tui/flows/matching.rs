//! Which flows match the filter. What was found out is kept: most of what changes about a flow is
//! no filter's business.

use std::sync::Arc;

use crate::{
    filter::{Filter, FlowFacts, Verdict},
    inventory::Inventory,
    view::{
        select,
        tui::{action::Picture, facts::Facts},
    },
};

/// So many flows further on a flow is looked for: the order changes little from one picture to the
/// next.
const WINDOW: usize = 8;

/// What a filter said of flows, by their shape, in the order of the snapshot.
#[derive(Debug, Default)]
pub(super) struct Matching {
    filter: Filter,
    inventory: Option<Arc<Inventory>>,
    said: Vec<(u64, Verdict)>,
}

/// One picture's flows are asked about, one after the other.
pub(super) struct Asking<'a> {
    picture: &'a Picture,
    filter: &'a Filter,
    all: bool,
    headers: bool,
    before: Vec<(u64, Verdict)>,
    place: usize,
    said: Vec<(u64, Verdict)>,
}

impl Matching {
    /// Begins a picture.
    pub(super) fn begin<'a>(&mut self, filter: &'a Filter, picture: &'a Picture) -> Asking<'a> {
        let named = self.inventory.as_ref();
        let same =
            *filter == self.filter && named.is_some_and(|i| Arc::ptr_eq(i, &picture.inventory));
        Asking {
            picture,
            filter,
            all: filter.is_all(),
            headers: filter.asks_headers_only(),
            before: if same {
                std::mem::take(&mut self.said)
            } else {
                Vec::new()
            },
            place: 0,
            said: Vec::new(),
        }
    }
}

impl Asking<'_> {
    /// In which direction the `source`th flow matches.
    pub(super) fn verdict(&mut self, source: u32, facts: &Facts) -> Verdict {
        if self.all {
            return Verdict::Forward;
        }
        let inventory = &self.picture.inventory;
        if self.headers && facts.plain {
            let known = FlowFacts::new(&facts.id.tuple);
            return self.filter.matches_flow(&known, inventory);
        }
        let flow = || &self.picture.snapshot.flows[source as usize];
        let verdict = self
            .known(facts.shape)
            .unwrap_or_else(|| select::verdict(self.filter, inventory, flow()));
        self.said.push((facts.shape, verdict));
        verdict
    }

    fn known(&mut self, shape: u64) -> Option<Verdict> {
        let near = self.before.get(self.place..)?.iter().take(WINDOW);
        let at = near.clone().position(|(s, _)| *s == shape)?;
        self.place += at + 1;
        Some(self.before[self.place - 1].1)
    }

    /// Keeps what was said.
    pub(super) fn end(self) -> Matching {
        Matching {
            filter: self.filter.clone(),
            inventory: Some(self.picture.inventory.clone()),
            said: self.said,
        }
    }
}
