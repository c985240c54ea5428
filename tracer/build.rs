//! Builds the BPF object with the compiler that builds tracer, and leaves it in `OUT_DIR`.
//!
//! `concat!(env!("OUT_DIR"), "/tracer-bpf")` is the object, for `aya::include_bytes_aligned!`.
//!
//! BPF is a tier-3 target, so that `core` is built from source (`-Z build-std`). Stable rustc does
//! that only with `RUSTC_BOOTSTRAP=1`, which is set for the nested cargo alone: in the outer build
//! it would switch host crates to nightly features.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

const OBJECT: &str = "tracer-bpf";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        // cargo shows this line alone, instead of everything that the script printed
        Err(error) => {
            println!("cargo::error={error:#}");
            ExitCode::SUCCESS
        }
    }
}

fn build() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace root")?;
    for input in [
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "tracer-ebpf/Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!(
        "cargo::rerun-if-changed={}",
        root.join("tracer-ebpf/src").display()
    );
    println!("cargo::rerun-if-changed=build.rs");

    require_rust_src()?;
    let linker = find_linker(root)?;
    println!("cargo::rerun-if-changed={}", linker.display());

    let target = match env::var("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    // one directory for all outer profiles, and not the outer one, whose lock is held by now
    let target_dir = root.join("target/bpf");
    compile(root, &linker, target, &target_dir)?;

    let object = target_dir.join(target).join("release").join(OBJECT);
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?).join(OBJECT);
    fs::copy(&object, &out)
        .with_context(|| format!("copying {} to {}", object.display(), out.display()))?;
    Ok(())
}

fn compile(root: &Path, linker: &Path, target: &str, target_dir: &Path) -> Result<()> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let mut linker_flag = OsString::from("-Clinker=");
    linker_flag.push(linker);
    let arch_flag = format!("--cfg=bpf_target_arch=\"{arch}\"");
    let mut flags = OsString::from(arch_flag);
    // the object names its sources: not by where they lie on this machine
    for flag in remapped(root)? {
        flags.push("\x1f");
        flags.push(flag);
    }
    for flag in ["-Cdebuginfo=2", "-Clink-arg=--btf"]
        .map(OsString::from)
        .into_iter()
        .chain([linker_flag])
    {
        flags.push("\x1f");
        flags.push(flag);
    }

    let mut cargo = Command::new(env::var_os("CARGO").context("CARGO is not set")?);
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "tracer-ebpf",
            "--bin",
            OBJECT,
        ])
        .args(["-Zbuild-std=core", "--target", target, "--target-dir"])
        .arg(target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // clippy puts its driver here
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    if env::var_os("CARGO_FEATURE_BPF_LOG").is_some() {
        cargo.args(["--features", "log"]);
    }
    let output = cargo
        .output()
        .with_context(|| format!("starting {cargo:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let level = if output.status.success() {
        "warning"
    } else {
        "error"
    };
    for line in text.lines() {
        println!("cargo::{level}={line}");
    }
    if !output.status.success() {
        bail!(
            "the BPF object does not build ({}): {cargo:?}",
            output.status
        );
    }
    Ok(())
}

/// Flags that make paths of this machine the same as those of any other.
fn remapped(root: &Path) -> Result<Vec<OsString>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let pairs = [
        (Some(root.to_owned()), "/tracer"),
        (home, "/cargo"),
        (Some(sysroot()?), "/rust"),
    ];
    let flag = |(from, to): (Option<PathBuf>, &str)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from?);
        flag.push("=");
        flag.push(to);
        Some(flag)
    };
    Ok(pairs.into_iter().filter_map(flag).collect())
}

fn sysroot() -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").context("RUSTC is not set")?;
    let output = Command::new(&rustc)
        .args(["--print", "sysroot"])
        .output()
        .with_context(|| format!("starting {}", rustc.display()))?;
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// `core` is compiled from the source that rustup's component `rust-src` installs.
fn require_rust_src() -> Result<()> {
    let source = sysroot()?.join("lib/rustlib/src/rust/library/core/Cargo.toml");
    if !source.is_file() {
        bail!("building the BPF object needs rust-src: run `cargo xtask setup`");
    }
    Ok(())
}

/// The linker that `cargo xtask setup` installed, or else the one in `PATH`.
fn find_linker(root: &Path) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = [root.join("target/toolchain/bin")]
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|dir| dir.join("bpf-linker"))
        .find(|file| file.is_file());
    found.context("building the BPF object needs bpf-linker: run `cargo xtask setup`")
}
