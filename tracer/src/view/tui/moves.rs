//! Moving through what is shown, and in which order it stands: what arrows, `s`, `r` and `b` do.

use super::{
    columns::Column,
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
        // those that have no room as well: the order shows
        let at = Column::ALL.iter().position(|c| *c == self.flows.sort);
        let next = at.map_or(0, |i| (i + 1) % Column::ALL.len());
        let column = Column::ALL[next];
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
