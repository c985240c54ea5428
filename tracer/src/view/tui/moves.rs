//! Moving through what is shown, and in which order it stands: what arrows, `s`, `r` and `b` do.

use super::{
    columns::{Column, place},
    pane::Pane,
    state::{Over, State},
};

impl State {
    pub(super) fn page(&mut self, by: isize) {
        let rows = isize::try_from(self.areas().list.height).unwrap_or(1);
        self.step(by * (rows.max(2) - 1));
    }

    pub(super) fn step(&mut self, by: isize) {
        if let Some(Over::Help(at) | Over::Details(at)) = &mut self.over {
            *at = at.saturating_add_signed(by).min(1 << 20);
            return;
        }
        let to = |at: usize| at.saturating_add_signed(by);
        match self.grid() {
            None if by == isize::MIN => self.flows.top(),
            None => self.flows.go(to(self.flows.at())),
            Some(grid) if by == isize::MIN => grid.cursor.top(),
            Some(grid) => grid.go(to(grid.cursor.at())),
        }
    }

    pub(super) fn sort(&mut self) {
        let shown = place(self.size.0, 0);
        let at = shown.iter().position(|c| c.column == self.flows.sort);
        let next = at.map_or(0, |i| (i + 1) % shown.len());
        let column = shown.get(next).map_or(Column::Mark, |c| c.column);
        self.flows.reverse = false;
        self.flows.sort = column;
        self.message = Some((format!("sorted by: {}", column.order()), false));
        self.flows.top();
        self.arrange();
    }

    pub(super) fn sort_by(&mut self, column: Column) {
        if self.flows.sort == column {
            self.flows.reverse = !self.flows.reverse;
        } else {
            (self.flows.sort, self.flows.reverse) = (column, false);
        }
        self.arrange();
    }

    pub(super) fn group(&mut self) {
        self.flows.by = self.flows.by.next();
        (self.flows.inside, self.flows.only) = (None, None);
        self.pane = Pane::Flows;
        self.over = None;
        self.arrange();
        self.flows.top();
    }
}
