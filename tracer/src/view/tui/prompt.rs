//! The line in which a filter is typed.

use super::input::Key;
use crate::filter::{Filter, FilterError};

/// Longer filters than this are refused: nobody types them.
const MAX: usize = 4096;

/// What a key did to the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// It goes on.
    Open,
    /// Taken.
    Done,
    /// Given up.
    Cancelled,
}

/// A filter while it is typed.
#[derive(Clone, Debug, Default)]
pub(super) struct Prompt {
    text: Vec<char>,
    cursor: usize,
    parsed: Option<Result<Filter, FilterError>>,
}

impl Prompt {
    pub(super) fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let mut prompt = Self {
            cursor: text.len(),
            text,
            parsed: None,
        };
        prompt.parse();
        prompt
    }

    pub(super) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Characters before the cursor.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// What is wrong with it.
    pub(super) fn error(&self) -> Option<&FilterError> {
        self.parsed.as_ref()?.as_ref().err()
    }

    /// Where the mistake starts, in characters.
    pub(super) fn error_at(&self) -> usize {
        let text = self.text();
        let at = self.error().map_or(0, FilterError::offset);
        text[..text.floor_char_boundary(at)].chars().count()
    }

    pub(super) fn filter(&self) -> Option<&Filter> {
        self.parsed.as_ref()?.as_ref().ok()
    }

    fn parse(&mut self) {
        self.parsed = Some(Filter::parse(&self.text()));
    }

    pub(super) fn insert(&mut self, text: &str) {
        for c in text.chars() {
            if self.text.len() < MAX {
                let c = if c.is_control() { ' ' } else { c };
                self.text.insert(self.cursor, c);
                self.cursor += 1;
            }
        }
        self.parse();
    }

    pub(super) fn key(&mut self, key: Key) -> Typed {
        match key {
            Key::Esc | Key::Ctrl('c') => return Typed::Cancelled,
            Key::Enter if self.filter().is_some() => return Typed::Done,
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            Key::Delete if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            Key::Left | Key::Ctrl('b') => self.cursor = self.cursor.saturating_sub(1),
            Key::Right | Key::Ctrl('f') => self.cursor = (self.cursor + 1).min(self.text.len()),
            Key::Home | Key::Ctrl('a') => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = self.text.len(),
            Key::Ctrl('u') => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::Ctrl('w') => {
                let before = &self.text[..self.cursor];
                let end = before.iter().rposition(|c| *c != ' ').map_or(0, |i| i + 1);
                let start = before[..end]
                    .iter()
                    .rposition(|c| *c == ' ')
                    .map_or(0, |i| i + 1);
                self.text.drain(start..self.cursor);
                self.cursor = start;
            }
            _ => {}
        }
        self.parse();
        Typed::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_as_a_shell_does() {
        let mut p = Prompt::new("udp port");
        for key in [Key::Char(' '), Key::Char('5'), Key::Char('3')] {
            assert_eq!(p.key(key), Typed::Open);
        }
        assert_eq!(p.text(), "udp port 53");
        assert_eq!(p.key(Key::Enter), Typed::Done);
        p.key(Key::Ctrl('w'));
        p.key(Key::Ctrl('w'));
        assert_eq!(p.text(), "udp ");
        p.key(Key::Home);
        p.insert("not ");
        assert_eq!(p.text(), "not udp ");
        p.key(Key::Ctrl('u'));
        p.key(Key::Delete);
        assert_eq!(p.text(), "dp ");
        assert_eq!(p.key(Key::Esc), Typed::Cancelled);
    }

    #[test]
    fn a_mistake_is_told_and_not_taken() {
        let mut p = Prompt::new("udp prot 53");
        assert!(p.error().is_some());
        assert_eq!(p.error_at(), 4);
        assert_eq!(p.key(Key::Enter), Typed::Open);
        let mut p = Prompt::new("größe");
        p.key(Key::Left);
        p.key(Key::Backspace);
        assert!(p.error_at() <= 4);
    }
}
