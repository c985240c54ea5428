//! Tests of what is handed out: each package is opened, installed and used.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;
use nix::unistd::Uid;

use super::{Arch, Args, Release, image, pack, rpm, run};
use crate::{
    setup, sh,
    test::Sum,
    vm::{self, Job, Version},
};

/// For one machine: it is emulated.
const LIMIT: Duration = Duration::from_mins(10);

type Test<'a> = (&'a str, &'a dyn Fn() -> Result<()>);

/// Runs tests, says how each ends, and counts.
fn count(tests: &[Test<'_>]) -> Sum {
    let mut sum = Sum::default();
    for (name, test) in tests {
        match test() {
            Ok(()) => {
                println!("test dist: {name} ... ok");
                sum.passed += 1;
            }
            Err(error) => {
                println!("test dist: {name} ... FAILED\n{error:#}");
                sum.failed += 1;
            }
        }
    }
    sum
}

/// Makes the packages and tests them.
pub(crate) fn packages() -> Result<Sum> {
    let release = run(&Args {
        arch: vec![Arch::X86, Arch::Arm],
    })?;
    setup::debootstrap()?;
    Ok(count(&[
        ("the checksums are those of the files", &|| {
            checksums(&release)
        }),
        ("the tarball holds all that its pages name", &|| {
            tarball(&release)
        }),
        ("packing again gives the same bytes", &|| {
            same_again(&release)
        }),
        ("no path of this machine is in the program", &|| no_paths()),
        (
            "the rpm installs in a tree of its own, works and goes",
            &|| rpm::installs(&release),
        ),
        ("the program can ask an API server", &|| asks()),
        ("the bill of materials names what is linked", &|| {
            sbom(&release)
        }),
        ("the image is the program alone and starts", &|| {
            image::image(&release)
        }),
        ("the program for Arm reads as this one does", &|| {
            image::arm(&release)
        }),
        (
            "the deb installs in a clean Debian, works and goes",
            &|| deb(&release),
        ),
    ]))
}

/// Starts the static program, which must be there, on every kernel of the matrix.
pub(crate) fn kernels() -> Result<Sum> {
    let program = Release::program(Arch::X86)?;
    ensure!(
        program.is_file(),
        "there is no {}: run `cargo xtask dist`",
        program.display()
    );
    let mut sum = Sum::default();
    for version in Version::value_variants().iter().copied() {
        let name = format!("the program traces on Linux {}", version.name());
        sum.add(&count(&[(&name, &|| on_kernel(version, &program))]));
    }
    Ok(sum)
}

fn checksums(release: &Release) -> Result<()> {
    let mut check = sh::command("sha256sum")?;
    check.current_dir(&release.dir);
    sh::output(check.args(["--check", "--strict", "SHA256SUMS"])).map(drop)
}

/// Unpacks it, and follows what its README links to.
fn tarball(release: &Release) -> Result<()> {
    let dir = release.dir.join("unpacked");
    fs::create_dir_all(&dir)?;
    let mut tar = sh::command("tar")?;
    sh::run(
        tar.arg("-xzf")
            .arg(release.tarball(Arch::X86))
            .arg("-C")
            .arg(&dir),
    )?;
    let dir = dir.join(format!("tracer-{}-x86_64", release.version));
    let said = sh::output(sh::command(dir.join("tracer"))?.arg("--version"))?;
    ensure!(
        said.trim() == format!("tracer {}", release.version),
        "{said}"
    );
    let readme = fs::read_to_string(dir.join("README.md"))?;
    let links = readme
        .split("](")
        .skip(1)
        .filter_map(|l| l.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        let file = link.split('#').next().unwrap_or(link);
        ensure!(dir.join(file).exists(), "README.md links to {link}");
    }
    for file in ["man/tracer-check.8", "completions/_tracer"] {
        ensure!(dir.join(file).is_file(), "no {file}");
    }
    let owners = sh::output(
        sh::command("tar")?
            .arg("-tvzf")
            .arg(release.tarball(Arch::X86)),
    )?;
    let foreign = owners.lines().find(|line| !line.contains(" 0/0 "));
    ensure!(foreign.is_none(), "{foreign:?}");
    fs::remove_dir_all(release.dir.join("unpacked")).context("removing what was unpacked")
}

fn same_again(release: &Release) -> Result<()> {
    let before = fs::read_to_string(release.sums())?;
    fs::remove_dir_all(release.stage())?;
    pack::stage(Arch::X86, release)?;
    pack::pack(Arch::X86, release)?;
    checksums(release).with_context(|| before)
}

fn no_paths() -> Result<()> {
    let program = fs::read(Release::program(Arch::X86)?)?;
    let root = sh::root()?.display().to_string();
    let home = env::var("HOME").unwrap_or_default();
    for path in [root, format!("{home}/.cargo"), format!("{home}/.rustup")] {
        let found = program.windows(path.len()).any(|w| w == path.as_bytes());
        ensure!(!found, "{path} is in it");
    }
    Ok(())
}

/// It was built with what needs a feature.
fn asks() -> Result<()> {
    let help = sh::output(sh::command(Release::program(Arch::X86)?)?.args(["watch", "--help"]))?;
    ensure!(help.contains("--kube"), "no --kube in:\n{help}");
    Ok(())
}

fn sbom(release: &Release) -> Result<()> {
    let text = fs::read_to_string(release.sbom(Arch::X86))?;
    let bom: serde_json::Value = serde_json::from_str(&text)?;
    ensure!(bom["bomFormat"] == "CycloneDX", "{}", bom["bomFormat"]);
    let components = bom["components"].as_array().context("no components")?;
    let names: Vec<&str> = components
        .iter()
        .filter_map(|component| component["name"].as_str())
        .collect();
    for name in ["aya", "tokio", "clap", "tracer-ebpf", "kube", "rustls"] {
        ensure!(names.contains(&name), "no {name} in {names:?}");
    }
    ensure!(!names.contains(&"insta"), "a crate of the tests is in it");
    Ok(())
}

/// Installs the package in a Debian that has nothing but itself, runs it there, and takes it away
/// again. Mounts are in a namespace of their own and go with it.
const IN_CHROOT: &str = r#"
set -eu
base=$1 deb=$2 root=$3
mkdir -p "$root"
mount -t tmpfs -o size=1500m tmpfs "$root"
tar -xf "$base" -C "$root"
mkdir -p "$root/proc" "$root/sys" "$root/dev"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --bind /dev "$root/dev"
cp "$deb" "$root/tracer.deb"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
before=$(inside dpkg-query -W -f '${Package}
')
inside dpkg --install /tracer.deb
inside tracer --version
inside tracer doctor
inside sh -c 'tracer check --for 1s; test $? -eq 4'
test -s "$root/usr/share/bash-completion/completions/tracer"
inside bash -c 'source /usr/share/bash-completion/completions/tracer && complete -p tracer'
inside sh -n /usr/bin/kubectl-tracer
inside dpkg --verify tracer
inside dpkg --purge tracer
test "$before" = "$(inside dpkg-query -W -f '${Package}
')"
! find "$root/usr" "$root/etc" "$root/var/lib" -name '*tracer*' ! -path '*/dpkg/*' | grep .
"#;

fn deb(release: &Release) -> Result<()> {
    ensure!(
        Uid::effective().is_root(),
        "a chroot needs root: run it with sudo"
    );
    let base = base()?;
    let root = release.dir.join("chroot");
    let mut unshare = sh::command("unshare")?;
    unshare.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        IN_CHROOT,
        "sh",
    ]);
    let deb = release.deb(Arch::X86);
    let said = sh::output(unshare.arg(&base).arg(&deb).arg(&root))?;
    println!("{}", said.trim_end());
    fs::remove_dir(&root).context("something is left of the chroot")
}

