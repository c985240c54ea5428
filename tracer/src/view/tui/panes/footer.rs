//! The last line: a message, a filter that is typed, or the keys.

use ratatui::layout::Rect;

use crate::view::{
    text::{Tone, Word},
    tui::{
        canvas::{Canvas, Line, word, wrap},
        input::Key,
        keys::{self, Binding},
        prompt::Prompt,
        safe::{columns, safe},
        state::State,
    },
};

/// Rows that a message may take.
const MESSAGE_ROWS: usize = 3;

pub(in crate::view::tui) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    if area.height == 0 {
        return;
    }
    if let Some((message, bad)) = &state.message {
        let tone = if *bad { Tone::Bad } else { Tone::Strong };
        return say(canvas, area, &word(tone, format!(" {message}")));
    }
    let mut line: Line = Vec::new();
    let (mut used, mut full) = (0, false);
    let shown = || keys::shown(state.setup.replay.is_some()).filter(|b| !b.short.is_empty());
    let width = |b: &Binding| columns(&format!(" {} {} ", b.keys[0], b.short));
    // whoever finds nothing else finds the help, and the way out
    let needed = |b: &Binding| b.keys.contains(&Key::Char('?')) || b.keys.contains(&Key::Char('q'));
    let mut reserved: usize = shown().filter(|b| needed(b)).map(width).sum();
    for b in shown() {
        reserved -= if needed(b) { width(b) } else { 0 };
        full |= used + width(b) + reserved > usize::from(area.width);
        if full && !needed(b) {
            continue;
        }
        used += width(b);
        line.push(word(Tone::Strong, format!(" {}", b.keys[0])));
        line.push(word(Tone::Dim, format!(" {} ", b.short)));
    }
    canvas.put((area.x, area.y), area.width, &line);
}

/// A message, upwards from the last row when it needs several: an error is read to its end, and a
/// file has its whole name.
fn say(canvas: &mut Canvas<'_>, area: Rect, message: &Word) {
    let mut lines = wrap(std::slice::from_ref(message), area.width.into(), 1);
    let rows = MESSAGE_ROWS.min(usize::from(area.y) + 1);
    if lines.len() > rows {
        let rest: Line = lines.drain(rows - 1..).flatten().collect();
        lines.push(rest);
    }
    let blank = word(Tone::Plain, " ".repeat(area.width.into()));
    for (y, line) in (0..=area.y).rev().zip(lines.iter().rev()) {
        canvas.put((area.x, y), area.width, std::slice::from_ref(&blank));
        canvas.put((area.x, y), area.width, line);
    }
}

/// The filter line with what is wrong above it. Returns where the cursor stands.
pub(in crate::view::tui) fn prompt(
    canvas: &mut Canvas<'_>,
    area: Rect,
    prompt: &Prompt,
) -> (u16, u16) {
    let text = prompt.text();
    let before: String = text.chars().take(prompt.cursor()).collect();
    let at = columns(&safe(&before, canvas.theme.ascii));
    // the cursor stays in sight
    let skip = (at + 2).saturating_sub(usize::from(area.width));
    let shown = safe(&text, canvas.theme.ascii);
    let shown: String = shown.chars().skip(skip).collect();
    let blank = word(Tone::Plain, " ".repeat(area.width.into()));
    canvas.put((area.x, area.y), area.width, std::slice::from_ref(&blank));
    canvas.put(
        (area.x, area.y),
        area.width,
        &[word(Tone::Strong, "/"), word(Tone::Plain, shown)],
    );
    if let Some(error) = prompt.error()
        && area.y > 0
    {
        let head: String = text.chars().take(prompt.error_at()).collect();
        let column = 1 + columns(&safe(&head, canvas.theme.ascii)).saturating_sub(skip);
        let mut message = error.message().to_owned();
        if let Some(hint) = error.hint() {
            message = format!("{message} (hint: {hint})");
        }
        // below the mistake there is no row: the caret points down at it
        let width = usize::from(area.width);
        let down = if canvas.theme.ascii { "v" } else { "▼" };
        let caret = format!("{}{down}", " ".repeat(column.min(width.saturating_sub(1))));
        let fits = columns(&safe(&message, canvas.theme.ascii)) + column + 2 <= width;
        let rows = match (fits, area.y) {
            (true, _) => vec![format!("{caret} {message}")],
            (false, 1) => vec![message],
            // what does not fit behind the caret stands above it
            (false, _) => vec![caret, format!(" {message}")],
        };
        for (y, row) in (1..).zip(rows) {
            canvas.put(
                (area.x, area.y - y),
                area.width,
                std::slice::from_ref(&blank),
            );
            canvas.put((area.x, area.y - y), area.width, &[word(Tone::Bad, row)]);
        }
    }
    (
        (area.x as usize + 1 + at - skip.min(at)).min(usize::from(area.width) - 1) as u16,
        area.y,
    )
}
