//! Where this is, what is going on, and what tracer itself lost.

use ratatui::layout::Rect;

use crate::event::KtimeNs;
use crate::view::{
    text::{Tone, Word, count},
    tui::{
        action::Picture,
        canvas::{Canvas, word},
        columns::{Column, place},
        number::{elapsed, rate, short, size},
        pane::Pane,
        safe::{columns, cut_middle, safe},
        state::State,
        theme::Theme,
    },
};

/// The first rows.
pub(in crate::view::tui) fn draw(canvas: &mut Canvas<'_>, area: Rect, state: &State, p: &Picture) {
    if area.height == 0 {
        return;
    }
    let mut left = vec![
        word(Tone::Strong, " tracer"),
        word(Tone::Strong, format!("  {}", p.inventory.node)),
    ];
    let kernel = word(Tone::Plain, format!("  Linux {}", p.inventory.kernel));
    if let Some(file) = &state.setup.replay {
        left.push(word(Tone::Plain, format!("  {file}")));
        left.extend((area.width >= 120).then_some(kernel));
    } else {
        left.extend((area.width >= 60).then_some(kernel));
        let home = word(Tone::Dim, format!("  {}", p.inventory.home));
        left.extend((area.width >= 100).then_some(home));
    }
    if !state.setup.filter.is_empty() {
        left.push(word(Tone::Plain, format!("  only {}", state.setup.filter)));
    }
    let right = mode(state, p, area, canvas.theme);
    let width = right.iter().map(|w| columns(&w.text)).sum::<usize>() as u16 + 1;
    canvas.put(
        (area.x, area.y),
        area.width.saturating_sub(width + 1),
        &left,
    );
    let from = area.width.saturating_sub(width);
    canvas.put((area.x + from, area.y), width, &right);
    if area.height > 1 {
        numbers(canvas, area, state, p);
    }
}

fn mode(state: &State, p: &Picture, area: Rect, theme: Theme) -> Vec<Word> {
    let mut time = elapsed(p.snapshot.at.since(p.snapshot.started));
    if area.width >= 120 {
        let clock = state.setup.clock.time_of_day(p.snapshot.at);
        time = format!("{} {time}", clock.get(..8).unwrap_or(&clock));
    }
    if state.setup.replay.is_some() {
        return vec![word(Tone::Plain, replay(state, p, area.width, theme))];
    }
    let mode = if state.paused {
        word(Tone::Warn, format!("PAUSED {time}"))
    } else {
        word(Tone::Good, format!("LIVE {time}"))
    };
    // where there is no room for the file below it
    let room =
        usize::from(area.width).saturating_sub(line_columns(&figures(state, p, area, theme)));
    let rec = state.recording.is_some() && (area.height < 2 || room < RECORDING);
    let starting = state
        .recording
        .as_ref()
        .is_some_and(|(name, _)| name.is_empty());
    let rec = rec.then(|| {
        let starts = if starting { theme.more() } else { "" };
        word(Tone::Bad, format!("REC{starts} "))
    });
    rec.into_iter().chain([mode]).collect()
}

/// `REPLAY 05:00:10.250 00:00:10/00:01:00 playing 4×`: wall time, time since the start, and of all.
fn replay(state: &State, p: &Picture, width: u16, theme: Theme) -> String {
    let since = |at: KtimeNs| elapsed(at.since(p.snapshot.started));
    let Some(place) = state.position else {
        return format!("REPLAY {}", since(p.snapshot.at));
    };
    let times = if theme.ascii { "x" } else { "×" };
    let speed = match place.speed {
        1 => String::new(),
        n => format!(" {n}{times}"),
    };
    let [how, sign] = match (place.playing, theme.ascii) {
        (true, false) => ["playing", "►"],
        (true, true) => ["playing", ">"],
        (false, false) => ["paused", "‖"],
        (false, true) => ["paused", "="],
    };
    let (now, end) = (since(place.at), since(place.end));
    if width >= 76 {
        let clock = state.setup.clock.time_of_day(place.at);
        let clock = clock.get(..12).unwrap_or(&clock);
        format!("REPLAY {clock} {now}/{end} {how}{speed}")
    } else {
        format!("REPLAY {now}/{end} {sign}{speed}")
    }
}

/// The file that is written, at the right of what is left of a row.
fn recording(canvas: &mut Canvas<'_>, row: Rect, state: &State) {
    let Some((name, bytes)) = &state.recording else {
        return;
    };
    if name.is_empty() {
        let starts = word(Tone::Bad, "REC starting");
        return canvas.put_right((row.x, row.y), row.width, &starts);
    }
    let (head, size) = ("REC ", format!(" {}", size(*bytes)));
    let theme = canvas.theme;
    let name = safe(name, theme.ascii);
    let room = usize::from(row.width).saturating_sub(head.len() + size.len());
    let name = if columns(&name) <= room {
        name.into_owned()
    } else if room < 8 {
        theme.more().to_owned()
    } else {
        cut_middle(&name, room, theme.more())
    };
    let shown = word(Tone::Bad, format!("{head}{name}{size}"));
    canvas.put_right((row.x, row.y), row.width, &shown);
}

fn numbers(canvas: &mut Canvas<'_>, area: Rect, state: &State, p: &Picture) {
    let line = figures(state, p, area, canvas.theme);
    let used = canvas.put((area.x, area.y + 1), area.width, &line);
    let left = area.width.saturating_sub(used + 3);
    if usize::from(left) + 3 >= RECORDING {
        let row = Rect::new(area.x + used + 2, area.y + 1, left, 1);
        recording(canvas, row, state);
    }
}

