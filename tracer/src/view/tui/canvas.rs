//! Where panes write: everything that reaches the screen goes through [`Canvas::put`].

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    safe::{columns, head, safe},
    theme::Theme,
};
use crate::view::text::{Tone, Word};

/// A row of text.
pub(super) type Line = Vec<Word>;

/// A word of a line.
pub(super) fn word(tone: Tone, text: impl Into<String>) -> Word {
    Word::new(tone, text)
}

/// The screen while it is drawn.
pub(super) struct Canvas<'b> {
    pub(super) buffer: &'b mut Buffer,
    pub(super) theme: Theme,
}

impl Canvas<'_> {
    /// Writes words one after the other, cut at `width`, and returns the columns used. Cells
    /// outside of the screen are left out.
    pub(super) fn put(&mut self, (x, y): (u16, u16), width: u16, line: &[Word]) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() {
            return 0;
        }
        let width = usize::from(width.min(area.right() - x));
        let ascii = self.theme.ascii;
        let texts: Vec<_> = line
            .iter()
            .map(|w| (w.tone, safe(&w.text, ascii)))
            .collect();
        let total: usize = texts.iter().map(|(_, t)| columns(t)).sum();
        let more = if total > width { self.theme.more() } else { "" };
        let room = width.saturating_sub(columns(more));
        let mut used = 0;
        for (tone, text) in &texts {
            let shown = head(text, room - used);
            let style = self.theme.tone(*tone);
            self.buffer
                .set_stringn(x + used as u16, y, shown, room - used, style);
            used += columns(shown);
            if shown.len() < text.len() {
                self.buffer
                    .set_stringn(x + used as u16, y, more, width - used, style);
                return (used + columns(more)).min(width) as u16;
            }
        }
        used as u16
    }

    /// Writes at the right end of `width` columns.
    pub(super) fn put_right(&mut self, (x, y): (u16, u16), width: u16, word: &Word) {
        let have = columns(&safe(&word.text, self.theme.ascii)) as u16;
        let pad = width.saturating_sub(have);
        self.put((x + pad, y), width - pad, std::slice::from_ref(word));
    }

    /// Marks a row as selected.
    pub(super) fn select(&mut self, row: Rect) {
        self.buffer
            .set_style(row, Style::new().add_modifier(Modifier::REVERSED));
    }

    /// A horizontal line with a title in it.
    pub(super) fn rule(&mut self, row: Rect, title: &[Word]) {
        let dim = self.theme.tone(Tone::Dim);
        for x in row.left()..row.right() {
            self.buffer.set_stringn(x, row.y, self.theme.line(), 1, dim);
        }
        if !title.is_empty() {
            let mut line = vec![word(Tone::Plain, " ")];
            line.extend(title.iter().cloned());
            line.push(word(Tone::Plain, " "));
            self.put((row.x + 1, row.y), row.width.saturating_sub(2), &line);
        }
    }

    /// Lines from the top of an area, from `skip` on. Returns whether all were shown.
    pub(super) fn lines(&mut self, area: Rect, lines: &[Line], skip: usize) -> bool {
        let shown = lines.iter().skip(skip).take(usize::from(area.height));
        for (y, line) in (area.y..).zip(shown) {
            self.put((area.x, y), area.width, line);
        }
        lines.len() <= skip + usize::from(area.height)
    }
}

/// Breaks words at blanks into lines of `width` columns; lines after the first are indented.
pub(super) fn wrap(words: &[Word], width: usize, indent: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![Vec::new()];
    let mut used = 0;
    for w in words {
        let text = safe(&w.text, false);
        for (i, part) in text.split(' ').enumerate() {
            let mut part = part;
            let gap = usize::from(i > 0);
            if used > indent && used + gap + columns(part) > width {
                used = fresh(&mut lines, indent);
            } else if gap > 0 && (used > indent || lines.len() == 1) {
                push(&mut lines, w.tone, " ");
                used += 1;
            }
            // longer than a line: an address in a narrow terminal
            while used + columns(part) > width && width > indent + 1 {
                let begin = head(part, width - used);
                if begin.is_empty() {
                    break;
                }
                push(&mut lines, w.tone, begin);
                part = &part[begin.len()..];
                used = fresh(&mut lines, indent);
            }
            push(&mut lines, w.tone, part);
            used += columns(part);
        }
    }
    lines
}

fn fresh(lines: &mut Vec<Line>, indent: usize) -> usize {
    lines.push(vec![word(Tone::Plain, " ".repeat(indent))]);
    indent
}

fn push(lines: &mut [Line], tone: Tone, text: &str) {
    let Some(line) = lines.last_mut() else { return };
    match line.last_mut() {
        Some(last) if last.tone == tone => last.text.push_str(text),
        _ => line.push(word(tone, text)),
    }
}
