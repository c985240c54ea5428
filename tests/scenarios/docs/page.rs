//! The command blocks of a page of the documentation.
//!
//! A block is fenced or indented, and is executed when a line of it starts with `tracer ` or
//! `$ tracer `:
//!
//! - `# in the lab NAME[:MODE]` as its first line says where, on the lab's node `n1`; without it the
//!   lab is [`DEFAULT_LAB`]. `, with the file above as NAME` writes the TOML block before it first.
//! - A line after `$ ` is a command; the lines up to the next one are its output. In them `…`
//!   stands for anything within a line, and a line of `…` alone for any number of lines.
//! - `$ echo $?` shows the exit status. Where it does not, tracer's must be none of an error.
//! - Without `$` each line is a command, and its output is not compared.
//! - `# not executed: WHY` as its first line leaves the block out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// Where a block that names no lab is executed.
pub(crate) const DEFAULT_LAB: &str = "native-tunnel:native";

/// A block of commands.
#[derive(Debug)]
pub(crate) struct Block {
    /// `docs/checks.md:17`
    pub(crate) at: String,
    /// `NAME` or `NAME:MODE`.
    pub(crate) lab: String,
    /// A file that it needs: name and text.
    pub(crate) file: Option<(String, String)>,
    /// What is typed.
    pub(crate) steps: Vec<Step>,
}

/// A command and what it prints.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) command: String,
    /// `None`: not compared.
    pub(crate) output: Option<Vec<String>>,
}

/// Whether it is a command of tracer.
pub(crate) fn is_tracer(command: &str) -> bool {
    command.split(' ').next() == Some("tracer")
}

/// The root of the source tree.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.map(Path::to_path_buf).context("no parent")
}

/// README and every page below `docs`, by their paths from the root.
pub(crate) fn pages() -> Result<Vec<PathBuf>> {
    let root = root()?;
    let (mut pages, mut dirs) = (vec![PathBuf::from("README.md")], vec![root.join("docs")]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path.strip_prefix(&root)?.to_path_buf());
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// The blocks of a page that are executed.
pub(crate) fn blocks(page: &Path) -> Result<Vec<Block>> {
    let text = fs::read_to_string(root()?.join(page))?;
    let mut toml = None;
    let mut blocks = Vec::new();
    for raw in raw_blocks(&text) {
        if raw.language == "toml" {
            toml = Some(raw.lines.join("\n"));
            continue;
        }
        let at = format!("{}:{}", page.display(), raw.line);
        if let Some(block) = block(at.clone(), &raw.lines, toml.as_deref()).context(at)? {
            blocks.push(block);
        }
    }
    Ok(blocks)
}

struct Raw<'t> {
    line: usize,
    language: &'t str,
    lines: Vec<&'t str>,
}

fn raw_blocks(text: &str) -> Vec<Raw<'_>> {
    let mut blocks: Vec<Raw<'_>> = Vec::new();
    let (mut fence, mut before) = (false, "");
    for (number, line) in text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            fence = !fence;
            if fence {
                blocks.push(Raw {
                    line: number + 1,
                    language,
                    lines: Vec::new(),
                });
            }
        } else if fence {
            if let Some(block) = blocks.last_mut() {
                block.lines.push(line);
            }
        } else if let Some(code) = line.strip_prefix("    ") {
            // the first line of an indented block stands after an empty one
            match blocks.last_mut() {
                Some(block) if block.language == "indented" && !before.is_empty() => {
                    block.lines.push(code);
                }
                _ if before.is_empty() => blocks.push(Raw {
                    line: number + 1,
                    language: "indented",
                    lines: vec![code],
                }),
                _ => {}
            }
        }
        before = line;
    }
    blocks
}

