//! Packages: what is in them is listed in `tracer/Cargo.toml` for .deb and .rpm, and here for the
//! tarball.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    Arch, Release,
    build::{FEATURES, PROFILE},
};
use crate::{setup, sh};

/// Shell, and the name that it looks for.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "tracer.bash"),
    ("zsh", "_tracer"),
    ("fish", "tracer.fish"),
];

/// What the tarball has of the sources.
const SOURCES: [&str; 4] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT", "docs"];

/// Manual pages and completions.
pub(super) fn stage(host: Arch, release: &Release) -> Result<()> {
    let tracer = Release::program(host)?;
    let stage = release.stage();
    let mut man = sh::command(&tracer)?;
    sh::run(man.arg("man").arg(stage.join("man")))?;
    let dir = stage.join("completions");
    fs::create_dir_all(&dir)?;
    for (shell, file) in COMPLETIONS {
        let script = sh::output(sh::command(&tracer)?.args(["completions", shell]))?;
        fs::write(dir.join(file), script)?;
    }
    Ok(())
}

pub(super) fn pack(arch: Arch, release: &Release) -> Result<()> {
    tarball(arch, release)?;
    sbom(arch, release)?;
    deb(arch, release)?;
    rpm(arch, release)
}

/// A tool that packs, with the time of everything in the package.
fn tool(name: &str, release: &Release) -> Result<Command> {
    let mut command = sh::command(setup::packer(name)?)?;
    command.env("SOURCE_DATE_EPOCH", &release.epoch);
    Ok(command)
}

fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", sh::line(command));
    sh::run(command)
}

fn tarball(arch: Arch, release: &Release) -> Result<()> {
    let root = sh::root()?;
    let name = format!("tracer-{}-{}", release.version, arch.name());
    let dir = release.stage().join(&name);
    fs::create_dir_all(&dir)?;
    fs::copy(Release::program(arch)?, dir.join("tracer"))?;
    let mut copy = sh::command("cp")?;
    copy.arg("-r").args(SOURCES.map(|part| root.join(part)));
    let stage = release.stage();
    copy.args([stage.join("man"), stage.join("completions")]);
    sh::run(copy.arg(&dir))?;
    // sorted, of nobody, all from one time: the same bytes each time
    let mut tar = sh::command("tar")?;
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u+rw,go=rX", "--format=gnu"])
        .arg(format!("--mtime=@{}", release.epoch))
        // gzip would write the time
        .args(["--use-compress-program", "gzip -9n"])
        .arg("-C")
        .arg(&stage);
    run(tar.arg("-cf").arg(release.tarball(arch)).arg(&name))
}

/// Which crates are in the program, in the format `CycloneDX`.
fn sbom(arch: Arch, release: &Release) -> Result<()> {
    let file = release.sbom(arch);
    // the tool writes beside each manifest of the workspace
    let name = ".tracer-sbom";
    let mut cyclonedx = tool("cargo-cyclonedx", release)?;
    cyclonedx.args(["cyclonedx", "--format", "json", "--spec-version", "1.5"]);
    cyclonedx.args(["--manifest-path", "tracer/Cargo.toml", "--no-build-deps"]);
    cyclonedx.args(["--target", &arch.target(), "--override-filename", name]);
    cyclonedx.args(["--features", FEATURES]);
    let made = run(cyclonedx.arg("-qq"));
    let (mut wanted, root) = (None, sh::root()?);
    for member in ["tracer", "tracer-ebpf", "xtask", "tests"] {
        let written = root.join(member).join(format!("{name}.json"));
        if written.exists() {
            let text = fs::read_to_string(&written)?;
            fs::remove_file(&written)?;
            if member == "tracer" {
                wanted = Some(text);
            }
        }
    }
    made?;
    let text = wanted.context("cargo-cyclonedx wrote nothing for tracer")?;
    // it names packages of the workspace by where they lie
    let text = text.replace(&root.display().to_string(), "/tracer");
    fs::write(&file, text).with_context(|| file.display().to_string())
}

fn deb(arch: Arch, release: &Release) -> Result<()> {
    let mut deb = tool("cargo-deb", release)?;
    deb.args(["--no-build", "--no-strip", "--package", "tracer"]);
    deb.args(["--profile", PROFILE, "--target", &arch.target(), "--quiet"]);
    run(deb.arg("--output").arg(release.deb(arch)))
}

fn rpm(arch: Arch, release: &Release) -> Result<()> {
    let mut rpm = tool("cargo-generate-rpm", release)?;
    rpm.args([
        "generate-rpm",
        "--package",
        "tracer",
        "--auto-req",
        "disabled",
    ]);
    rpm.args(["--profile", PROFILE, "--target", &arch.target()]);
    rpm.args(["--source-date", &release.epoch]);
    run(rpm.arg("--output").arg(release.rpm(arch)))
}

/// `SHA256SUMS`, for `sha256sum --check`.
pub(super) fn checksums(release: &Release) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(&release.dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    let mut sum = sh::command("sha256sum")?;
    sum.current_dir(&release.dir);
    let names = files
        .iter()
        .filter_map(|file| file.file_name().map(Path::new));
    let text = sh::output(sum.args(names))?;
    fs::write(release.sums(), text).context("writing SHA256SUMS")
}
