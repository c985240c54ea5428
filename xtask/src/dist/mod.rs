//! `cargo xtask dist`: what is handed out. The same sources and compiler are meant to give the same bytes on every
//! machine: nothing of it holds a path or a time of the build.

mod build;
mod image;
mod pack;
mod rpm;
mod verify;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

pub(crate) use verify::{kernels, packages};

use crate::{setup, sh};

/// For whom.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// For this processor (repeatable)
    #[arg(long, value_enum, value_name = "ARCH", default_value = "x86_64")]
    arch: Vec<Arch>,
}

/// A processor.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arch {
    #[default]
    #[value(name = "x86_64")]
    X86,
    /// Is built and started in an emulator; it has never traced
    #[value(name = "aarch64")]
    Arm,
}

impl Arch {
    fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "aarch64",
        }
    }

    /// musl, so that the program is one file that needs nothing of the node.
    fn target(self) -> String {
        format!("{}-unknown-linux-musl", self.name())
    }

    /// Whether its programs run here.
    fn is_host(self) -> bool {
        env::consts::ARCH == self.name()
    }
}

/// What is made, and where.
pub(crate) struct Release {
    version: String,
    /// Time of everything in the packages, seconds since 1970.
    epoch: String,
    /// Where the packages lie.
    pub(crate) dir: PathBuf,
}

impl Release {
    fn new() -> Result<Self> {
        let root = sh::root()?;
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => last_commit()?,
        };
        Ok(Self {
            // that of the workspace
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch,
            dir: root.join("target/packages"),
        })
    }

    /// Files that are made on the way: manual pages, completions.
    fn stage(&self) -> PathBuf {
        self.dir.join("stage")
    }

    /// The static program.
    fn program(arch: Arch) -> Result<PathBuf> {
        let file = format!("target/{}/{}/tracer", arch.target(), build::PROFILE);
        Ok(sh::root()?.join(file))
    }

    fn tarball(&self, arch: Arch) -> PathBuf {
        let name = format!("tracer-{}-{}.tar.gz", self.version, arch.name());
        self.dir.join(name)
    }

    fn deb(&self, arch: Arch) -> PathBuf {
        let debian = match arch {
            Arch::X86 => "amd64",
            Arch::Arm => "arm64",
        };
        self.dir
            .join(format!("tracer_{}-1_{debian}.deb", self.version))
    }

    fn rpm(&self, arch: Arch) -> PathBuf {
        let name = format!("tracer-{}-1.{}.rpm", self.version, arch.name());
        self.dir.join(name)
    }

    fn sbom(&self, arch: Arch) -> PathBuf {
        let name = format!("tracer-{}-{}.cdx.json", self.version, arch.name());
        self.dir.join(name)
    }

    fn sums(&self) -> PathBuf {
        self.dir.join("SHA256SUMS")
    }
}

fn last_commit() -> Result<String> {
    let time = sh::output(sh::command("git")?.args(["log", "-1", "--format=%ct"]))
        .context("outside of a git checkout, set SOURCE_DATE_EPOCH")?;
    Ok(time.trim().to_owned())
}

/// Builds and packs.
pub(crate) fn run(args: &Args) -> Result<Release> {
    let release = Release::new()?;
    setup::toolchain()?;
    setup::packers()?;
    if release.dir.exists() {
        fs::remove_dir_all(&release.dir).context("removing old packages")?;
    }
    fs::create_dir_all(release.stage())?;
    // manual pages and completions are made by a program that runs here
    let host = [Arch::X86, Arch::Arm].into_iter().find(|a| a.is_host());
    let host = host.context("packages are made on x86_64 or aarch64")?;
    build::compile(host, &release)?;
    pack::stage(host, &release)?;
    for arch in &args.arch {
        if *arch != host {
            build::compile(*arch, &release)?;
        }
        pack::pack(*arch, &release)?;
    }
    pack::checksums(&release)?;
    show(&release)?;
    Ok(release)
}

/// Names and sizes.
fn show(release: &Release) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(&release.dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    for file in files.iter().filter(|file| file.is_file()) {
        println!("{:>10} {}", fs::metadata(file)?.len(), shown(file)?);
    }
    Ok(())
}

/// Below the root of the sources.
fn shown(file: &Path) -> Result<std::path::Display<'_>> {
    Ok(file.strip_prefix(sh::root()?).unwrap_or(file).display())
}
