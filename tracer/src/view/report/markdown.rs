//! The same as Markdown, for tickets that take no page.

use std::fmt::Write as _;

use super::{DRAWN, Page, tables};
use crate::view::{escape, text};

/// The text.
pub fn markdown(p: &Page<'_>) -> String {
    let mut out = format!("# {}\n\n", escaped(&p.title()));
    for (name, value) in p.facts() {
        let _infallible = writeln!(out, "- {name}: {}", escaped(&value));
    }
    out.push_str("\n## Findings\n\n");
    if p.findings.is_empty() {
        out.push_str("Nothing is wrong as far as tracer can tell.\n");
    }
    for f in p.findings {
        let _infallible = write!(
            out,
            "### {}: {}\n\n{}\n\n",
            f.severity.name(),
            f.id,
            escaped(&f.summary)
        );
        let names = p.text.cx.names_in(f);
        for line in f.evidence.iter().chain(&names) {
            let _infallible = writeln!(out, "- {}", code(line));
        }
        if !f.next.is_empty() {
            let _infallible = writeln!(out, "\nNext: {}\n", code(&f.next));
        }
    }
    let troubled = p.troubled();
    if !troubled.is_empty() {
        out.push_str("\n## Flows in trouble\n\n```text\n");
        for f in troubled.iter().take(DRAWN) {
            // a fence in a name would end the block
            out.push_str(&text::flow(&p.text, f).replace("```", "'''"));
            out.push('\n');
        }
        out.push_str("```\n");
        if troubled.len() > DRAWN {
            let _infallible = writeln!(out, "\nand {} more", troubled.len() - DRAWN);
        }
    }
    for table in tables::all(p) {
        write_table(&mut out, &table);
    }
    out.push_str("\n## What tracer did not see\n\n");
    let not_seen = p.not_seen();
    if not_seen.is_empty() {
        out.push_str("Nothing was lost or hidden.\n");
    }
    for line in not_seen {
        let _infallible = writeln!(out, "- {}", escaped(&line));
    }
    out
}

fn write_table(out: &mut String, t: &tables::Table) {
    let _infallible = write!(out, "\n## {}\n\n|", t.title);
    for c in &t.columns {
        let _infallible = write!(out, " {} |", c.trim_start_matches('#'));
    }
    out.push_str("\n|");
    for c in &t.columns {
        out.push_str(if c.starts_with('#') {
            " ---: |"
        } else {
            " --- |"
        });
    }
    out.push('\n');
    for row in &t.rows {
        out.push('|');
        for cell in row {
            let _infallible = write!(out, " {} |", escaped(cell));
        }
        out.push('\n');
    }
    if t.more > 0 {
        let _infallible = writeln!(out, "\nand {} more", t.more);
    }
}

/// Words between backticks.
fn code(words: &str) -> String {
    format!("`{}`", escape::sentence(words, false).replace('`', "'"))
}

/// Text in which nothing is markup.
fn escaped(words: &str) -> String {
    let mut out = String::new();
    for c in escape::sentence(words, false).chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
