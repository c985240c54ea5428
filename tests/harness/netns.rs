//! A named network namespace, and work done inside it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::command;

/// Where `ip netns` keeps its names.
pub(crate) const NAMES: &str = "/run/netns";

/// A handle on a named network namespace. Cheap to clone; does not own the name (the
/// [`Network`](crate::Network) that raised it does).
#[derive(Debug, Clone)]
pub struct Netns {
    name: String,
    file: Arc<File>,
    inode: u64,
}

impl Netns {
    /// Opens the namespace that `ip netns` calls `name`.
    pub fn open(name: &str) -> Result<Self> {
        let path = Path::new(NAMES).join(name);
        let file = File::open(&path).with_context(|| format!("no namespace {}", path.display()))?;
        let inode = file.metadata()?.ino();
        Ok(Self {
            name: name.to_owned(),
            file: Arc::new(file),
            inode,
        })
    }

    /// The name that `ip netns exec` takes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number in `net:[4026532201]`, which tracer prints as `netns`.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `work` on a thread of its own that has entered the namespace. The thread of the caller
    /// stays where it is. A socket opened by `work` stays in the namespace wherever it is used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.on_thread(|| Ok(()), work)
    }

    /// Like [`run`](Self::run), with the namespace's own `/sys` mounted, as `ip netns exec` does:
    /// `/sys/class/net` shows the devices of the network namespace that mounted it. Mounts below
    /// the old `/sys` (tracefs, bpffs, cgroup) are carried over.
    pub fn run_with_sysfs<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.on_thread(mount_own_sysfs, work)
    }

    fn on_thread<T: Send>(
        &self,
        prepare: impl FnOnce() -> Result<()> + Send,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T> {
        let entered = || -> Result<T> {
            setns(&*self.file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter namespace {}", self.name))?;
            prepare()?;
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(entered).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs `argv` inside and returns its stdout; another exit status than 0 is an error that shows
    /// the command and its stderr.
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        self.exec_with_input(argv, "")
    }

    /// [`exec`](Self::exec) with `input` on stdin.
    pub fn exec_with_input(&self, argv: &[&str], input: &str) -> Result<String> {
        self.run_with_sysfs(|| command::run(argv, input))?
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// Runs `argv` inside to its end, whatever its exit status.
    pub fn output(&self, argv: &[&str]) -> Result<Output> {
        self.run_with_sysfs(|| command::output(argv, ""))?
    }

    /// Starts `command` inside (network namespace and `/sys`). The pid is that of the program
    /// itself, with no wrapper in between.
    pub fn spawn(&self, command: &mut Command) -> Result<std::process::Child> {
        let child = self.run_with_sysfs(|| command.spawn())?;
        child.with_context(|| format!("cannot start {command:?} in namespace {}", self.name))
    }

    /// The interface index of `dev` in this namespace.
    pub fn ifindex(&self, dev: &str) -> Result<u32> {
        self.run(|| nix::net::if_::if_nametoindex(dev))?
            .with_context(|| format!("no device {dev} in namespace {}", self.name))
    }

    /// `/sys/class/net/DEV/statistics/COUNTER`, for example `rx_packets`.
    pub fn statistic(&self, dev: &str, counter: &str) -> Result<u64> {
        let path = format!("/sys/class/net/{dev}/statistics/{counter}");
        let text = self
            .run_with_sysfs(|| fs::read_to_string(&path))?
            .with_context(|| format!("cannot read {path} in namespace {}", self.name))?;
        text.trim()
            .parse()
            .with_context(|| format!("{path} holds {text:?}"))
    }

    /// Sets a sysctl by its `/`- or `.`-separated name, as `sysctl -w` does.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.write_sysctls(&[(key, value)])
    }

    pub(crate) fn write_sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (key, value) in settings {
                fs::write(sysctl_path(key), value).map_err(|error| {
                    anyhow!(
                        "`ip netns exec {} sysctl -w {key}={value}` failed: {error}",
                        self.name
                    )
                })?;
            }
            Ok(())
        })?
    }

    /// Whether this kernel has the sysctl in this namespace.
    pub fn has_sysctl(&self, key: &str) -> Result<bool> {
        self.run(|| Path::new(&sysctl_path(key)).exists())
    }
}

fn sysctl_path(key: &str) -> String {
    // a key with a slash has a device name with dots in it, as sysctl(8) says
    let relative = if key.contains('/') {
        key.to_owned()
    } else {
        key.replace('.', "/")
    };
    format!("/proc/sys/{relative}")
}

/// Gives the calling thread a mount namespace of its own whose `/sys` belongs to the network
/// namespace that the thread is in.
fn mount_own_sysfs() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot unshare the mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .context("cannot make / a slave mount")?;
    let nested = mounts_below_sys()?
        .into_iter()
        .map(|path| File::open(&path).map(|file| (path, file)))
        .collect::<io::Result<Vec<_>>>()?;
    mount(
        Some("tracer"),
        "/sys",
        Some("sysfs"),
        MsFlags::empty(),
        none,
    )
    .context("cannot mount sysfs")?;
    for (path, old) in nested {
        use std::os::fd::AsRawFd as _;
        let source = format!("/proc/thread-self/fd/{}", old.as_raw_fd());
        mount(
            Some(source.as_str()),
            path.as_str(),
            none,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            none,
        )
        .with_context(|| format!("cannot carry {path} over to the new /sys"))?;
    }
    Ok(())
}

/// Mount points directly under `/sys` (those inside another one come along with it).
fn mounts_below_sys() -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mut points: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some(point) = line.split(' ').nth(4) else {
            bail!("mountinfo line {line:?}")
        };
        let below = points
            .iter()
            .any(|outer| point.starts_with(&format!("{outer}/")));
        if point.starts_with("/sys/") && !below && !points.iter().any(|known| known == point) {
            points.push(point.to_owned());
        }
    }
    Ok(points)
}
