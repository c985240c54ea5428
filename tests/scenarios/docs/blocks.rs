//! Executes the command blocks of the documentation.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::{Lab, Tracer, tracer};

use super::page::{self, Block, Step};

/// Whatever ends by itself does so in this time.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn every_command_block_does_what_it_says() -> Result<()> {
    let mut blocks = Vec::new();
    for page in page::pages()? {
        blocks.extend(page::blocks(&page)?);
    }
    ensure!(blocks.len() > 10, "only {} blocks were found", blocks.len());
    let failures = super::all(&blocks, |block| {
        execute(block).with_context(|| block.at.clone())
    });
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

/// A directory to work in, gone when dropped, with `tracer` in it for `PATH`.
struct Place(PathBuf);

impl Place {
    fn new(block: &Block) -> Result<Self> {
        let name: String = block
            .at
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let dir = env::temp_dir().join(format!("tracer-docs-{}-{name}", std::process::id()));
        fs::create_dir_all(dir.join("bin"))?;
        let place = Self(dir);
        std::os::unix::fs::symlink(tracer::binary()?, place.0.join("bin/tracer"))?;
        Ok(place)
    }

    fn path(&self) -> String {
        let path = env::var("PATH").unwrap_or_default();
        format!("{}:{path}:/usr/sbin:/sbin", self.0.join("bin").display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn execute(block: &Block) -> Result<()> {
    let place = Place::new(block)?;
    let lab = Lab::raise_named(&block.lab)?;
    if let Some((name, text)) = &block.file {
        fs::write(place.0.join(name), in_lab(&lab, text))?;
    }
    let (mut status, mut wrong) = (0, Vec::new());
    for (i, step) in block.steps.iter().enumerate() {
        let checked = block.steps.get(i + 1).is_some_and(is_echo);
        if is_echo(step) {
            wrong.extend(compare(step, &status.to_string()));
            continue;
        }
        let (code, stdout) =
            run(&lab, &place, &step.command).with_context(|| format!("$ {}", step.command))?;
        // 1 and 2 are errors of tracer; other programs know success alone
        let failed = if is_tracer(step) {
            matches!(code, 1 | 2)
        } else {
            code != 0
        };
        ensure!(
            checked || !failed,
            "$ {}\nends with {code}\n{stdout}",
            step.command
        );
        wrong.extend(compare(step, &out_of_lab(&lab, &stdout)));
        status = code;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn is_echo(step: &Step) -> bool {
    step.command == "echo $?"
}

fn is_tracer(step: &Step) -> bool {
    page::is_tracer(&step.command)
}

/// What is not as documented, with all that was printed.
fn compare(step: &Step, got: &str) -> Option<String> {
    let documented = step.output.as_ref()?;
    let got: Vec<&str> = got.lines().collect();
    (!page::matches(documented, &got)).then(|| {
        format!(
            "$ {}\nis documented as\n{}\nand prints\n{}",
            step.command,
            documented.join("\n"),
            got.join("\n")
        )
    })
}

/// The documentation names namespaces as a lab's roles; in the lab they have longer names.
fn in_lab(lab: &Lab, text: &str) -> String {
    let mut text = text.to_owned();
    for (role, ns) in lab.network().spaces() {
        for (before, after) in [
            ("--probe-netns ", ""),
            ("--netns ", ""),
            ("probe-netns = \"", "\""),
        ] {
            let (from, to) = (
                format!("{before}{role}{after}"),
                format!("{before}{}{after}", ns.name()),
            );
            text = words(&text, &from, &to);
        }
    }
    text
}

/// Replaces `from` where no further letter or digit follows: `p1` is not a part of `p1b`.
fn words(text: &str, from: &str, to: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let whole = !after.starts_with(|c: char| c.is_ascii_alphanumeric());
        out.extend([before, if whole { to } else { from }]);
        rest = after;
    }
    out + rest
}

fn out_of_lab(lab: &Lab, text: &str) -> String {
    text.replace(&format!("{}-", lab.network().prefix()), "")
}

fn run(lab: &Lab, place: &Place, line: &str) -> Result<(i32, String)> {
    let line = in_lab(lab, line);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(&line)
        .current_dir(&place.0)
        .env("PATH", place.path())
        .env("LC_ALL", "C.UTF-8");
    if !page::is_tracer(&line) {
        let ended = lab.node().run_with_sysfs(|| command.output())??;
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let code = ended.status.code().context(stderr.into_owned())?;
        return Ok((code, String::from_utf8(ended.stdout)?));
    }
    let plain = !line.contains(['|', ';', '>', '<', '&']);
    ensure!(
        plain,
        "one command a line, so that its signals and status are its own"
    );
    // the shell reads quotes as a person's does, and then makes way
    command = with_exec(&command, &line);
    let tracer = Tracer::spawn_command(lab.node(), command)?;
    let tracing = tracer.wait_ready(tracer::READY_LIMIT).is_ok();
    let alone = ["--probe ", "-f ", "--until-packets "];
    if tracing && !line.contains("--probe ") {
        lab.traffic(1)?;
    }
    let ended = if !tracing || alone.iter().any(|option| line.contains(option)) {
        tracer.wait(LIMIT)?
    } else {
        // the end of its time would find the same
        match tracer.signal(nix::sys::signal::Signal::SIGINT) {
            Ok(()) => tracer.wait(LIMIT)?,
            Err(error) => bail!("it ended by itself: {error}"),
        }
    };
    let code = ended.code()?;
    let stdout = if matches!(code, 1 | 2) {
        format!("{}{}", ended.stdout, ended.stderr)
    } else {
        ended.stdout
    };
    Ok((code, stdout))
}

fn with_exec(from: &Command, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec {line}"));
    if let Some(dir) = from.get_current_dir() {
        command.current_dir::<&Path>(dir);
    }
    for (name, value) in from.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}
