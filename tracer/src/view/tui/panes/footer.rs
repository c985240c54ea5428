//! The last line: a message, a filter that is typed, or the keys.

use ratatui::layout::Rect;

use crate::view::{
    text::Tone,
    tui::{
        canvas::{Canvas, Line, word},
        input::Key,
        keys::{self, Binding},
        prompt::Prompt,
        safe::{columns, safe},
        state::State,
    },
};

pub(in crate::view::tui) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    if area.height == 0 {
        return;
    }
    if let Some((message, bad)) = &state.message {
        let tone = if *bad { Tone::Bad } else { Tone::Strong };
        canvas.put(
            (area.x, area.y),
            area.width,
            &[word(tone, format!(" {message}"))],
        );
        return;
    }
    let mut line: Line = Vec::new();
    let (mut used, mut full) = (0, false);
    let shown = || keys::shown(state.setup.replay.is_some()).filter(|b| !b.short.is_empty());
    let width = |b: &Binding| columns(&format!(" {} {} ", b.keys[0], b.short));
    // whoever finds nothing else finds the help
    let is_help = |b: &Binding| b.keys.contains(&Key::Char('?'));
    let mut reserved: usize = shown().filter(|b| is_help(b)).map(width).sum();
    for b in shown() {
        reserved -= if is_help(b) { width(b) } else { 0 };
        full |= used + width(b) + reserved > usize::from(area.width);
        if full && !is_help(b) {
            continue;
        }
        used += width(b);
        line.push(word(Tone::Strong, format!(" {}", b.keys[0])));
        line.push(word(Tone::Dim, format!(" {} ", b.short)));
    }
    canvas.put((area.x, area.y), area.width, &line);
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
