//! `tracer man DIR`: a manual page for tracer and one for each command, of the same text as `--help`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use roff::{Roff, roman};

use super::{OK, args::Args};

/// Where programs of the administrator are described (`man-pages(7)`).
const SECTION: &str = "8";

pub(super) fn run(dir: &Path) -> Result<u8> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for (name, page) in pages()? {
        let file = dir.join(name);
        fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(OK)
}

/// File names and pages.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut tracer = Args::command();
    // gives the commands the options of all commands, and their full names
    tracer.build();
    let commands = tracer.get_subcommands().filter(|c| !c.is_hide_set());
    let mut pages = vec![page(&tracer)?];
    for command in commands {
        pages.push(page(command)?);
    }
    Ok(pages)
}

fn page(command: &Command) -> Result<(String, Vec<u8>)> {
    let name = command.get_display_name().unwrap_or("tracer").to_owned();
    let man = Man::new(command.clone()).section(SECTION);
    // no date: the same sources give the same page on any day. By hand, since an empty word is lost
    // on the way otherwise
    let title = format!(
        ".TH {} {SECTION} \"\" \"tracer {}\" tracer\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    );
    let mut text = title.into_bytes();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_subcommands().any(|c| !c.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    let help = command.get_after_help().map(ToString::to_string);
    rest(&help.unwrap_or_default()).to_writer(&mut text)?;
    let mut also = Roff::new();
    also.control("SH", ["SEE ALSO"]);
    let names = if name == "tracer" {
        "tcpdump(8), ip(8), wireshark(1)"
    } else {
        "tracer(8)"
    };
    also.text([roman(names)]);
    also.to_writer(&mut text)?;
    Ok((format!("{name}.{SECTION}"), text))
}

/// What stands below the options in `--help`. Its columns are kept as they are; `Examples:` and
/// `Exit status:` become sections, and what has no heading is a note.
fn rest(help: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in help.split("\n\n").filter(|p| !p.trim().is_empty()) {
        let (first, below) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        if let Some(heading) = first.strip_suffix(':') {
            roff.control("SH", [heading.to_uppercase().as_str()]);
            kept(&mut roff, below);
        } else {
            roff.control("SH", ["NOTES"]);
            kept(&mut roff, paragraph);
        }
    }
    roff
}

fn kept(roff: &mut Roff, lines: &str) {
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_with_examples() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"tracer.8"), "{names:?}");
        assert!(names.contains(&"tracer-check.8"), "{names:?}");
        assert!(!names.contains(&"tracer-man.8"), "{names:?}");
        for (name, page) in &pages {
            let page = String::from_utf8(page.clone()).unwrap();
            for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES"] {
                let heading = format!(".SH {section}\n");
                let quoted = format!(".SH \"{section}\"\n");
                assert!(
                    page.contains(&heading) || page.contains(&quoted),
                    "{name} has no {section}"
                );
            }
        }
    }

    #[test]
    fn a_page_is_the_same_each_time() {
        assert_eq!(pages().unwrap(), pages().unwrap());
    }
}
