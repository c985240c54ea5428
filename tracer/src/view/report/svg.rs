//! The way of one direction of a flow, drawn from top to bottom, so that it fits a narrow page.

use std::fmt::Write as _;

use super::html::escaped;
use crate::{
    model::{Direction, Hop, Outcome, Step},
    view::text::{Text, Tone},
};

/// Width of the drawing; it is scaled to the page.
const WIDTH: u32 = 340;
/// Characters of a label in one line.
const COLUMNS: usize = 46;
const BOX: u32 = 40;
const LINE: u32 = 16;
const ARROW: u32 = 26;
const LEFT: u32 = 8;

/// A drawing, empty for a direction without a path.
pub(super) fn way(t: &Text<'_>, d: &Direction, title: &str) -> String {
    let mut drawing = Drawing::default();
    let mut last: Option<&Hop> = None;
    for (i, step) in d.path.iter().enumerate() {
        match step {
            Step::Hop(hop) => {
                drawing.hop(t, hop);
                last = Some(hop);
            }
            Step::Route(r) => {
                let word = t.decision(r, last.map(|h| h.netns), &d.path[i..]);
                drawing.label(&word.text, word.tone == Tone::Bad);
            }
        }
    }
    match &d.outcome {
        Some(Outcome::Dropped(reason)) => {
            let at = d
                .drops
                .first()
                .map(|x| format!("{} at {}", x.place.reason, x.place.symbol));
            drawing.end(
                "end",
                "endtext",
                "dropped",
                &at.unwrap_or_else(|| reason.to_string()),
            );
        }
        Some(Outcome::Unanswered(_)) => {
            drawing.end(
                "open",
                "opentext",
                "unanswered",
                "it left; nothing came back",
            );
        }
        _ => {
            for x in &d.drops {
                let text = format!("{} at {}", x.place.reason, x.place.symbol);
                drawing.end("end", "endtext", &format!("{} dropped", x.count), &text);
            }
        }
    }
    drawing.finish(title)
}

#[derive(Default)]
struct Drawing {
    body: String,
    y: u32,
    /// Labels that belong beside the next arrow.
    labels: Vec<(String, bool)>,
    begun: bool,
}

impl Drawing {
    fn label(&mut self, text: &str, bad: bool) {
        for line in wrapped(text) {
            self.labels.push((line, bad));
        }
    }

    /// From what was drawn last to what comes now, with the labels beside it.
    fn arrow(&mut self) {
        let labels = std::mem::take(&mut self.labels);
        let height = ARROW.max(LINE * labels.len() as u32 + 12);
        if self.begun {
            let (x, top, tip) = (LEFT + 14, self.y, self.y + height);
            let _infallible = write!(
                self.body,
                "<path class=\"line\" d=\"M{x} {top}V{}\"/><path class=\"head\" d=\"M{} {}l5 8 5-8z\"/>",
                tip - 7,
                x - 5,
                tip - 8
            );
        }
        for (i, (text, bad)) in labels.iter().enumerate() {
            let class = if *bad { "small badlabel" } else { "small" };
            let y = self.y + 16 + LINE * i as u32;
            self.text(LEFT + 28, y, class, text);
        }
        self.y += if self.begun || !labels.is_empty() {
            height
        } else {
            0
        };
        self.begun = true;
    }

    fn hop(&mut self, t: &Text<'_>, hop: &Hop) {
        let n = hop.counters.packets;
        let s = if n == 1 { "" } else { "s" };
        let dir = crate::view::json::dir(hop.dir);
        let mut lines = vec![format!("{dir}, {n} packet{s}, {} B", hop.counters.bytes)];
        if let Some(e) = &hop.encap {
            lines.extend(wrapped(&t.encap(e)));
        }
        self.place(("box", ""), &t.dev(hop.netns, hop.dev), &lines);
    }

    fn end(&mut self, class: &str, text_class: &str, what: &str, why: &str) {
        self.place((&format!("box {class}"), text_class), what, &wrapped(why));
    }

    /// A box with a name and small lines below it.
    fn place(&mut self, (class, text_class): (&str, &str), name: &str, lines: &[String]) {
        self.arrow();
        let height = BOX + LINE * (lines.len() as u32).saturating_sub(1);
        self.rect(class, height);
        self.text(LEFT + 12, self.y + 17, text_class, name);
        for (i, line) in lines.iter().enumerate() {
            self.text(LEFT + 12, self.y + 32 + LINE * i as u32, "small", line);
        }
        self.y += height;
    }

    fn rect(&mut self, class: &str, height: u32) {
        let _infallible = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{}\" height=\"{height}\" rx=\"6\"/>",
            self.y,
            WIDTH - 2 * LEFT
        );
    }

    /// One line; cut when it is too long, and then whole as the tip of the pointer.
    fn text(&mut self, x: u32, y: u32, class: &str, text: &str) {
        let long = text.chars().count() > COLUMNS + 4;
        let shown: String = if long {
            text.chars().take(COLUMNS + 3).chain(['…']).collect()
        } else {
            text.to_owned()
        };
        let tip = if long {
            format!("<title>{}</title>", escaped(text))
        } else {
            String::new()
        };
        let _infallible = write!(
            self.body,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}{tip}</text>",
            escaped(&shown)
        );
    }

    fn finish(self, title: &str) -> String {
        if !self.begun {
            return String::new();
        }
        let height = self.y + 4;
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            escaped(title),
            self.body
        )
    }
}

/// Lines of at most [`COLUMNS`] characters, broken at blanks.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Drops over time as bars, which are stretched to the width of the page.
pub(super) fn bars(counts: &[u64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (i, n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        // at least two units high, so that one drop among thousands is seen
        let height = (n * 100 / most).max(2);
        let _infallible = write!(
            bars,
            "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"9\" height=\"{height}\"><title>{n}</title></rect>",
            i * 10,
            100 - height
        );
    }
    let width = counts.len() * 10;
    format!(
        "<svg viewBox=\"0 0 {width} 101\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"dropped packets over time\"><path class=\"base\" d=\"M0 100.5H{width}\"/>{bars}</svg>"
    )
}
