//! Colours and characters: the 16 colours that every terminal and every background has, and never
//! a meaning that only a colour carries.

use ratatui::style::{Color, Modifier, Style};

use crate::view::text::{self, Tone};

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Theme {
    color: bool,
    pub(super) ascii: bool,
}

impl Theme {
    pub(super) fn new(style: text::Style) -> Self {
        Self {
            color: style.color,
            ascii: style.ascii,
        }
    }

    /// The style of a tone. No background is ever set: what is selected is reversed.
    pub(super) fn tone(self, tone: Tone) -> Style {
        let style = Style::new();
        match tone {
            Tone::Bad => self.color(style, Color::Red).add_modifier(Modifier::BOLD),
            Tone::Warn => self.color(style, Color::Yellow),
            Tone::Good => self.color(style, Color::Green),
            Tone::Strong => style.add_modifier(Modifier::BOLD),
            Tone::Dim => style.add_modifier(Modifier::DIM),
            Tone::Plain => style,
        }
    }

    fn color(self, style: Style, color: Color) -> Style {
        if self.color { style.fg(color) } else { style }
    }

    /// What stands for text that is cut off.
    pub(super) fn more(self) -> &'static str {
        if self.ascii { "~" } else { "…" }
    }

    /// A horizontal line.
    pub(super) fn line(self) -> &'static str {
        if self.ascii { "-" } else { "─" }
    }

    /// Between the parts of a line.
    pub(super) fn bar(self) -> &'static str {
        if self.ascii { " | " } else { " │ " }
    }

    /// A device of a path, what is between devices, and where it ends.
    pub(super) fn path(self) -> [&'static str; 3] {
        if self.ascii {
            ["o", "|", "X"]
        } else {
            ["●", "│", "✗"]
        }
    }

    /// Between the devices of a short path.
    pub(super) fn arrow(self) -> &'static str {
        if self.ascii { ">" } else { "→" }
    }

    /// Whether the column is sorted upwards.
    pub(super) fn sorted(self, up: bool) -> &'static str {
        match (self.ascii, up) {
            (true, true) => "^",
            (true, false) => "v",
            (false, true) => "▲",
            (false, false) => "▼",
        }
    }

    /// A bar of a sparkline for a part of the maximum, 0 to 8.
    pub(super) fn spark(self, eighths: usize) -> char {
        let levels = if self.ascii {
            ['_', '.', '.', ':', ':', '|', '|', '#', '#']
        } else {
            ['▁', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        };
        levels[eighths.min(8)]
    }
}
