//! The first file tree of a guest: busybox, the modules for virtiofs, the scripts, the job.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use super::{cpio::Archive, kernel::Kernel};
use crate::sh;

const INIT: &str = include_str!("init.sh");
const GUEST: &str = include_str!("guest.sh");

/// What the guest needs to reach the host's files. The kernel loads all others from there itself.
const MODULES: &[&str] = &["virtio_pci", "virtiofs", "overlay"];

/// Builds the archive that runs `job`, a shell script.
pub(super) fn build(kernel: &Kernel, job: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.directory("bin");
    archive.file("bin/busybox", &busybox()?);
    archive.file("init", INIT.as_bytes());

    archive.directory("vm");
    archive.file("vm/guest.sh", GUEST.as_bytes());
    archive.file("vm/job.sh", job.as_bytes());
    let modules = kernel.modules();
    archive.file("vm/modules", modules.display().to_string().as_bytes());

    archive.directory("m");
    let mut list = String::new();
    for (number, file) in needed(kernel)?.iter().enumerate() {
        let name = format!("m/{number}.ko");
        archive.file(&name, &unpacked(Path::new(file))?);
        // writing to a String cannot fail
        let _ = writeln!(list, "/{name}");
    }
    archive.file("modules.list", list.as_bytes());
    Ok(archive.finish())
}

/// Before the guest reaches the host's files it has no libraries.
fn busybox() -> Result<Vec<u8>> {
    let path = sh::find("busybox").context("there is no busybox: install busybox-static")?;
    let program = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let loader = b"/lib64/ld-linux";
    ensure!(
        !program.windows(loader.len()).any(|bytes| bytes == loader),
        "{} needs shared libraries: install busybox-static",
        path.display()
    );
    Ok(program)
}

/// The files of [`MODULES`] and of what they depend on, in the order in which they load.
fn needed(kernel: &Kernel) -> Result<Vec<String>> {
    let mut files: Vec<String> = Vec::new();
    for module in MODULES {
        let modprobe = sh::find("modprobe").context("there is no modprobe: install kmod")?;
        let mut command = sh::command(modprobe)?;
        command.arg("--dirname").arg(&kernel.dir);
        command.args(["--set-version", &kernel.release, "--show-depends", module]);
        for file in insmod_lines(&sh::output(&mut command)?) {
            if !files.iter().any(|known| known == file) {
                files.push(file.to_owned());
            }
        }
    }
    Ok(files)
}

/// Reads what `modprobe --show-depends` prints: `insmod FILE OPTIONS` or `builtin NAME`.
fn insmod_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("insmod")).then(|| words.next())?
    })
}

fn unpacked(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|end| end.to_str()) {
        Some("ko") => return fs::read(file).with_context(|| format!("reading {}", file.display())),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("{} is packed in an unknown way", file.display()),
    };
    let mut command = Command::new(program);
    command.args(["--decompress", "--stdout"]).arg(file);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{}`", sh::line(&command)))?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        sh::line(&command),
        output.status
    );
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_told_from_what_is_built_in() {
        let text = "builtin virtio_pci\n\
            insmod /k/fs/fuse/fuse.ko \n\
            insmod /k/fs/fuse/virtiofs.ko.xz debug=1\n";
        let files: Vec<&str> = insmod_lines(text).collect();
        assert_eq!(files, ["/k/fs/fuse/fuse.ko", "/k/fs/fuse/virtiofs.ko.xz"]);
    }

    #[test]
    fn an_unknown_packing_is_an_error() {
        let error = unpacked(Path::new("/k/a.ko.lz9")).unwrap_err();
        assert_eq!(error.to_string(), "/k/a.ko.lz9 is packed in an unknown way");
    }
}
