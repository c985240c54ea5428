//! A plain table: the panes of drops, devices and routes.

use ratatui::layout::Rect;

use super::{
    canvas::{Canvas, word},
    cursor::Cursor,
    safe::{cut_middle, safe},
};
use crate::view::text::{Tone, Word};

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) title: &'static str,
    /// Columns; for flexible ones the least.
    pub(super) width: u16,
    /// Share of what is left.
    pub(super) flex: u16,
    /// Width of the terminal from which on it is shown.
    pub(super) from: u16,
    /// It stands at the right.
    right: bool,
    /// What does not fit is left out in the middle: the end says most.
    middle: bool,
}

/// A column of numbers.
pub(super) const fn number(title: &'static str, width: u16, from: u16) -> Head {
    Head {
        title,
        width,
        flex: 0,
        from,
        right: true,
        middle: false,
    }
}

/// A column of text that takes its share of what is left, none with `flex` 0.
pub(super) const fn text(title: &'static str, width: u16, flex: u16, from: u16) -> Head {
    Head {
        title,
        width,
        flex,
        from,
        right: false,
        middle: false,
    }
}

/// A column of names that is always shown.
pub(super) const fn names(title: &'static str, width: u16, flex: u16) -> Head {
    Head {
        middle: true,
        ..text(title, width, flex, 0)
    }
}

/// A row; the key says which one it is when rows change.
#[derive(Clone, Debug)]
pub(super) struct GridRow {
    pub(super) key: String,
    pub(super) cells: Vec<Word>,
}

/// Rows with a selection.
#[derive(Debug, Default)]
pub(super) struct Grid {
    pub(super) rows: Vec<GridRow>,
    pub(super) cursor: Cursor<String>,
    pub(super) height: usize,
}

impl Grid {
    pub(super) fn set(&mut self, rows: Vec<GridRow>) {
        self.rows = rows;
        self.follow();
    }

    pub(super) fn follow(&mut self) {
        let rows = &self.rows;
        self.cursor
            .follow(rows.len(), self.height, |i| rows[i].key.clone());
    }

    pub(super) fn go(&mut self, at: usize) {
        let rows = &self.rows;
        self.cursor
            .go(at, rows.len(), self.height, |i| rows[i].key.clone());
    }

    /// Draws headings and rows; `empty` is said when there are none.
    pub(super) fn draw(
        &self,
        canvas: &mut Canvas<'_>,
        heads: &[Head],
        areas: (Rect, Rect),
        empty: &str,
    ) {
        let (head, list) = areas;
        let placed = place(heads, head.width);
        for (i, x, width) in &placed {
            let title = word(Tone::Dim, heads[*i].title);
            if heads[*i].right {
                canvas.put_right((head.x + x, head.y), *width, &title);
            } else {
                canvas.put((head.x + x, head.y), *width, &[title]);
            }
        }
        if self.rows.is_empty() {
            canvas.put(
                (list.x + 2, list.y + 1),
                list.width.saturating_sub(2),
                &[word(Tone::Dim, empty)],
            );
        }
        let offset = self.cursor.offset();
        let shown = self.rows.iter().enumerate().skip(offset);
        for (y, (number, row)) in (list.y..list.bottom()).zip(shown) {
            for (i, x, width) in &placed {
                let Some(cell) = row.cells.get(*i) else {
                    continue;
                };
                if heads[*i].right {
                    canvas.put_right((list.x + x, y), *width, cell);
                } else if heads[*i].middle {
                    let name = safe(&cell.text, canvas.theme.ascii);
                    let name = cut_middle(&name, usize::from(*width), canvas.theme.more());
                    canvas.put((list.x + x, y), *width, &[word(cell.tone, name)]);
                } else {
                    canvas.put((list.x + x, y), *width, std::slice::from_ref(cell));
                }
            }
            if number == self.cursor.at() {
                canvas.select(Rect::new(list.x, y, list.width, 1));
            }
        }
    }
}

/// Number, place and width of the columns that fit.
fn place(heads: &[Head], width: u16) -> Vec<(usize, u16, u16)> {
    let shown: Vec<(usize, &Head)> = heads
        .iter()
        .enumerate()
        .filter(|(_, h)| width >= h.from)
        .collect();
    let fixed: u16 = shown.iter().map(|(_, h)| h.width).sum();
    let gaps = shown.len().saturating_sub(1) as u16;
    let mut free = width.saturating_sub(fixed + gaps);
    let mut shares: u16 = shown.iter().map(|(_, h)| h.flex).sum();
    let mut x = 0;
    let mut placed = Vec::new();
    for (i, head) in shown {
        let more = u32::from(free) * u32::from(head.flex);
        let more = more.checked_div(u32::from(shares)).unwrap_or(0) as u16;
        free -= more;
        shares -= head.flex;
        let here = (head.width + more).min(width.saturating_sub(x));
        placed.push((i, x, here));
        x += here + 1;
    }
    placed
}