/// A minimal Debian as a tar file; made once.
fn base() -> Result<PathBuf> {
    let file = sh::root()?.join("target/toolchain/debian.tar");
    if file.is_file() {
        return Ok(file);
    }
    let dir = file.with_extension("dir");
    let remove = |dir: &Path| {
        if dir.exists() {
            fs::remove_dir_all(dir)
        } else {
            Ok(())
        }
    };
    remove(&dir)?;
    let mirror = vm::mirror()?;
    let mut debootstrap = sh::command("debootstrap")?;
    debootstrap.args(["--variant=minbase", "--arch=amd64", "stable"]);
    debootstrap.arg(&dir).arg(mirror);
    sh::run(debootstrap.stdout(Stdio::null()))
        .context("the clean Debian needs the network once")?;
    let part = file.with_extension("part");
    let mut tar = sh::command("tar")?;
    tar.arg("-C")
        .arg(&dir)
        .arg("--exclude=./var/cache/apt/archives/*.deb");
    sh::run(tar.arg("-cf").arg(&part).arg("."))?;
    remove(&dir)?;
    fs::rename(&part, &file)?;
    Ok(file)
}

fn on_kernel(version: Version, program: &Path) -> Result<()> {
    let tracer = sh::quoted(program.as_os_str());
    // its own loopback, and a device to attach to
    let script = format!(
        "set -e\n{tracer} --version\n{tracer} doctor\nip link add t0 type veth peer name t1\n\
         ip link set t0 up\nset +e\n{tracer} check --for 2s; test $? -eq 4\n"
    );
    let job = Job {
        script,
        dir: sh::root()?.to_owned(),
        env: Vec::new(),
        limit: LIMIT,
    };
    let run = vm::run_job(version, &job, vm::show)?;
    ensure!(run.status == Some(0), "it ended with {:?}", run.status);
    Ok(())
}
