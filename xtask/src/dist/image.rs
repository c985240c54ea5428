//! Tests of the container image, and of the program for Arm: made and started here, without a registry
//! and without a machine of that kind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};

use super::{Arch, Release};
use crate::{setup, sh};

const CONTAINERFILE: &str = "docs/kubernetes/Containerfile";

/// buildah with a store of its own, that needs no daemon, no overlay file system and no user
/// namespaces. Gone when it is dropped.
struct Store(PathBuf);

impl Store {
    fn new(release: &Release) -> Result<Self> {
        let store = Self(release.dir.join("images"));
        fs::create_dir_all(&store.0)?;
        Ok(store)
    }

    fn command(&self) -> Result<Command> {
        let mut buildah = sh::command("buildah")?;
        buildah.args(["--storage-driver", "vfs"]);
        buildah.arg("--root").arg(self.0.join("root"));
        buildah.arg("--runroot").arg(self.0.join("run"));
        Ok(buildah)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let said = sh::output(self.command()?.args(args))?;
        Ok(said.trim().to_owned())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // containers are unmounted with them
        let _removed = self.run(&["rm", "--all"]);
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The image holds the program and nothing else, starts as the manifests expect, and is the same
/// when it is made again.
pub(super) fn image(release: &Release) -> Result<()> {
    setup::buildah()?;
    let store = Store::new(release)?;
    let root = sh::root()?.display().to_string();
    let file = format!("{root}/{CONTAINERFILE}");
    let build = || {
        store.run(&[
            "build",
            "--isolation",
            "chroot",
            "--quiet",
            "--no-cache",
            "--timestamp",
            &release.epoch,
            "--file",
            &file,
            "--tag",
            "localhost/tracer:test",
            &root,
        ])
    };
    let id = build()?;
    ensure!(id == build()?, "the second image is another one");
    let container = store.run(&["from", "localhost/tracer:test"])?;
    let tree = store.run(&["mount", &container])?;
    let all = fs::read_dir(&tree)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    ensure!(all == ["tracer"], "in the image: {all:?}");
    let same =
        fs::read(Path::new(&tree).join("tracer"))? == fs::read(Release::program(Arch::X86)?)?;
    ensure!(same, "the image has another program");
    store.run(&["umount", &container])?;
    let config = store.run(&["inspect", "--format", "{{.OCIv1.Config}}", &container])?;
    for part in ["0:0", "[/tracer]", "[doctor]"] {
        ensure!(config.contains(part), "no {part} in {config}");
    }
    let said = store.run(&[
        "run",
        "--isolation",
        "chroot",
        &container,
        "--",
        "/tracer",
        "--version",
    ])?;
    ensure!(said == format!("tracer {}", release.version), "{said}");
    let size = fs::metadata(Release::program(Arch::X86)?)?.len();
    println!("the image is one file of {size} bytes");
    Ok(())
}

/// The program for Arm starts: its processor is emulated, the kernel is this one, so that it cannot
/// trace here.
pub(super) fn arm(release: &Release) -> Result<()> {
    let program = Release::program(Arch::Arm)?;
    let qemu = setup::emulator()?;
    let emulated = |args: &[&str]| -> Result<Output> {
        let mut command = sh::command(&qemu)?;
        Ok(command.arg(&program).args(args).output()?)
    };
    let said = emulated(&["--version"])?;
    let version = format!("tracer {}\n", release.version);
    ensure!(said.stdout == version.as_bytes(), "{said:?}");
    let capture = first_capture(&sh::root()?.join("tests/fixtures/captures"))?;
    let path = capture.to_str().context("no UTF-8")?;
    let args = ["read", "-o", "json", path];
    let (there, here) = (
        emulated(&args)?,
        sh::command(Release::program(Arch::X86)?)?
            .args(args)
            .output()?,
    );
    ensure!(!here.stdout.is_empty() && there == here, "{there:?}");
    Ok(())
}

/// A recording of the fixtures: what is read from it does not depend on the machine.
fn first_capture(dir: &Path) -> Result<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    all.retain(|file| file.extension().is_some_and(|e| e == "pcapng"));
    all.sort();
    all.into_iter().next().context("no capture")
}
