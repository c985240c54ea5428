//! One flow on the whole screen: its way, its answers, and what is wrong with it.

use super::{findings, path};
use crate::view::{
    text::Tone,
    tui::{
        action::Picture,
        canvas::{Line, word},
        state::State,
        theme::Theme,
    },
};

/// All lines; empty when no flow is selected.
pub(in crate::view::tui) fn lines(state: &State, p: &Picture, width: u16) -> Vec<Line> {
    let Some(row) = state.flows.selected() else {
        return Vec::new();
    };
    let t = state.text(p);
    let mut lines = path::full(&t, &row.shown(p), Theme::new(state.setup.style), width);
    let id = row.id();
    for f in p.findings.iter() {
        if f.subject.flows.contains(&id) {
            let head = format!(" {} [{}]:", f.severity.name(), f.id);
            lines.push(Vec::new());
            lines.push(vec![word(findings::tone(f.severity), head)]);
            lines.extend(findings::block(&t, f, width));
        }
    }
    let f = row.shown(p);
    if f.forward.packets > 0 {
        let times = format!(
            " first {}  last {}",
            t.cx.clock.time_of_day(f.forward.first),
            t.cx.clock.time_of_day(f.forward.last)
        );
        lines.push(Vec::new());
        lines.push(vec![word(Tone::Dim, times)]);
    }
    lines
}
