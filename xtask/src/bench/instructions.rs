//! `cargo xtask bench instructions`: what each part of user space takes, counted and not timed, so that
//! the same source gives the same figures on a machine that does other things too.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{setup, sh};

/// What was counted when somebody last looked, beside this file.
const KNOWN: &str = "xtask/src/bench/instructions.json";
/// A part that takes so many hundredths more than known fails: what other processors and other seeds of
/// tables make of the same program is less.
const TOLERANCE: f64 = 10.0;
/// The C library copies memory in the same way on each processor.
const PLAIN: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM",
);
/// The first few rounds of a part make what is made once (tables grow, buffers); two counts that
/// differ in rounds only leave that out.
const ROUNDS: (u64, u64) = (8, 24);
/// What is made once takes some thousand instructions more or less, as tables hash by a seed of their own
/// in each process. A part that takes fewer than `SMALL` is counted `MORE` times as often, for that not to show.
const SMALL: u64 = 100_000;
const MORE: u64 = 100;

/// Counts, and compares or (with `write`) keeps the result.
pub(crate) fn run(write: bool) -> Result<()> {
    setup::toolchain()?;
    setup::counter()?;
    let program = build()?;
    let list = sh::output(sh::command(&program)?.arg("--list"))?;
    let known = sh::root()?.join(KNOWN);
    let before: BTreeMap<String, u64> = match fs::read_to_string(&known) {
        Ok(text) => serde_json::from_str(&text).with_context(|| known.display().to_string())?,
        Err(_) if write => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| known.display().to_string()),
    };
    println!(
        "{:16} {:>14} {:>14} {:>8}",
        "part", "instructions", "known", "%"
    );
    let (mut now, mut worse) = (BTreeMap::new(), Vec::new());
    for part in list.lines() {
        let each = count(&program, part)?;
        let known = before.get(part).copied().unwrap_or(each);
        let percent = (each as f64 / known.max(1) as f64 - 1.0) * 100.0;
        println!("{part:16} {each:>14} {known:>14} {percent:>+8.1}");
        if percent > TOLERANCE {
            worse.push(part.to_owned());
        }
        now.insert(part.to_owned(), each);
    }
    if write {
        let text = serde_json::to_string_pretty(&now)?;
        return fs::write(&known, text + "\n").with_context(|| known.display().to_string());
    }
    ensure!(
        worse.is_empty(),
        "more than {TOLERANCE} % above {KNOWN}: {}; if that is meant, run with --write",
        worse.join(", ")
    );
    Ok(())
}

fn build() -> Result<PathBuf> {
    let mut cargo = sh::cargo()?;
    cargo.args([
        "bench",
        "--no-run",
        "--package",
        "tracer",
        "--bench",
        "parts",
    ]);
    cargo.arg("--message-format=json-render-diagnostics");
    let messages = sh::stdout(&mut cargo)?;
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let wanted = message.pointer("/target/name")? == "parts";
        wanted.then(|| message.get("executable")?.as_str().map(Into::into))?
    });
    program.with_context(|| format!("`{}` built no program", sh::line(&cargo)))
}

/// Instructions of one round of a part.
fn count(program: &Path, part: &str) -> Result<u64> {
    let each = |(few, many): (u64, u64)| -> Result<u64> {
        let more = total(program, part, many)?.saturating_sub(total(program, part, few)?);
        Ok(more / (many - few))
    };
    let once = each(ROUNDS)?;
    if once >= SMALL {
        return Ok(once);
    }
    each((ROUNDS.0 * MORE, ROUNDS.1 * MORE))
}

fn total(program: &Path, part: &str, rounds: u64) -> Result<u64> {
    let out = std::env::temp_dir().join(format!("tracer-callgrind-{}", std::process::id()));
    let mut valgrind = sh::command("valgrind")?;
    valgrind
        .args(["--tool=callgrind", "--quiet"])
        .env(PLAIN.0, PLAIN.1)
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([part, &rounds.to_string()]);
    sh::run(&mut valgrind)?;
    let text = fs::read_to_string(&out).with_context(|| out.display().to_string())?;
    fs::remove_file(&out)?;
    let line = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let count = line.and_then(|count| count.trim().parse().ok());
    count.with_context(|| format!("callgrind counted nothing of {part}"))
}
