//! `cargo xtask ci`: what a change must pass. `lint` is most of it that needs no root.

use anyhow::Result;

use crate::{layers, setup, sh, test};

pub(crate) fn run() -> Result<()> {
    lint()?;
    test::run(&test::Args::default())?;
    test::run(&test::Args::of_kube())
}

/// Format, layers, lints and documentation, the cheap ones first.
pub(crate) fn lint() -> Result<()> {
    setup::toolchain()?;
    step(&["fmt", "--all", "--check"])?;
    layers::check()?;
    step(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?;
    bpf_clippy()?;
    doc()
}

fn step(args: &[&str]) -> Result<()> {
    let mut cargo = sh::cargo()?;
    cargo.args(args);
    println!("$ {}", sh::line(&cargo));
    sh::run(&mut cargo)
}

/// The host's clippy sees only the shared half of tracer-ebpf.
fn bpf_clippy() -> Result<()> {
    let mut cargo = sh::cargo()?;
    cargo
        .args([
            "clippy",
            "--package",
            "tracer-ebpf",
            "--release",
            "--features",
            "log",
        ])
        .args([
            "-Zbuild-std=core",
            "--target",
            "bpfel-unknown-none",
            "--target-dir",
            "target/bpf",
        ])
        .args(["--", "-D", "warnings"])
        // build-std on the pinned stable compiler, as tracer/build.rs does it
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "--cfg=bpf_target_arch=\"x86_64\"",
        );
    println!("$ {}", sh::line(&cargo));
    sh::run(&mut cargo)
}

fn doc() -> Result<()> {
    let mut cargo = sh::cargo()?;
    cargo.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    // private items are documented as well, so that links to them lead somewhere
    cargo.env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private_intra_doc_links",
    );
    println!("$ {}", sh::line(&cargo));
    sh::run(&mut cargo)
}
