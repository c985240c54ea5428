//! `cargo xtask test --kube`: tests of names from an API server, with a tracer that has the feature
//! `kube`. A hundred crates more, so that the plain tests do without.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build, e2e, setup, sh,
    test::{self, Args, Sum},
};

const FEATURE: [&str; 2] = ["--features", "kube"];

/// Builds and tests.
pub(crate) fn run(args: &Args) -> Result<Sum> {
    setup::all()?;
    let mut sum = Sum::default();
    match is_optional() {
        Ok(()) => {
            println!("test kube: a plain build has none of its crates ... ok");
            sum.passed += 1;
        }
        Err(error) => {
            println!("test kube: a plain build has none of its crates ... FAILED\n{error:#}");
            sum.failed += 1;
        }
    }
    let mut clippy = sh::cargo()?;
    clippy.args(["clippy", "--package", "tracer", "--lib"]);
    clippy.args(FEATURE).args(["--", "-D", "warnings"]);
    sh::run(&mut clippy).context("lints of the feature")?;
    let tracer = tracer()?;
    let mut unit = sh::cargo()?;
    unit.args(["test", "--package", "tracer", "--lib"]);
    unit.args(FEATURE).args(["--", "apiserver::"]);
    sum.add(&test::program(&mut unit)?);
    let only = [&FEATURE[..], &["--test", "kube"]].concat();
    sum.add(&e2e::run(args, &tracer, &only)?);
    Ok(sum)
}

/// The program with the feature, out of the way of the next build without it.
fn tracer() -> Result<PathBuf> {
    // together with its tests: apart, cargo would compile what they share twice
    let built = build::tracer_with(&[&FEATURE[..], &["--tests"]].concat())?;
    let dir = sh::root()?.join("target/kube");
    fs::create_dir_all(&dir)?;
    let file = dir.join("tracer");
    fs::copy(&built, &file).with_context(|| file.display().to_string())?;
    Ok(file)
}

fn is_optional() -> Result<()> {
    let tree = |features: &[&str]| -> Result<bool> {
        let mut cargo = sh::cargo()?;
        cargo.args(["tree", "--package", "tracer", "--edges", "normal,build"]);
        cargo.args(["--prefix", "none", "--locked"]).args(features);
        let text = sh::output(&mut cargo)?;
        let has = |name: &str| text.lines().any(|line| line.starts_with(name));
        Ok(has("kube ") || has("rustls ") || has("k8s-openapi "))
    };
    ensure!(!tree(&[])?, "tracer has them without the feature");
    ensure!(tree(&FEATURE)?, "tracer has none of them with the feature");
    Ok(())
}
