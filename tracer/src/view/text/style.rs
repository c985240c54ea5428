//! Colour, character set and width of text.

use std::borrow::Cow;

use crate::{
    model::Flow,
    view::{escape, flow_name, translated_name},
};

/// What a piece of text means; colour is chosen from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Packets are lost.
    Bad,
    /// Worth a look.
    Warn,
    /// As it should be.
    Good,
    /// Headings.
    Strong,
    /// Details.
    Dim,
    /// Everything else.
    Plain,
}

/// How text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub color: bool,
    /// ASCII only.
    pub ascii: bool,
    /// Columns of the terminal; `None` when it is none.
    pub width: Option<usize>,
}

impl Style {
    /// `text` in the colour of `tone`.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bad => "1;31",
            Tone::Warn => "33",
            Tone::Good => "32",
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A name from outside.
    pub fn name(self, name: &str) -> Cow<'_, str> {
        if self.ascii {
            escape::escape_ascii(name)
        } else {
            escape::escape(name)
        }
    }

    /// A sentence with names in it.
    pub fn sentence(self, text: &str) -> Cow<'_, str> {
        escape::sentence(text, self.ascii)
    }

    /// ` → `.
    pub(in crate::view) fn arrow(self) -> &'static str {
        if self.ascii { "->" } else { "→" }
    }

    /// Between both sides of address translation.
    pub(in crate::view) fn becomes(self) -> &'static str {
        if self.ascii { "=>" } else { "⇒" }
    }

    /// The flow's name, with both sides of address translation.
    pub fn flow(self, f: &Flow) -> String {
        match &f.far() {
            Some(far) => translated_name(&f.id.tuple, far, self.becomes()),
            None => flow_name(&f.id.tuple),
        }
    }

    /// The end of a path that goes no further.
    pub(in crate::view) fn stop(self) -> &'static str {
        if self.ascii { "X" } else { "✗" }
    }

    /// Brackets round an encapsulation.
    pub(in crate::view) fn brackets(self) -> (&'static str, &'static str) {
        if self.ascii {
            ("{", "}")
        } else {
            ("⟦", "⟧")
        }
    }

    /// Joins `words` with blanks and breaks lines before a word that does not fit; lines after the
    /// first get `indent` blanks, the first has `used` columns already.
    pub(in crate::view) fn wrap(self, words: &[Word], used: usize, indent: usize) -> String {
        let (mut out, mut column) = (String::new(), used);
        for (i, word) in words.iter().enumerate() {
            let len = word.text.chars().count();
            if i > 0 {
                let full = self
                    .width
                    .is_some_and(|w| column + 1 + len > w.max(indent + 20));
                if full {
                    out.push('\n');
                    out.push_str(&" ".repeat(indent));
                    column = indent;
                } else {
                    out.push(' ');
                    column += 1;
                }
            }
            out.push_str(&self.paint(word.tone, &word.text));
            column += len;
        }
        out
    }
}

/// A piece that is not broken over lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::view) struct Word {
    /// Plain text, without colour.
    pub(in crate::view) text: String,
    /// Its colour.
    pub(in crate::view) tone: Tone,
}

impl Word {
    pub(in crate::view) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}
