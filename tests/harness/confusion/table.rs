//! The table: a row for each direction of each flow.

use std::fmt;
use std::io::Write as _;

use anyhow::{Result, ensure};

/// One direction of one flow: what was expected, what was so, what tracer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Case, flow and direction: `forwarding/udp4`, `forwarding/udp4 reply`.
    pub case: String,
    /// What the case declares.
    pub expected: String,
    /// What the counters (and `ip route get`) say.
    pub truth: String,
    /// What tracer says, in the same words.
    pub reported: String,
    /// How tracer says it knows.
    pub how: String,
    /// What does not agree; empty when all does.
    pub wrong: Vec<String>,
}

/// Rows in the order of the run.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// Adds the rows of another table.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// Prints the table where the capture of test output does not swallow it, so that a passing
    /// run shows it as well.
    pub fn print(&self) -> Result<()> {
        Ok(write!(std::io::stderr(), "{self}")?)
    }

    /// Requires that there are rows and that every one agrees.
    pub fn agree(&self) -> Result<()> {
        ensure!(!self.rows.is_empty(), "the confusion table is empty");
        let wrong: Vec<String> = self
            .rows
            .iter()
            .filter(|row| !row.wrong.is_empty())
            .map(|row| format!("{}: {}", row.case, row.wrong.join("; ")))
            .collect();
        ensure!(
            wrong.is_empty(),
            "{} of {} rows disagree\n{}\n{self}",
            wrong.len(),
            self.rows.len(),
            wrong.join("\n")
        );
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "case", "expected", "truth", "reported", "how"].map(str::to_owned);
        let cells = self.rows.iter().map(|row| {
            let mark = if row.wrong.is_empty() { "=" } else { "≠" };
            [
                mark.to_owned(),
                row.case.clone(),
                row.expected.clone(),
                row.truth.clone(),
                row.reported.clone(),
                row.how.clone(),
            ]
        });
        let lines: Vec<[String; 6]> = std::iter::once(head).chain(cells).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..6).map(width).collect();
        for line in &lines {
            let padded: Vec<String> = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", padded.join(" | ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(wrong: &[&str]) -> Row {
        Row {
            case: "c/f".into(),
            expected: "out".into(),
            truth: "out×3".into(),
            reported: "out×3".into(),
            how: "lookup".into(),
            wrong: wrong.iter().map(|w| (*w).to_owned()).collect(),
        }
    }

    #[test]
    fn a_row_that_disagrees_fails_the_table() {
        let mut table = Table {
            rows: vec![row(&[])],
        };
        table.agree().expect("all agree");
        table.extend(Table {
            rows: vec![row(&["table 254 is not 7"])],
        });
        let error = table.agree().expect_err("one disagrees").to_string();
        assert!(
            error.contains("1 of 2") && error.contains("≠ | c/f"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_table_proves_nothing() {
        Table::default().agree().expect_err("empty");
    }
}
