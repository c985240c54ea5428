//! The flow table: one flow or group a row, trouble first.

use ratatui::layout::Rect;

use crate::{
    model::Flow,
    view::{
        text::{Text, Tone, Word},
        tui::{
            action::Picture,
            canvas::{Canvas, word},
            columns::{Column, Placed, place},
            flows::{By, Group, Row},
            grid, label,
            layout::Areas,
            number::{age, rate, short},
            safe,
            state::State,
            theme::Theme,
        },
    },
};

/// Columns of the table of groups.
const GROUP: &[grid::Head] = &[
    grid::text("!", 1, 0, 0),
    grid::text("GROUP", 12, 1, 0),
    grid::number("FLOWS", 6, 0),
    grid::number("LOST", 6, 0),
    grid::number("PKTS", 6, 60),
    grid::number("PKT/S", 6, 60),
    grid::number("DROPS", 6, 70),
    grid::number("PER S", 6, 70),
];

/// Headings and rows.
pub(in crate::view::tui) fn draw(
    canvas: &mut Canvas<'_>,
    areas: &Areas,
    state: &State,
    p: &Picture,
) {
    if state.flows.grouped() {
        return groups(canvas, areas, state, p);
    }
    let (head, list) = (areas.head, areas.list);
    let columns = columns(state, p);
    for c in &columns {
        heading(canvas, head, *c, state);
    }
    if state.flows.len() == 0 {
        return empty(canvas, list, state);
    }
    let t = state.text(p);
    let height = usize::from(list.height);
    for (y, (number, row)) in (list.y..list.bottom()).zip(state.flows.visible(height)) {
        for c in &columns {
            let text = cell(canvas.theme, *c, &t, row, p);
            if c.column.is_number() {
                canvas.put_right((list.x + c.x, y), c.width, &text);
            } else {
                canvas.put((list.x + c.x, y), c.width, &[text]);
            }
        }
        if number == state.flows.at() {
            canvas.select(Rect::new(list.x, y, list.width, 1));
        }
    }
}

/// The columns, as wide as the paths on the screen need them.
pub(in crate::view::tui) fn columns(state: &State, p: &Picture) -> Vec<Placed> {
    let t = state.text(p);
    let theme = Theme::new(state.setup.style);
    let areas = state.areas();
    let shown = state.flows.visible(areas.list.height.into());
    let paths = shown.map(|(_, r)| {
        let path = label::path(&t.cx, &r.shown(p).forward, usize::MAX, theme);
        safe::columns(&path)
    });
    place(areas.head.width, paths.max().unwrap_or(0).min(999) as u16)
}

fn heading(canvas: &mut Canvas<'_>, head: Rect, c: Placed, state: &State) {
    let f = &state.flows;
    let sorted = f.sort == c.column;
    let mut title = c.column.title().to_owned();
    if sorted && c.column != Column::Mark {
        let up = f.reverse == c.column.is_number() && c.column != Column::Drops;
        title += canvas.theme.sorted(up);
    }
    let tone = if sorted { Tone::Strong } else { Tone::Dim };
    let title = word(tone, title);
    if c.column.is_number() {
        canvas.put_right((head.x + c.x, head.y), c.width, &title);
    } else {
        canvas.put((head.x + c.x, head.y), c.width, &[title]);
    }
}

fn cell(theme: Theme, c: Placed, t: &Text<'_>, row: &Row, p: &Picture) -> Word {
    let f: &Flow = &row.shown(p);
    let width = usize::from(c.width);
    match c.column {
        Column::Mark => word(row.class.tone(), row.class.mark(theme.ascii)),
        Column::Flow => word(Tone::Plain, label::flow(&t.cx, f, width, theme)),
        Column::Path => word(Tone::Plain, label::path(&t.cx, &f.forward, width, theme)),
        Column::State => t.state(f),
        Column::Drops => drops(t, row, p),
        Column::Packets => word(Tone::Plain, short(f.forward.packets)),
        Column::Rate => word(Tone::Plain, rate(row.rate)),
        Column::Reply => word(Tone::Plain, short(f.reply.packets)),
        Column::Age => word(Tone::Dim, age(p.snapshot.at.since(row.last()))),
    }
}

/// `3 IP_OUTNOROUTES`: all that were lost, and the reason of most.
fn drops(t: &Text<'_>, row: &Row, p: &Picture) -> Word {
    if row.drops() == 0 {
        return word(Tone::Plain, "");
    }
    let f = row.source(p);
    let all = f.forward.drops.iter().chain(&f.reply.drops);
    let reason = all
        .max_by_key(|d| d.count)
        .map(|d| d.place.reason.to_string());
    let failed = f.route_failures.first().map(|r| t.cx.errno(r.errno));
    let reason = reason.or(failed).unwrap_or_default();
    word(Tone::Bad, format!("{} {reason}", short(row.drops())))
}

fn empty(canvas: &mut Canvas<'_>, list: Rect, state: &State) {
    let narrowed = !state.filter_text.is_empty() || state.flows.only_trouble;
    let text = if narrowed || state.flows.only.is_some() {
        "nothing matches; Esc shows everything again"
    } else {
        "no packets yet"
    };
    let width = list.width.saturating_sub(2);
    canvas.put(
        (list.x + 2, list.y + list.height.min(2) / 2),
        width,
        &[word(Tone::Dim, text)],
    );
}

fn groups(canvas: &mut Canvas<'_>, areas: &Areas, state: &State, p: &Picture) {
    let t = state.text(p);
    let height = usize::from(areas.list.height);
    let shown = state.flows.visible_groups(height);
    let rows = shown.map(|(_, g)| group_row(g, &t, canvas.theme.ascii));
    let mut table = grid::Grid {
        rows: rows.collect(),
        height,
        ..grid::Grid::default()
    };
    table.go(state.flows.at() - state.flows.offset());
    let empty = match state.flows.by {
        By::Flow => "",
        _ => "no packets yet",
    };
    table.draw(canvas, GROUP, (areas.head, areas.list), empty);
}

fn group_row(g: &Group, t: &Text<'_>, ascii: bool) -> grid::GridRow {
    let number = |n: u64| word(Tone::Plain, short(n));
    let bad = |n: u64, text: String| word(if n > 0 { Tone::Bad } else { Tone::Plain }, text);
    let label = g.key.label(t);
    grid::GridRow {
        cells: vec![
            word(g.class.tone(), g.class.mark(ascii)),
            word(Tone::Plain, label.clone()),
            number(g.flows as u64),
            bad(g.trouble as u64, short(g.trouble as u64)),
            number(g.packets),
            word(Tone::Plain, rate(g.rate)),
            bad(g.drops, short(g.drops)),
            bad(g.drops, rate(g.drop_rate)),
        ],
        key: label,
    }
}
