//! `cargo xtask fuzz`: any bytes as a capture, a record, type information, any text as a filter, for as
//! long as wanted.

mod seeds;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{setup, sh};

/// What is tried, and how long an input may get. Small inputs are what makes it fast: each is read,
/// replayed and diagnosed.
const TARGETS: &[(&str, u32)] = &[
    ("blocks", 8_192),
    ("capture", 16_384),
    ("decode", 4_096),
    ("filter", 256),
    ("btf", 16_384),
];

/// Which target, and how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this one: `blocks` (whole blocks of any content), `capture` (any bytes), `decode` (records
    /// of the kernel side), `filter` or `btf`
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 900)]
    seconds: u64,
}

/// Makes the seeds and runs each target. The last lines of each are its figures.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::toolchain()?;
    let program = setup::cargo_fuzz()?;
    let root = sh::root()?;
    let captures = captures(&root.join("tests/fixtures/captures"))?;
    for (target, longest) in TARGETS {
        if args.target.as_deref().is_some_and(|t| t != *target) {
            continue;
        }
        let dir = root.join("target/fuzz").join(target);
        let (seeds, corpus) = (dir.join("seeds"), dir.join("corpus"));
        for made in [&seeds, &corpus] {
            fs::create_dir_all(made).with_context(|| format!("creating {}", made.display()))?;
        }
        let mut count = 0;
        for (name, bytes) in &captures {
            let all = match *target {
                "blocks" => seeds::blocks(bytes)?,
                "capture" => seeds::small(bytes)?,
                _ => Vec::new(),
            };
            for (n, seed) in all.iter().enumerate() {
                fs::write(seeds.join(format!("{name}-{n}")), seed)?;
                count += 1;
            }
        }
        println!("fuzz: {target}, {count} seeds, {} s", args.seconds);
        let mut cargo = sh::command(&program)?;
        cargo.current_dir(root.join("tracer"));
        // the sanitizer and its coverage are unstable flags of the pinned compiler
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo.args(["run", target]).args([&corpus, &seeds]);
        let own = root.join("tracer/fuzz/seeds").join(target);
        if own.exists() {
            cargo.arg(own);
        }
        cargo.args(["--", "-print_final_stats=1", "-timeout=20"]);
        cargo.arg(format!("-max_len={longest}"));
        cargo.arg(format!("-max_total_time={}", args.seconds));
        sh::run(&mut cargo)?;
    }
    Ok(())
}

/// The captures in a directory, by name.
fn captures(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "pcapng"))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| -> Result<(String, Vec<u8>)> {
        let name = path.file_stem().unwrap_or_default();
        Ok((name.to_string_lossy().into_owned(), fs::read(path)?))
    };
    paths.iter().map(read).collect()
}
