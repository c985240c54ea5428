//! Finds or installs what a fresh machine lacks. Each installation is announced before it is done.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use crate::sh;

/// Must be built on the LLVM of the compiler that `rust-toolchain.toml` names, because it reads
/// that compiler's bitcode.
const LINKER_VERSION: &str = "0.10.3";

/// Drives libFuzzer.
const FUZZ_VERSION: &str = "0.13.2";

/// File below the sysroot that tells that a rustup component is there.
const COMPONENTS: &[(&str, &str)] = &[
    ("rust-src", "lib/rustlib/src/rust/library/core/Cargo.toml"),
    ("rustfmt", "bin/cargo-fmt"),
    ("clippy", "bin/cargo-clippy"),
];

/// Program and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables-nft", "iptables"),
    ("tmux", "tmux"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("bpftool", "bpftool"),
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("mandoc", "mandoc"),
    ("shellcheck", "shellcheck"),
    ("capsh", "libcap2-bin"),
    ("openssl", "openssl"),
    ("setpriv", "util-linux"),
];

/// Makes the clean system that the package is installed in.
const DEBOOTSTRAP: &[(&str, &str)] = &[("debootstrap", "debootstrap")];

/// Makes container images.
const BUILDAH: &[(&str, &str)] = &[("buildah", "buildah")];

/// Runs programs for Arm: the name of the program differs between releases of Debian.
const EMULATORS: [&str; 2] = ["qemu-aarch64-static", "qemu-aarch64"];

/// Cargo's commands that make packages, with their versions.
const PACKERS: &[(&str, &str)] = &[
    ("cargo-deb", "3.8.0"),
    ("cargo-generate-rpm", "0.21.1"),
    ("cargo-cyclonedx", "0.5.9"),
];

/// What the test of the .rpm needs, also on Debian.
const RPM: &[(&str, &str)] = &[("rpm", "rpm")];

/// What `cargo xtask bench` compares tracer with, and measures with.
const COMPARISON: &[(&str, &str)] = &[("bpftrace", "bpftrace"), ("iperf3", "iperf3")];

/// What counts instructions.
const COUNTER: &[(&str, &str)] = &[("valgrind", "valgrind")];

/// What a virtual machine needs besides virtiofsd, which is in none of the directories of programs.
const MACHINE: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("modprobe", "kmod"),
    ("xz", "xz-utils"),
];

