//! What is wrong, and what to do next.

use crate::{
    diagnose::{Finding, Severity},
    view::{
        intent,
        text::{Text, Tone, count},
        tui::{
            action::Picture,
            canvas::{Canvas, Line, word, wrap},
            grid::{GridRow, Head, number, text as column},
            layout::Areas,
            state::State,
        },
    },
};

const HEADS: &[Head] = &[
    column("SEVERITY", 8, 0, 0),
    column("FINDING", 22, 0, 0),
    number("FLOWS", 5, 70),
    column("WHAT", 10, 1, 50),
];

/// The colour of a severity, as in text.
pub(in crate::view::tui) fn tone(s: Severity) -> Tone {
    match s {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Info => Tone::Strong,
    }
}

/// Findings, then what this kernel hides, and what the findings take to be meant.
pub(in crate::view::tui) fn rows(p: &Picture) -> Vec<GridRow> {
    let findings = p.findings.iter().map(|f| GridRow {
        key: key(f),
        cells: vec![
            word(tone(f.severity), f.severity.name()),
            word(Tone::Strong, f.id),
            word(Tone::Plain, f.subject.flows.len().to_string()),
            word(Tone::Plain, f.summary.clone()),
        ],
    });
    let limits = p.limits.iter().map(|l| GridRow {
        key: l.text.clone(),
        cells: vec![
            word(Tone::Warn, "not seen"),
            word(Tone::Dim, "-"),
            word(Tone::Dim, ""),
            word(Tone::Plain, l.text.clone()),
        ],
    });
    let meant = GridRow {
        key: "meant".to_owned(),
        cells: vec![
            word(Tone::Dim, "meant"),
            word(Tone::Dim, "-"),
            word(Tone::Dim, ""),
            word(Tone::Plain, intent::told(&p.inventory, &p.intent)),
        ],
    };
    let found = findings.chain(limits);
    // alone it would hide that nothing was found
    let any = p.findings.len() + p.limits.len() > 0 || !p.intent.sources.is_empty();
    found.chain(any.then_some(meant)).collect()
}

/// Which one it is, when numbers in its sentence change.
fn key(f: &Finding) -> String {
    format!("{} {:?} {:?}", f.id, f.subject.dev, f.subject.address)
}

/// The list, and the selected one in full.
pub(in crate::view::tui) fn draw(
    canvas: &mut Canvas<'_>,
    areas: &Areas,
    state: &State,
    p: &Picture,
) {
    let empty = "nothing is wrong, as far as this node shows";
    state
        .findings
        .draw(canvas, HEADS, (areas.head, areas.list), empty);
    if areas.rule.height == 0 {
        return;
    }
    let at = state.findings.cursor.at();
    let (title, lines) = if let Some(f) = p.findings.get(at) {
        let hint = match f.subject.flows.len() as u64 {
            0 => String::new(),
            n => format!("  Enter shows its {}", count(n, "flow")),
        };
        let name = format!("{} [{}]", f.severity.name(), f.id);
        let title = vec![word(tone(f.severity), name), word(Tone::Dim, hint)];
        let height = usize::from(areas.detail.height);
        let lines = block_within(&state.text(p), f, areas.detail.width, height);
        (title, lines)
    } else {
        let text = p.limits.get(at.saturating_sub(p.findings.len()));
        let (title, text) = match text {
            Some(limit) => ("not seen on this kernel", limit.text.clone()),
            None => ("what is meant", intent::told(&p.inventory, &p.intent)),
        };
        let text = [word(Tone::Plain, format!(" {text}"))];
        let lines = wrap(&text, areas.detail.width.into(), 1);
        (vec![word(Tone::Plain, title)], lines)
    };
    canvas.rule(areas.rule, &title);
    canvas.lines(areas.detail, &lines, 0);
}

/// A finding in full, in the words of the text output.
pub(in crate::view::tui) fn block(t: &Text<'_>, f: &Finding, width: u16) -> Vec<Line> {
    block_within(t, f, width, usize::MAX)
}

/// The same in at most `height` lines: of the evidence as much as leaves room for the next step.
fn block_within(t: &Text<'_>, f: &Finding, width: u16, height: usize) -> Vec<Line> {
    let width = usize::from(width);
    let mut lines = wrap(&[word(Tone::Plain, format!(" {}", f.summary))], width, 1);
    let mut evidence: Vec<Line> = Vec::new();
    let names = t.cx.names_in(f);
    for e in f.evidence.iter().chain(&names) {
        evidence.extend(wrap(&[word(Tone::Dim, format!("     {e}"))], width, 7));
    }
    let mut next = Vec::new();
    if !f.next.is_empty() {
        let words = [
            word(Tone::Strong, "   next: "),
            word(Tone::Plain, f.next.clone()),
        ];
        next = wrap(&words, width, 9);
    }
    let room = height.saturating_sub(lines.len() + next.len());
    if evidence.len() > room {
        let left = evidence.len() - room.saturating_sub(1);
        evidence.truncate(room.saturating_sub(1));
        if room > 0 {
            let more = format!("     {} more of evidence", count(left as u64, "line"));
            evidence.push(vec![word(Tone::Dim, more)]);
        }
    }
    lines.extend(evidence);
    lines.extend(next);
    lines
}
