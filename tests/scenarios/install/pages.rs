//! Completions and manual pages, by the programs that read them.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use harness::command;

use super::{Dir, tracer};

#[test]
fn shells_take_the_completions() -> Result<()> {
    let dir = Dir::new("completions")?;
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = tracer(&["completions", shell])?;
        let file = dir.path(shell)?;
        fs::write(&file, &script)?;
        command::run(&[shell, check, &file], "")?;
        // and the check notices what is no program
        let broken = format!("{file}.broken");
        let cut = script.len() / 2;
        fs::write(
            &broken,
            format!("{}\nif (", script.get(..cut).context("UTF-8")?),
        )?;
        ensure!(
            command::run(&[shell, check, &broken], "").is_err(),
            "{shell} {check} takes anything"
        );
        for word in ["record", "--reply-via", "--probe-netns"] {
            // a hyphen is quoted differently, or an option has none
            let bare = word.trim_start_matches('-');
            ensure!(script.contains(bare), "{shell} does not know {word}");
        }
    }
    Ok(())
}

#[test]
fn bash_completes() -> Result<()> {
    const COMPLETE: &str = r#"
        source /dev/stdin
        COMP_WORDS=(tracer check --reply-) COMP_CWORD=2
        _tracer tracer --reply- check
        printf '%s\n' "${COMPREPLY[@]}""#;
    let script = tracer(&["completions", "bash"])?;
    let said = command::run(&["bash", "-c", COMPLETE], &script)?;
    let words: Vec<&str> = said.lines().collect();
    ensure!(words.contains(&"--reply-via"), "{words:?}");
    ensure!(!words.contains(&"--via"), "{words:?}");
    Ok(())
}

/// mandoc's linter; what it says about style is left out.
fn lint(page: &str) -> Result<()> {
    const STYLE: [&str; 2] = ["skipping paragraph macro", "missing date"];
    let output = command::output(&["mandoc", "-T", "lint", "-W", "warning", page], "")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let wrong: Vec<&str> = said
        .lines()
        .filter(|line| !STYLE.iter().any(|style| line.contains(style)))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

#[test]
fn manual_pages_are_sound() -> Result<()> {
    let dir = Dir::new("man")?;
    tracer(&["man", &dir.path("")?])?;
    let mut pages = 0;
    for entry in fs::read_dir(&dir.0)? {
        let path = entry?.path();
        let page = path.to_str().context("no UTF-8")?;
        lint(page)?;
        let shown = command::run(&["mandoc", "-T", "utf8", page], "")?;
        // bold is written as a letter on itself
        let plain = shown.replace('\u{8}', "");
        ensure!(plain.contains("tracer"), "{plain}");
        pages += 1;
    }
    ensure!(pages > 10, "{pages} pages");
    let broken = dir.path("broken.8")?;
    fs::write(&broken, ".TH A 8\n.SH NAME\n.nosuchmacro\n")?;
    ensure!(lint(&broken).is_err(), "mandoc takes anything");
    Ok(())
}
