//! A finding as a block.

use super::{Text, Tone};
use crate::diagnose::{Finding, Severity};

/// Severity and sentence, evidence indented, what to do next; each line with a line feed.
pub fn finding(t: &Text<'_>, f: &Finding) -> String {
    let style = t.style;
    let tone = match f.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Info => Tone::Strong,
    };
    let head = style.paint(tone, &format!("{} [{}]", f.severity.name(), f.id));
    let mut out = format!("{head}: {}\n", style.sentence(&f.summary));
    for line in &f.evidence {
        out.extend(["    ", &style.sentence(line), "\n"]);
    }
    if let Some(names) = t.cx.names_in(f) {
        out.extend(["    ", &style.sentence(&names), "\n"]);
    }
    if !f.next.is_empty() {
        out.extend(["  next: ", &style.sentence(&f.next), "\n"]);
    }
    out
}
