//! Debian's kernels, kept in the user's cache directory where all checkouts find them.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use super::apt::Suite;
use crate::sh;

/// The kernels that tracer is tried on, by the first two numbers of their version: which builds of
/// them Debian has changes every few weeks.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    #[value(name = "5.10")]
    V5_10,
    #[value(name = "6.1")]
    V6_1,
    #[default]
    #[value(name = "6.12")]
    V6_12,
    #[value(name = "6.18")]
    V6_18,
    #[value(name = "7.2")]
    V7_2,
    #[value(name = "7.3")]
    V7_3,
}

impl Version {
    /// What is tried as a whole: the kernel of each release of Debian, and the newest. The others are
    /// tried by their names.
    pub(crate) const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V7_3];
    pub(crate) const OLDEST: Self = Self::V5_10;
    pub(crate) const NEWEST: Self = Self::V7_3;

    pub(crate) fn name(self) -> &'static str {
        self.parts().0
    }

    /// The name, and the suite of Debian that has it.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::V5_10 => ("5.10", "bullseye"),
            Self::V6_1 => ("6.1", "bookworm"),
            Self::V6_12 => ("6.12", "trixie"),
            Self::V6_18 => ("6.18", "trixie-backports"),
            Self::V7_2 => ("7.2", "sid"),
            Self::V7_3 => ("7.3", "trixie-backports"),
        }
    }
}

/// An unpacked kernel: its image is `vmlinuz` in `dir`, below which `lib/modules` is.
pub(super) struct Kernel {
    pub(super) dir: PathBuf,
    /// What `uname -r` prints in it.
    pub(super) release: String,
}

impl Kernel {
    /// Takes a kernel from the cache, after downloading it when it is not there.
    pub(super) fn get(version: Version) -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "virtual machines run this machine's programs on kernels for amd64, so that they need \
             an amd64 machine"
        );
        let cache = cache()?;
        fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
        let dir = cache.join(version.name());
        let lock = File::create(cache.join(".lock")).context("creating a lock file")?;
        lock.lock().context("locking the cache of kernels")?;
        if let Some(kernel) = Self::open(&dir)? {
            return Ok(kernel);
        }
        download(version, &dir)?;
        Self::open(&dir)?.with_context(|| format!("no modules in {}", dir.display()))
    }

    pub(super) fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules").join(&self.release)
    }

    fn open(dir: &Path) -> Result<Option<Self>> {
        if !dir.join("vmlinuz").exists() {
            return Ok(None);
        }
        Ok(Some(Self {
            release: release(dir)?,
            dir: dir.to_owned(),
        }))
    }
}

/// `$XDG_CACHE_HOME` must be absolute to count, says the XDG base directory specification.
fn cache() -> Result<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME names a directory for kernels")?
        .join("tracer/kernels"))
}

/// Downloads and unpacks beside the final place, so that an interrupted download leaves no half of
/// a kernel there.
fn download(version: Version, dir: &Path) -> Result<()> {
    let (name, suite) = version.parts();
    let new = dir.with_file_name(format!("{name}.new"));
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("removing {}", new.display()))?;
    }
    let tree = new.join("tree");
    fs::create_dir_all(&tree).with_context(|| format!("creating {}", tree.display()))?;
    println!(
        "vm: downloading kernel {name} of Debian {suite} into {}",
        dir.display()
    );
    let suite = Suite::fetch(suite, &new.join("apt"))?;
    for package in suite.packages_of(name)? {
        println!("vm: apt-get download {package}");
        suite.unpack(&package, &tree)?;
    }
    // newer packages rely on /lib being a link to /usr/lib
    if !tree.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", tree.join("lib"))?;
    }
    let release = release(&tree)?;
    fs::rename(image(&tree, &release)?, tree.join("vmlinuz"))?;
    let depmod = sh::find("depmod").context("there is no depmod: install kmod")?;
    sh::run(
        sh::command(depmod)?
            .arg("--basedir")
            .args([tree.as_os_str(), release.as_ref()]),
    )?;
    fs::rename(&tree, dir).with_context(|| format!("moving a kernel to {}", dir.display()))?;
    fs::remove_dir_all(&new).with_context(|| format!("removing {}", new.display()))
}

fn release(tree: &Path) -> Result<String> {
    let modules = tree.join("lib/modules");
    let mut entries =
        fs::read_dir(&modules).with_context(|| format!("reading {}", modules.display()))?;
    let entry = entries
        .next()
        .with_context(|| format!("{} is empty", modules.display()))??;
    let name = entry.file_name();
    Ok(name
        .to_str()
        .context("a release of Linux is ASCII")?
        .to_owned())
}

/// In `boot` up to 6.x, beside the modules since.
fn image(tree: &Path, release: &str) -> Result<PathBuf> {
    [
        tree.join("boot").join(format!("vmlinuz-{release}")),
        tree.join("lib/modules").join(release).join("vmlinuz"),
    ]
    .into_iter()
    .find(|file| file.is_file())
    .with_context(|| format!("the packages of {release} have no vmlinuz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_is_asked_for_by_its_name() {
        for version in Version::value_variants() {
            let name = version.name();
            assert_eq!(Version::from_str(name, false).as_ref(), Ok(version));
        }
    }
}
