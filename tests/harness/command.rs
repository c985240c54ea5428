//! Running a tool so that a failure shows what a person would have typed and what it answered.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Whether `tool` is an executable file in one of the directories of `PATH` (or of the usual
/// `sbin`s, which `sudo` adds and a plain shell may not).
pub fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir: std::path::PathBuf| Path::new(&dir).join(tool).is_file())
}

/// Runs `argv` with `input` on stdin and returns what it printed; an exit status other than 0 is an
/// error that shows the command and its stderr.
pub fn run(argv: &[&str], input: &str) -> Result<String> {
    let output = output(argv, input)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    bail!(
        "`{}` failed ({}):\n{}",
        shown(argv, input),
        output.status,
        stderr(&output)
    )
}

/// Runs `argv` with `input` on stdin to its end, whatever its exit status.
pub fn output(argv: &[&str], input: &str) -> Result<Output> {
    let (program, args) = argv.split_first().context("an empty command")?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", argv.join(" ")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // a tool that stops at its first error closes the pipe early; its stderr says why
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(child.wait_with_output()?)
}

/// Runs `lines` with the batch mode of `ip`, `bridge` or `tc`. The error names the line that failed
/// as the command that it stands for.
pub fn batch(tool: &[&str], lines: &[String]) -> Result<()> {
    let mut argv = tool.to_vec();
    argv.extend(["-batch", "-"]);
    let input = lines.join("\n") + "\n";
    let output = output(&argv, &input)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = stderr(&output);
    let failed = stderr
        .lines()
        .find_map(|line| {
            line.strip_prefix("Command failed -:")?
                .trim()
                .parse::<usize>()
                .ok()
        })
        .and_then(|number| lines.get(number.checked_sub(1)?));
    match failed {
        Some(line) => bail!("`{} {line}` failed:\n{stderr}", tool.join(" ")),
        None => bail!("`{}` failed:\n{stderr}", shown(&argv, &input)),
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn shown(argv: &[&str], input: &str) -> String {
    let command = argv.join(" ");
    if input.is_empty() {
        command
    } else {
        format!("{command} <<EOF\n{}\nEOF", input.trim_end())
    }
}
