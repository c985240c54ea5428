//! What comes with the program: completions, manual pages, manifests, the plugin of kubectl.

mod capabilities;
mod container;
mod manifests;
mod pages;
mod plugin;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use harness::{command, tracer};

/// The root of the source tree.
fn root() -> Result<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(root.parent().context("no parent")?.to_owned())
}

/// A file of the source tree, as an argument.
fn file(path: &str) -> Result<String> {
    let path = root()?.join(path);
    path.into_os_string().into_string().ok().context("no UTF-8")
}

/// stdout of `tracer ARGS…`.
fn tracer(args: &[&str]) -> Result<String> {
    let binary = tracer::binary()?;
    let argv = [&[binary.to_str().context("no UTF-8")?], args].concat();
    command::run(&argv, "")
}

/// A directory, gone when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("tracer-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    fn path(&self, name: &str) -> Result<String> {
        let path = self.0.join(name).into_os_string();
        path.into_string().ok().context("no UTF-8")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