fn block(at: String, lines: &[&str], toml: Option<&str>) -> Result<Option<Block>> {
    let typed = |l: &&str| is_tracer(l.strip_prefix("$ ").unwrap_or(l));
    if !lines.iter().any(typed) {
        return Ok(None);
    }
    let head = lines.first().and_then(|l| l.strip_prefix("# "));
    if let Some(why) = head.and_then(|h| h.strip_prefix("not executed: ")) {
        ensure!(!why.is_empty(), "a block that is not executed says why");
        return Ok(None);
    }
    let (mut lab, mut file) = (DEFAULT_LAB.to_owned(), None);
    if let Some(head) = head {
        let Some(head) = head.strip_prefix("in the lab ") else {
            bail!(
                "the first line is neither `# in the lab NAME` nor `# not executed: WHY`: {head}"
            );
        };
        let (name, rest) = head.split_once(", ").unwrap_or((head, ""));
        name.clone_into(&mut lab);
        if !rest.is_empty() {
            let name = rest.strip_prefix("with the file above as ");
            let name = name.with_context(|| format!("not understood: {rest}"))?;
            let text = toml.context("there is no TOML block above")?;
            file = Some((name.to_owned(), text.to_owned()));
        }
    }
    let steps = steps(lines.get(usize::from(head.is_some())..).unwrap_or_default())?;
    Ok(Some(Block {
        at,
        lab,
        file,
        steps,
    }))
}

fn steps(lines: &[&str]) -> Result<Vec<Step>> {
    let shown = lines.iter().any(|l| l.starts_with("$ "));
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        if !shown {
            // behind a command there may be a comment, in a column of its own
            let command = line.split(" #").next().unwrap_or(line).trim();
            if !command.is_empty() {
                steps.push(Step {
                    command: command.to_owned(),
                    output: None,
                });
            }
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                output: Some(Vec::new()),
            });
        } else {
            let step = steps
                .last_mut()
                .context("output before the first command")?;
            step.output.get_or_insert_default().push((*line).to_owned());
        }
    }
    Ok(steps)
}

/// Whether the lines are as the documentation has them.
pub(crate) fn matches(documented: &[String], got: &[&str]) -> bool {
    match (documented.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((any, rest)), _) if any == "…" => {
            (0..=got.len()).any(|n| matches(rest, got.get(n..).unwrap_or_default()))
        }
        (Some((wanted, documented)), Some((line, got))) => {
            line_matches(wanted, line) && matches(documented, got)
        }
        _ => false,
    }
}

fn line_matches(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[test]
fn outputs_are_compared() {
    let documented = ["PASS: … in 2 flows, …", "…", "probe: sent 3 to …", "…"].map(str::to_owned);
    let good = [
        "PASS: 6 packets in 2 flows, all well.",
        "",
        "x",
        "probe: sent 3 to b; 3 answered",
    ];
    assert!(matches(&documented, &good));
    assert!(!matches(&documented, &good[..3]));
    assert!(!matches(&documented, &["FAIL: 6 packets in 2 flows, x"]));
    assert!(!matches(&documented[..1], &good));
    assert!(!line_matches("a … b", "a x c"));
    assert!(!line_matches("a", "a x"));
}

#[test]
fn blocks_are_read() -> Result<()> {
    let text = "    tracer watch  # all\n\ntext\n\n    tracer doctor          # what\n    tracer -V\n\n\
                ```toml\na = 1\n```\n```console\n# in the lab router:ok, with the file above as f\n\
                $ tracer check -f f\nPASS\n$ echo $?\n0\n```\n```sh\n# not executed: no\ntracer x\n```\n\
                ```text\nnothing\n```\n";
    let mut toml = None;
    let mut found = Vec::new();
    for raw in raw_blocks(text) {
        if raw.language == "toml" {
            toml = Some(raw.lines.join("\n"));
        } else if let Some(block) = block(raw.line.to_string(), &raw.lines, toml.as_deref())? {
            found.push(block);
        }
    }
    let commands: Vec<Vec<&str>> = found
        .iter()
        .map(|b| b.steps.iter().map(|s| s.command.as_str()).collect())
        .collect();
    let wanted: [&[&str]; 3] = [
        &["tracer watch"],
        &["tracer doctor", "tracer -V"],
        &["tracer check -f f", "echo $?"],
    ];
    assert_eq!(commands, wanted);
    assert_eq!(found[2].lab, "router:ok");
    assert_eq!(found[2].file, Some(("f".into(), "a = 1".into())));
    assert_eq!(
        found[2].steps[0].output.as_deref(),
        Some(&["PASS".to_owned()][..])
    );
    Ok(())
}
