//! The keys, from the table that dispatches them.

use crate::view::{
    text::Tone,
    tui::{
        canvas::{Line, word},
        flows::Class,
        keys,
    },
};

/// All lines of the help.
pub(in crate::view::tui) fn lines(ascii: bool, replay: bool) -> Vec<Line> {
    let key = |name: &str, help: &str| {
        vec![
            word(Tone::Strong, format!("  {name:<10}")),
            word(Tone::Plain, help.to_owned()),
        ]
    };
    let mut lines: Vec<Line> = keys::shown(replay)
        .map(|b| key(&b.name(), b.help))
        .collect();
    lines.push(key("mouse", "select, scroll, headings sort, tabs"));
    lines.push(Vec::new());
    for (class, what) in [
        (Class::Lost, "packets end on this node"),
        (Class::Unanswered, "left this node, and nothing came back"),
        (
            Class::Suspicious,
            "a finding is about it, packets were lost, or answers take another way",
        ),
        (Class::Unknown, "what became of it is not known"),
        (Class::Fine, "as it should be"),
    ] {
        lines.push(vec![
            word(class.tone(), format!("  {:<10}", class.mark(ascii))),
            word(Tone::Plain, what),
        ]);
    }
    lines
}
