//! What is wrong with a filter, shown under its text.

use std::fmt;

/// Columns of the text that are shown around a mistake.
const SHOWN: usize = 100;

/// A filter that could not be understood. Its text is the whole story: the line with a caret under
/// the mistake, what was expected and, where there is one, a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    pub(super) text: String,
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl FilterError {
    /// Where the mistake starts, in bytes from the start of the text.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// What is wrong, and what was expected.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The line (from 0) of the mistake, its text and where the mistake starts in it.
    fn line(&self) -> (usize, &str, usize) {
        let at = self.text.floor_char_boundary(self.at);
        let (before, after) = self.text.split_at(at);
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        let end = after.find('\n').map_or(self.text.len(), |i| at + i);
        (
            before.matches('\n').count(),
            &self.text[start..end],
            at - start,
        )
    }
}

/// A character as one that takes exactly one column on any terminal, or as its escape: the caret
/// must stand under the mistake, and the text may hold control characters.
fn shown(c: char, out: &mut Vec<char>) {
    match c {
        '\t' => out.push(' '),
        // Latin, Greek and Cyrillic without the soft hyphen and the combining marks
        ' '..='~'
        | '\u{a1}'..='\u{ac}'
        | '\u{ae}'..='\u{2ff}'
        | '\u{391}'..='\u{482}'
        | '\u{48a}'..='\u{52f}' => out.push(c),
        c => out.extend(c.escape_unicode()),
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, line, at) = self.line();
        let (before, after) = line.split_at(at);
        let after = after.trim_end_matches('\r');
        let end = after.ceil_char_boundary(self.len.min(after.len()));
        let (mut cells, mut carets) = (Vec::new(), Vec::new());
        before.chars().for_each(|c| shown(c, &mut cells));
        after[..end].chars().for_each(|c| shown(c, &mut carets));
        let (column, width) = (cells.len(), carets.len().clamp(1, SHOWN / 2));
        cells.extend(carets);
        after[end..].chars().for_each(|c| shown(c, &mut cells));

        // a long line is cut so that the mistake stays in sight
        let cut = if cells.len() > SHOWN {
            column.saturating_sub(SHOWN / 2)
        } else {
            0
        };
        let (head, column) = if cut > 0 {
            ("...", column - cut + 3)
        } else {
            ("", column)
        };
        let tail = if cells.len() - cut > SHOWN { "..." } else { "" };
        let excerpt: String = cells.iter().skip(cut).take(SHOWN).collect();

        if self.text.trim_end().contains('\n') {
            writeln!(f, "{} (line {})", self.message, number + 1)?;
        } else {
            writeln!(f, "{}", self.message)?;
        }
        writeln!(f, "  {head}{}{tail}", excerpt.trim_end())?;
        write!(f, "  {:column$}{:^<width$}", "", "")?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FilterError {}
