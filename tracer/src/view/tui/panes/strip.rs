//! The worst finding, in full where there is room: what is wrong, before anything else.

use ratatui::layout::Rect;

use super::findings::tone;
use crate::{
    diagnose::Finding,
    view::{
        text::Tone,
        tui::{
            action::Picture,
            canvas::{Canvas, Line, word, wrap},
            layout::strip_rows,
        },
    },
};

/// The rows for a terminal of this size.
pub(in crate::view::tui) fn lines(p: &Picture, (width, height): (u16, u16)) -> Vec<Line> {
    let room = usize::from(strip_rows(height));
    let Some(first) = p.findings.first().filter(|_| room > 0) else {
        return Vec::new();
    };
    let width = usize::from(width);
    let others = &p.findings[1..];
    let for_others = usize::from(!others.is_empty() && room > 2);
    let mut lines = wrap(&sentence(first), width, 1);
    let room = room - for_others;
    if lines.len() > room {
        // cut where it ends: the canvas marks a line that goes on
        let rest: Line = lines.drain(room - 1..).flatten().collect();
        lines.push(rest);
    }
    if for_others > 0 {
        let mut line = vec![word(Tone::Dim, " also: ")];
        for (i, (f, n)) in counted(others).into_iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let times = if n > 1 {
                format!(" ({n})")
            } else {
                String::new()
            };
            line.push(word(tone(f.severity), format!("{comma}{}{times}", f.id)));
        }
        lines.push(line);
    }
    lines
}

/// Each kind of finding once, with its number.
fn counted(findings: &[Finding]) -> Vec<(&Finding, usize)> {
    let mut kinds: Vec<(&Finding, usize)> = Vec::new();
    for f in findings {
        match kinds.iter_mut().find(|(k, _)| k.id == f.id) {
            Some((_, n)) => *n += 1,
            None => kinds.push((f, 1)),
        }
    }
    kinds
}

fn sentence(f: &Finding) -> Line {
    vec![
        word(
            tone(f.severity),
            format!(" {} [{}]:", f.severity.name(), f.id),
        ),
        word(Tone::Plain, format!(" {}", f.summary)),
    ]
}

pub(in crate::view::tui) fn draw(canvas: &mut Canvas<'_>, area: Rect, lines: &[Line]) {
    canvas.lines(area, lines, 0);
}
