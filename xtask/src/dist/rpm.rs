//! The .rpm, installed by rpm itself: in a tree that has nothing but it, also where the machine has other
//! packages.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Uid;

use super::{Arch, Release};
use crate::{setup, sh};

/// Installs the package in an empty tree, runs the program there, and takes the package away again. Mounts are
/// in a namespace of their own and go with it; they are gone before files are erased.
const IN_TREE: &str = r#"
set -eu
package=$1 root=$2
mkdir -p "$root/proc" "$root/sys" "$root/dev"
own() { rpm --root "$root" --dbpath /var/lib/rpm "$@"; }
inside() { env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 chroot "$root" /usr/bin/tracer "$@"; }
rpm --checksig --nosignature "$package"
# a shell for the plugin is all that it asks for, and the tree has none
needs=$(rpm --query --requires --package "$package" | grep -v '^rpmlib(' | sort -u)
test "$needs" = /bin/sh || { echo "it needs $needs"; exit 1; }
own --install --nodeps "$package"
own --query --list tracer | while read -r file; do test -e "$root$file" || { echo "no $file"; exit 1; }; done
own --query --list tracer | grep -q '^/usr/share/man/man8/tracer-check.8'
own --verify --nodeps tracer
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --bind /dev "$root/dev"
inside --version
inside doctor
inside check --for 1s && code=0 || code=$?
test "$code" -eq 4
sh -n "$root/usr/bin/kubectl-tracer"
bash -c 'source "$1" && complete -p tracer' bash "$root/usr/share/bash-completion/completions/tracer"
umount --recursive --lazy "$root/proc" "$root/sys" "$root/dev"
own --erase tracer
# empty directories of documentation stay: the package does not own them
left=$(find "$root" ! -type d ! -path "$root/var/lib/rpm/*")
test -z "$left" || { echo "left behind: $left"; exit 1; }
"#;

pub(super) fn installs(release: &Release) -> Result<()> {
    ensure!(
        Uid::effective().is_root(),
        "a tree of its own needs root: run it with sudo"
    );
    setup::rpm()?;
    let root = release.dir.join("rpm-root");
    fs::create_dir_all(&root)?;
    let mut unshare = sh::command("unshare")?;
    unshare.args(["--mount", "--propagation", "private"]);
    unshare.args(["sh", "-c", IN_TREE, "sh"]);
    let said = sh::output(unshare.arg(release.rpm(Arch::X86)).arg(&root))?;
    println!("{}", said.trim_end());
    fs::remove_dir_all(&root).context("removing the tree of the rpm")
}
