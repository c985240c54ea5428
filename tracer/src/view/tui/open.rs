//! Opening, closing and handing out: what Enter, Esc, the mouse, `y` and `x` do.

use super::{
    action::{Action, Effect, Export},
    flows::{By, Row},
    pane::Pane,
    panes::{flows, header},
    state::{Over, State},
};
use crate::{event::KtimeNs, filter::Filter};

impl State {
    pub(super) fn open(&mut self) {
        if self.over.is_some() {
            return;
        }
        match self.pane {
            Pane::Flows if self.flows.grouped() => {
                self.flows.inside = self.flows.selected_group().map(|g| g.key.clone());
                self.arrange();
            }
            Pane::Flows if self.flows.selected().is_some() => self.over = Some(Over::Details(0)),
            Pane::Findings => self.flows_of_finding(),
            _ => {}
        }
    }

    /// Shows the flows that the selected finding is about.
    fn flows_of_finding(&mut self) {
        let at = self.findings.cursor.at();
        let finding = self.picture.as_ref().and_then(|p| p.findings.get(at));
        let Some(f) = finding.filter(|f| !f.subject.flows.is_empty()) else {
            return;
        };
        self.flows.only = Some((f.id.to_owned(), f.subject.flows.clone()));
        (self.flows.by, self.flows.inside) = (By::Flow, None);
        self.flows.top();
        self.pane = Pane::Flows;
        self.arrange();
    }

    /// Shows what matches.
    pub(super) fn narrow(&mut self, text: &str) {
        match Filter::parse(text) {
            Ok(filter) => {
                self.filter = filter;
                text.trim().clone_into(&mut self.filter_text);
                self.recount();
            }
            Err(e) => self.message = Some((e.message().to_owned(), true)),
        }
    }

    /// Closes what is open; then takes back, one after the other, what narrows the view.
    pub(super) fn back(&mut self) {
        if self.over.take().is_some() {
            return;
        }
        let f = &mut self.flows;
        if f.inside.take().is_some() || f.only.take().is_some() {
            return self.arrange();
        }
        if f.by != By::Flow || f.only_trouble {
            (f.by, f.only_trouble) = (By::Flow, false);
            return self.arrange();
        }
        if !self.filter.is_all() || self.cleared > KtimeNs::default() {
            (self.filter, self.cleared) = (Filter::all(), KtimeNs::default());
            self.filter_text.clear();
            return self.recount();
        }
        if self.pane != Pane::Flows {
            return self.go(Pane::Flows);
        }
        if self.paused {
            self.pause();
        }
    }

    pub(super) fn copy(&mut self) -> Vec<Effect> {
        let finding = self.picture.as_ref().and_then(|p| {
            let at = if self.pane == Pane::Findings {
                self.findings.cursor.at()
            } else {
                self.flows.selected().and_then(Row::finding).unwrap_or(0)
            };
            p.findings.get(at)
        });
        let next = finding.map(|f| f.next.clone()).filter(|n| !n.is_empty());
        let said = next.as_ref().map_or_else(
            || "there is no next step to copy".to_owned(),
            |n| format!("copied: {n}"),
        );
        self.message = Some((said, next.is_none()));
        next.map(Effect::Copy).into_iter().collect()
    }

    pub(super) fn export(&self) -> Vec<Effect> {
        let export = self.whole().cloned().map(|picture| {
            Effect::Export(Export {
                picture,
                filter: self.filter_text.clone(),
            })
        });
        export.into_iter().collect()
    }

    /// What a click means.
    pub(super) fn click(&mut self, x: u16, y: u16) -> Option<Action> {
        let a = self.areas();
        if y == a.tabs.y && a.tabs.height > 0 {
            let tabs = header::placed(self, self.size.0);
            let hit = tabs
                .into_iter()
                .find(|(_, from, w)| (*from..from + w).contains(&x));
            return hit.map(|(pane, ..)| Action::Go(pane));
        }
        if self.over.is_some() {
            return None;
        }
        if y == a.head.y && a.head.height > 0 && self.pane == Pane::Flows && !self.flows.grouped() {
            let columns = flows::columns(self, self.picture.as_ref()?);
            let hit = columns.iter().find(|c| (c.x..=c.x + c.width).contains(&x));
            return hit.map(|c| Action::SortBy(c.column));
        }
        if !(a.list.y..a.list.bottom()).contains(&y) {
            return None;
        }
        let row = usize::from(y - a.list.y);
        match self.grid() {
            None => self.flows.go(self.flows.offset() + row),
            Some(grid) => grid.go(grid.cursor.offset() + row),
        }
        None
    }
}