/// With fewer columns left the file is not named.
const RECORDING: usize = 24;

fn line_columns(line: &[Word]) -> usize {
    line.iter().map(|w| columns(&w.text)).sum()
}

/// The second row.
fn figures(state: &State, p: &Picture, area: Rect, theme: Theme) -> Vec<Word> {
    let t = state.flows.totals;
    let bar = || word(Tone::Dim, theme.bar());
    let mut line = vec![word(
        Tone::Plain,
        format!(" {}", count(t.flows as u64, "flow")),
    )];
    for (n, what) in [(t.lost, "lost"), (t.unanswered, "unanswered")] {
        if n > 0 {
            line.push(word(Tone::Bad, format!("  {n} {what}")));
        }
    }
    let lost = p.snapshot.loss.sum();
    if lost > 0 {
        line.push(bar());
        let what = format!("tracer lost {}", short(lost));
        line.push(word(Tone::Bad, what));
    }
    if !p.limits.is_empty() {
        line.push(bar());
        let what = format!("{} not seen", p.limits.len());
        line.push(word(Tone::Warn, what));
    }
    line.push(bar());
    line.push(word(Tone::Plain, format!("{} pkt/s", rate(t.rate))));
    line.push(bar());
    let drops = state.drops.rate();
    let tone = if drops > 0.0 { Tone::Bad } else { Tone::Plain };
    line.push(word(tone, format!("{} drops/s ", rate(drops))));
    line.push(word(tone, sparkline(theme, state, area.width)));
    line
}

fn sparkline(theme: Theme, state: &State, width: u16) -> String {
    let n = match width {
        0..70 => 6,
        70..100 => 12,
        _ => 30,
    };
    let recent = &state.history[state.history.len().saturating_sub(n)..];
    let most = recent.iter().copied().fold(0.0, f64::max);
    let bar = |v: &f64| {
        let eighths = if most > 0.0 {
            (v / most * 8.0).ceil()
        } else {
            0.0
        };
        theme.spark(eighths as usize)
    };
    recent.iter().map(bar).collect()
}

/// The tabs with their counts, and what narrows the view.
pub(in crate::view::tui) fn tabs(canvas: &mut Canvas<'_>, area: Rect, state: &State) {
    if area.height == 0 {
        return;
    }
    for (pane, x, width) in placed(state, area.width) {
        let text = tab(state, pane, area.width);
        let tone = if pane == state.pane {
            Tone::Strong
        } else {
            Tone::Plain
        };
        canvas.put((area.x + x, area.y), width, &[word(tone, text)]);
        if pane == state.pane {
            canvas.select(Rect::new(area.x + x, area.y, width, 1));
        }
    }
    let used = placed(state, area.width)
        .last()
        .map_or(0, |(_, x, w)| x + w);
    let narrowed = narrowed(state);
    if !narrowed.is_empty() {
        let left = area.width.saturating_sub(used + 3);
        let shown = word(Tone::Warn, narrowed);
        if columns(&shown.text) <= usize::from(left) {
            canvas.put_right((area.x + used + 2, area.y), left, &shown);
        } else {
            canvas.put((area.x + used + 2, area.y), left, &[shown]);
        }
    }
}

/// The tabs with their places.
pub(in crate::view::tui) fn placed(state: &State, width: u16) -> Vec<(Pane, u16, u16)> {
    let mut x = 0;
    let mut placed = Vec::new();
    for pane in Pane::ALL {
        let w = columns(&tab(state, pane, width)) as u16;
        placed.push((pane, x, w));
        x += w;
    }
    placed
}

fn tab(state: &State, pane: Pane, width: u16) -> String {
    let n = match pane {
        Pane::Findings => state.picture.as_ref().map_or(0, |p| p.findings.len()),
        Pane::Drops => state.drops.grid.rows.len(),
        _ => 0,
    };
    let number = Pane::ALL.iter().position(|p| *p == pane).unwrap_or(0) + 1;
    let count = if n > 0 {
        format!(" {n}")
    } else {
        String::new()
    };
    if width >= 76 {
        format!(" {number} {}{count} ", pane.title())
    } else {
        format!(" {}{count} ", pane.short())
    }
}

/// What is left out or put together, in words.
fn narrowed(state: &State) -> String {
    let f = &state.flows;
    let mut parts = Vec::new();
    if !state.filter_text.is_empty() {
        parts.push(format!("filter: {}", state.filter_text));
    }
    if let Some((what, _)) = &f.only {
        parts.push(format!("only {what}"));
    }
    if f.only_trouble {
        parts.push("only trouble".to_owned());
    }
    if f.by != crate::view::tui::flows::By::Flow {
        let inside = f.inside.as_ref().zip(state.picture.as_ref());
        let inside = inside.map_or_else(String::new, |(key, p)| {
            format!(" {}", key.label(&state.text(p)))
        });
        parts.push(format!("by {}{inside}", f.by.title()));
    }
    let hidden = |c: Column| place(state.size.0, 0).iter().all(|p| p.column != c);
    if hidden(f.sort) {
        parts.push(format!("sorted by {}", f.sort.order()));
    }
    if state.cleared > KtimeNs::default() {
        parts.push("cleared".to_owned());
    }
    parts.join(", ")
}
