//! Debian's archive without touching the system's packages: sources, lists and cache of our own, but
//! the mirror and the keys that this machine's apt uses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::sh;

/// Names the mirror on a machine whose own apt uses no Debian archive.
const MIRROR: &str = "TRACER_DEBIAN_MIRROR";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite of the archive, with the lists of its packages.
pub(super) struct Suite {
    dir: PathBuf,
    name: String,
}

impl Suite {
    /// Fetches the lists of `name` into `dir`. apt checks their signatures.
    pub(super) fn fetch(name: &str, dir: &Path) -> Result<Self> {
        ensure!(
            Path::new(KEYS).exists(),
            "{KEYS} is missing, with which apt checks Debian's archive: \
             install the package debian-archive-keyring"
        );
        for part in ["none", "lists/partial", "cache/archives/partial"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).with_context(|| format!("creating {}", part.display()))?;
        }
        let sources = format!(
            "Types: deb\nURIs: {}\nSuites: {name}\nComponents: main\nArchitectures: amd64\n\
             Signed-By: {KEYS}\n",
            mirror()?
        );
        fs::write(dir.join("suite.sources"), sources)?;
        let suite = Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
        };
        sh::run(suite.apt("apt-get")?.args(["-qq", "update"]))
            .context("the list of Debian's kernels needs the network once")?;
        Ok(suite)
    }

    /// The packages that `kernel`, like "6.12", is in: the newest build for virtual machines.
    pub(super) fn packages_of(&self, kernel: &str) -> Result<Vec<String>> {
        let names = |start: String| -> Result<String> {
            sh::output(self.apt("apt-cache")?.args(["pkgnames", &start]))
        };
        let images = names(format!("linux-image-{kernel}."))?;
        let Some(build) = newest_build(&images) else {
            bail!("Debian's {} has no kernel {kernel} any more", self.name);
        };
        // since 7.0 linux-image-… is empty and depends on the packages that have the files
        let parts = names(format!("linux-binary-{build}"))?;
        let is_split = parts.lines().any(|name| name.ends_with(build));
        // linux-base-… names the modules that are built in
        let kinds: &[&str] = if is_split {
            &["binary", "modules", "base"]
        } else {
            &["image"]
        };
        let package = |kind: &&str| format!("linux-{kind}-{build}");
        Ok(kinds.iter().map(package).collect())
    }

    /// Downloads a package, of which apt checks the hash, and unpacks it below `target`.
    pub(super) fn unpack(&self, package: &str, target: &Path) -> Result<()> {
        let debs = self.dir.join("cache").join(package);
        fs::create_dir_all(&debs)?;
        let mut download = self.apt("apt-get")?;
        sh::run(
            download
                .args(["-qq", "download", package])
                .current_dir(&debs),
        )
        .context("a kernel that is not in the cache needs the network")?;
        for deb in fs::read_dir(&debs)? {
            sh::run(
                sh::command("dpkg-deb")?
                    .arg("--extract")
                    .args([&deb?.path(), target]),
            )?;
        }
        fs::remove_dir_all(&debs).context("removing what was unpacked")
    }

    fn apt(&self, program: &str) -> Result<Command> {
        let mut command = sh::command(program)?;
        let mut set = |key: &str, value: &Path| {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        };
        set("Dir::Etc::SourceParts", &self.dir.join("none"));
        set("Dir::Etc::SourceList", &self.dir.join("suite.sources"));
        set("Dir::State::Lists", &self.dir.join("lists"));
        set("Dir::Cache", &self.dir.join("cache"));
        // the user that apt downloads as may not write here
        command.args(["-o", "APT::Sandbox::User=root"]);
        command.args(["-o", "Acquire::Languages=none"]);
        Ok(command)
    }
}

/// The Debian archive that this machine already uses.
pub(super) fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR) {
        return Ok(mirror);
    }
    let targets = sh::output(sh::command("apt-get")?.args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
    ]))?;
    debian(&targets).map(str::to_owned).with_context(|| {
        format!(
            "no source of this machine's apt is a Debian archive, where the kernels for virtual \
             machines come from: set {MIRROR} to the address of one"
        )
    })
}

/// Finds the archive in lines of label and address. There is no label before the first
/// `apt-get update`; then apt leaves the format's word as it is.
fn debian(targets: &str) -> Option<&str> {
    let mut archives = targets.lines().filter_map(|line| line.split_once(' '));
    archives
        .clone()
        .find(|(label, _)| *label == "Debian")
        .or_else(|| archives.find(|(_, uri)| uri.trim_end_matches('/').ends_with("/debian")))
        .map(|(_, uri)| uri)
}

/// The newest of the kernels for virtual machines among names of packages: what follows
/// `linux-image-`.
fn newest_build(names: &str) -> Option<&str> {
    names
        .lines()
        .filter_map(|name| name.strip_prefix("linux-image-"))
        .filter(|build| build.ends_with("-cloud-amd64"))
        .max_by_key(|build| numbers(build))
}

/// The numbers in a version, which order versions of one kernel.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_cloud_kernel_is_chosen() {
        let names = "linux-image-6.12.94+deb13-cloud-amd64\n\
            linux-image-6.12.107+deb13-cloud-amd64-unsigned\n\
            linux-image-6.12.107+deb13-cloud-amd64\n\
            linux-image-6.12.108+deb13-amd64\n\
            linux-image-6.12.107+deb13-rt-amd64\n";
        assert_eq!(newest_build(names), Some("6.12.107+deb13-cloud-amd64"));
        let old = "linux-image-5.10.0-9-cloud-amd64\nlinux-image-5.10.0-32-cloud-amd64";
        assert_eq!(newest_build(old), Some("5.10.0-32-cloud-amd64"));
        assert_eq!(newest_build("linux-image-6.12.1-amd64"), None);
    }

    #[test]
    fn the_mirror_is_the_archive_and_not_its_security_updates() {
        let targets = "Debian-Security http://m/debian-security/\n\
            Debian http://m/debian/\nother http://x/debian\n";
        assert_eq!(debian(targets), Some("http://m/debian/"));
        assert_eq!(
            debian("$(LABEL) http://m/debian/\n"),
            Some("http://m/debian/")
        );
        assert_eq!(debian("Ubuntu http://m/ubuntu/\n"), None);
    }
}
