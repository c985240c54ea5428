//! What a kubelet and a container runtime leave on a node, for pods that are network namespaces of a
//! lab: a real process in each, in a real cgroup with the name that they would give it, and a log
//! directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Netns;

/// Layout of the cgroups of a pod's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The kubelet's systemd driver, containerd.
    Systemd,
    /// The kubelet's cgroupfs driver: plain directories.
    Cgroupfs,
}

/// Which of the kernel's two kinds of hierarchies the cgroups are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// One for each set of controllers (cgroup v1).
    V1,
    /// The one for all (cgroup v2).
    Unified,
}

/// The node's side of some pods. Processes, cgroups and directories are gone when it is dropped.
#[derive(Debug)]
pub struct Kubelet {
    directory: PathBuf,
    mounted: bool,
    cgroups: PathBuf,
    made: Vec<PathBuf>,
    processes: Vec<Child>,
}

impl Kubelet {
    /// Makes an empty log directory, and a cgroup that holds all that follow.
    pub fn new(kind: Hierarchy) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tracer-kubelet-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir(&directory)?;
        fs::create_dir(directory.join("pods"))?;
        let mut kubelet = Self {
            cgroups: PathBuf::new(),
            mounted: false,
            made: Vec::new(),
            processes: Vec::new(),
            directory,
        };
        let hierarchy = match (kind, hierarchy()?) {
            (Hierarchy::Unified, Some(there)) => there,
            (Hierarchy::Unified, None) => kubelet.mount("cgroup2", None)?,
            // without controllers, as systemd's own was: those of the system stay where they are
            (Hierarchy::V1, _) => kubelet.mount("cgroup", Some(&format!("none,name={name}")))?,
        };
        kubelet.cgroups = hierarchy.join(name);
        kubelet.make(kubelet.cgroups.clone())?;
        Ok(kubelet)
    }

    /// A private mount, where the system has none.
    fn mount(&mut self, kind: &str, options: Option<&str>) -> Result<PathBuf> {
        let at = self.directory.join("cgroup");
        fs::create_dir(&at)?;
        mount(Some("none"), &at, Some(kind), MsFlags::empty(), options)
            .with_context(|| format!("cannot mount {kind}"))?;
        self.mounted = true;
        Ok(at)
    }

    /// What `--pod-logs` takes.
    pub fn pod_logs(&self) -> PathBuf {
        self.directory.join("pods")
    }

    /// A directory for files of the test.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a pod's process in `ns`, with a uid that belongs to `number`. Returns its process id.
    pub fn start(&mut self, ns: &Netns, driver: Driver, number: u32) -> Result<u32> {
        let container = format!("{number:064x}");
        let path = match driver {
            Driver::Systemd => {
                let slice = uid(number).replace('-', "_");
                format!(
                    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/\
                     cri-containerd-{container}.scope"
                )
            }
            Driver::Cgroupfs => format!("kubepods/besteffort/pod{}/{container}", uid(number)),
        };
        let mut cgroup = self.cgroups.clone();
        for part in path.split('/') {
            cgroup.push(part);
            if !cgroup.exists() {
                self.make(cgroup.clone())?;
            }
        }
        let mut command = Command::new("sleep");
        command
            .arg("600")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = ns.spawn(&mut command)?;
        let pid = process.id();
        self.processes.push(process);
        fs::write(cgroup.join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("cannot move a process to {}", cgroup.display()))?;
        Ok(pid)
    }

    /// Makes the log directory of a pod.
    pub fn log(&self, namespace: &str, name: &str, number: u32) -> Result<()> {
        let entry = format!("{namespace}_{name}_{}", uid(number));
        fs::create_dir_all(self.pod_logs().join(entry).join("app"))?;
        Ok(())
    }

    fn make(&mut self, path: PathBuf) -> Result<()> {
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        self.made.push(path);
        Ok(())
    }
}

/// The uid of a pod: that of a static one (an odd number here) is a hash without dashes.
pub fn uid(number: u32) -> String {
    if number % 2 == 1 {
        format!("{number:032x}")
    } else {
        format!("0a1b2c3d-4e5f-6071-8293-{number:012x}")
    }
}

/// Where the unified hierarchy is mounted.
fn hierarchy() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    });
    Ok(found)
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // an error says that it has ended already
            drop(process.kill());
            drop(process.wait());
        }
        for path in self.made.iter().rev() {
            drop(fs::remove_dir(path));
        }
        if self.mounted {
            let _unmounted = umount2(&self.directory.join("cgroup"), MntFlags::MNT_DETACH);
        }
        drop(fs::remove_dir_all(&self.directory));
    }
}