/// The file server of virtual machines: qemu's own up to 7.2, since then a package.
const VIRTIOFSD: &[&str] = &["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// All that building, testing and the demo need.
pub(crate) fn all() -> Result<()> {
    toolchain()?;
    programs()
}

/// What a build needs: rustup components and the BPF linker.
pub(crate) fn toolchain() -> Result<()> {
    let _lock = lock()?;
    components()?;
    linker()
}

/// What the labs and the end-to-end tests run.
pub(crate) fn programs() -> Result<()> {
    present(PROGRAMS)?;
    let _lock = lock()?;
    promtool()
}

/// Prometheus' checker of metrics. Its package would start a server, so that only the program is
/// taken out of it.
fn promtool() -> Result<()> {
    let home = sh::root()?.join("target/toolchain");
    let file = home.join("bin/promtool");
    if file.is_file() || sh::find("promtool").is_some() {
        return Ok(());
    }
    announce("promtool of the package prometheus into target/toolchain");
    let dir = home.join("prometheus");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let mut download = sh::command("apt-get")?;
    download.args([
        "-qq",
        "-o",
        "APT::Sandbox::User=root",
        "download",
        "prometheus",
    ]);
    sh::run(download.current_dir(&dir)).context("run by hand: apt-get download prometheus")?;
    let debs: Vec<PathBuf> = fs::read_dir(&dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    for deb in debs
        .iter()
        .filter(|d| d.extension().is_some_and(|e| e == "deb"))
    {
        let mut extract = sh::command("dpkg-deb")?;
        sh::run(extract.arg("--extract").args([deb, &dir]))?;
    }
    fs::create_dir_all(home.join("bin"))?;
    fs::rename(dir.join("usr/bin/promtool"), &file).context("prometheus has no promtool")?;
    fs::remove_dir_all(&dir).context("removing what was unpacked")
}

/// What installing the package in a clean system needs.
pub(crate) fn debootstrap() -> Result<()> {
    present(DEBOOTSTRAP)
}

/// What `cargo xtask bench forward` runs beside tracer.
pub(crate) fn comparison() -> Result<()> {
    present(COMPARISON)
}

/// What `cargo xtask bench instructions` counts with.
pub(crate) fn counter() -> Result<()> {
    present(COUNTER)
}

/// A C compiler for Arm, where packages for it are made on another machine.
pub(crate) fn cross_compiler() -> Result<PathBuf> {
    const NAME: &str = "aarch64-linux-gnu-gcc";
    let _lock = lock()?;
    if sh::find(NAME).is_none() {
        install(&[(NAME, "gcc-aarch64-linux-gnu")])?;
    }
    sh::find(NAME).with_context(|| format!("its package is installed and has no {NAME}"))
}

/// What the test of the .rpm installs it with.
pub(crate) fn rpm() -> Result<()> {
    present(RPM)
}

/// What tests of the image need.
pub(crate) fn buildah() -> Result<()> {
    present(BUILDAH)
}

/// Where the emulator of Arm's processor is.
pub(crate) fn emulator() -> Result<PathBuf> {
    let _lock = lock()?;
    let found = || EMULATORS.iter().find_map(|name| sh::find(name));
    if found().is_none() {
        install(&[(EMULATORS[0], "qemu-user-static")])?;
    }
    found().context("package qemu-user-static is installed and has no emulator of aarch64")
}

/// What `cargo xtask vm` runs. Only done when a virtual machine is wanted: it is much to install.
pub(crate) fn virtual_machine() -> Result<()> {
    present(MACHINE)?;
    let _lock = lock()?;
    for package in ["qemu-system-common", "virtiofsd"] {
        if virtiofsd().is_none() {
            install(&[("virtiofsd", package)])?;
        }
    }
    virtiofsd().map(drop).context("there is no virtiofsd")
}

/// Where the file server of virtual machines is.
pub(crate) fn virtiofsd() -> Option<PathBuf> {
    let elsewhere = VIRTIOFSD.iter().map(PathBuf::from);
    sh::find("virtiofsd").or_else(|| elsewhere.into_iter().find(|file| file.is_file()))
}

/// Installs what is missing of these programs.
fn present(programs: &[(&'static str, &'static str)]) -> Result<()> {
    let _lock = lock()?;
    let missing = missing(programs);
    install(&missing)?;
    lacking(&missing)
}

/// Installs the packages of programs.
fn install(missing: &[(&str, &str)]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<String> = missing
        .iter()
        .map(|(_, package)| package_here(package))
        .collect();
    let by_hand = format!("apt-get install -y {}", packages.join(" "));
    if sh::find("apt-get").is_none() {
        let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
        bail!(
            "install these programs with the system's package manager: {}",
            programs.join(", ")
        );
    }
    if !Uid::effective().is_root() {
        bail!("programs are missing; run: sudo {by_hand}");
    }
    announce(&by_hand);
    let indexed = has_package_lists(Path::new("/var/lib/apt/lists"));
    if !indexed || apt(&["install"], &packages).is_err() {
        announce("apt-get update");
        apt(&["update"], &[])?;
        apt(&["install"], &packages).with_context(|| format!("run by hand: {by_hand}"))?;
    }
    Ok(())
}

/// Fails for a program that its package did not bring.
fn lacking(installed: &[(&'static str, &'static str)]) -> Result<()> {
    match missing(installed).as_slice() {
        [] => Ok(()),
        [(program, package), ..] => bail!("package {package} is installed and has no {program}"),
    }
}

fn missing(programs: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    programs
        .iter()
        .copied()
        .filter(|(program, _)| sh::find(program).is_none())
        .collect()
}

/// Ubuntu has bpftool in the packages of each kernel.
fn package_here(package: &str) -> String {
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if package == "bpftool" && os.lines().any(|line| line == "ID=ubuntu") {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        return format!("linux-tools-common linux-tools-{}", release.trim());
    }
    package.to_owned()
}

fn apt(verb: &[&str], packages: &[String]) -> Result<()> {
    let mut command = sh::command("apt-get")?;
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
    command.args(verb);
    if !packages.is_empty() {
        command
            .args(["-y", "--no-install-recommends"])
            .args(packages);
    }
    sh::run(&mut command)
}

fn has_package_lists(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn components() -> Result<()> {
    let sysroot = sh::output(sh::command("rustc")?.args(["--print", "sysroot"]))?;
    let sysroot = Path::new(sysroot.trim());
    for (component, file) in COMPONENTS {
        if sysroot.join(file).exists() {
            continue;
        }
        if sh::find("rustup").is_none() {
            bail!(
                "the Rust installation in {} lacks {component}, and without rustup it cannot be \
                 added here: install rustup, which then reads rust-toolchain.toml",
                sysroot.display()
            );
        }
        announce(&format!("rustup component add {component}"));
        sh::run(sh::command("rustup")?.args(["component", "add", component]))
            .context("this step needs the network once")?;
    }
    Ok(())
}

fn linker() -> Result<()> {
    let home = sh::root()?.join("target/toolchain");
    let in_path = sh::find("bpf-linker").is_some_and(|file| is_wanted_linker(&file));
    if is_wanted_linker(&home.join("bin/bpf-linker")) || in_path {
        return Ok(());
    }
    announce(&format!(
        "cargo install bpf-linker@{LINKER_VERSION} into target/toolchain, minutes"
    ));
    let mut install = sh::cargo()?;
    install
        .args(["install", "--locked", "--force", "--quiet", "--root"])
        .arg(&home);
    install.arg(format!("bpf-linker@{LINKER_VERSION}"));
    sh::run(&mut install).context("this step needs the network once")
}

/// What `cargo xtask fuzz` runs. Only done when that is wanted.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    let _lock = lock()?;
    let home = sh::root()?.join("target/toolchain");
    let program = home.join("bin/cargo-fuzz");
    if let Some(found) =
        sh::find("cargo-fuzz").or_else(|| program.is_file().then(|| program.clone()))
    {
        return Ok(found);
    }
    announce(&format!(
        "cargo install cargo-fuzz@{FUZZ_VERSION} into target/toolchain"
    ));
    let mut install = sh::cargo()?;
    install
        .args(["install", "--locked", "--quiet", "--root"])
        .arg(&home);
    install.arg(format!("cargo-fuzz@{FUZZ_VERSION}"));
    sh::run(&mut install).context("this step needs the network once")?;
    Ok(program)
}

/// What makes packages. Only done when packages are wanted: it takes minutes.
pub(crate) fn packers() -> Result<()> {
    let _lock = lock()?;
    let home = sh::root()?.join("target/toolchain");
    for (name, version) in PACKERS {
        // the name has the version: another one is another file
        let file = packer(name)?;
        if file.is_file() {
            continue;
        }
        announce(&format!(
            "cargo install {name}@{version} into target/toolchain, minutes"
        ));
        let mut install = sh::cargo()?;
        install.args(["install", "--locked", "--force", "--quiet", "--root"]);
        install.arg(&home).arg(format!("{name}@{version}"));
        sh::run(&mut install).context("this step needs the network once")?;
        fs::rename(home.join("bin").join(name), &file)
            .with_context(|| format!("renaming to {}", file.display()))?;
    }
    Ok(())
}

/// Where one of cargo's commands that make packages is.
pub(crate) fn packer(name: &str) -> Result<PathBuf> {
    let known = PACKERS.iter().find(|(packer, _)| *packer == name);
    let (_, version) = known.with_context(|| format!("{name} makes no packages"))?;
    let file = format!("target/toolchain/bin/{name}-{version}");
    Ok(sh::root()?.join(file))
}

fn is_wanted_linker(file: &Path) -> bool {
    let version = file.is_file().then(|| sh::command(file).ok()).flatten();
    version
        .and_then(|mut linker| sh::output(linker.arg("--version")).ok())
        .is_some_and(|text| text.split_whitespace().any(|word| word == LINKER_VERSION))
}

/// Held while something is looked for or installed, so that two runs do not install at once.
fn lock() -> Result<File> {
    let dir = sh::root()?.join("target");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let path = dir.join(".setup-lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock()
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

fn announce(step: &str) {
    println!("setup: {step}");
}
