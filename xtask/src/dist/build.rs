//! The static program.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{Arch, Release};
use crate::{setup, sh};

/// In `Cargo.toml`.
pub(super) const PROFILE: &str = "dist";

/// What is handed out can ask an API server for names; who does not ask it pays nothing but bytes of a file.
pub(super) const FEATURES: &str = "kube";

pub(super) fn compile(arch: Arch, release: &Release) -> Result<()> {
    let target = arch.target();
    sh::run(sh::command("rustup")?.args(["target", "add", &target]))
        .context("the target's standard library needs the network once")?;
    let mut cargo = sh::cargo()?;
    cargo
        .args([
            "build",
            "--locked",
            "--package",
            "tracer",
            "--bin",
            "tracer",
        ])
        .args(["--profile", PROFILE, "--target", &target])
        .args(["--features", FEATURES])
        .env("RUSTFLAGS", remapped()?)
        .env("SOURCE_DATE_EPOCH", &release.epoch);
    // ring has some C, which needs no C library: any compiler for this processor will do, as long as it
    // adds no calls of its own library's checks
    let c = |what: &str| format!("{what}_{}", target.replace('-', "_"));
    cargo.env(c("CFLAGS"), "-U_FORTIFY_SOURCE");
    if arch.is_host() {
        cargo.env(c("CC"), "cc");
    } else {
        cargo.env(c("CC"), setup::cross_compiler()?);
        // musl's start files come with the target: rustc's own linker is enough
        let name = format!(
            "CARGO_TARGET_{}_LINKER",
            target.to_uppercase().replace('-', "_")
        );
        cargo.env(name, "rust-lld");
    }
    println!("$ {}", sh::line(&cargo));
    sh::run(&mut cargo)?;
    let program = Release::program(arch)?;
    is_static(&program).with_context(|| program.display().to_string())
}

/// Keeps the paths of this machine out of the program.
fn remapped() -> Result<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let sysroot = sh::output(sh::command("rustc")?.args(["--print", "sysroot"]))?;
    let pairs = [
        (sh::root()?, "/tracer"),
        (&home, "/cargo"),
        (Path::new(sysroot.trim()), "/rust"),
    ];
    let flag = |(from, to): (&Path, &str)| format!("--remap-path-prefix={}={to}", from.display());
    Ok(pairs.map(flag).join(" "))
}

/// An ELF program that names no interpreter and has no dynamic section that needs a library: the
/// kernel starts it by itself.
fn is_static(program: &Path) -> Result<()> {
    const PT_INTERP: u32 = 3;
    let file = File::open(program)?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0)?;
    ensure!(head.starts_with(b"\x7fELF\x02\x01"), "no 64-bit ELF");
    let u16_at = |at: usize| -> Result<u64> {
        let bytes = head.get(at..at + 2).context("ELF header")?;
        Ok(u64::from(u16::from_le_bytes(bytes.try_into()?)))
    };
    let table = u64::from_le_bytes(head.get(32..40).context("ELF header")?.try_into()?);
    let (size, count) = (u16_at(54)?, u16_at(56)?);
    for entry in 0..count {
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, table + entry * size)?;
        ensure!(
            u32::from_le_bytes(kind) != PT_INTERP,
            "it is not static: it names an interpreter"
        );
    }
    let bytes = fs::metadata(program)?.len();
    println!("{} is static, {bytes} bytes", super::shown(program)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told() {
        let own = env::current_exe().unwrap();
        let error = is_static(&own).unwrap_err().to_string();
        assert!(error.contains("interpreter"), "{error}");
        assert!(is_static(Path::new(file!())).is_err());
    }
}
