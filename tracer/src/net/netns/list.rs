//! The namespaces of this machine, as far as they can be found.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{OWN, current, inode};
use crate::{event::NetnsId, net::NetError};

/// Where `ip netns` and container runtimes keep named namespaces.
const NAMED: &str = "/run/netns";
/// Processes of one namespace that are kept: the first few are those that make a container.
const PIDS: usize = 8;

/// A namespace that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its inode.
    pub id: NetnsId,
    /// Name below `/run/netns`; the first one by alphabet.
    pub name: Option<String>,
    /// The lowest process id in it.
    pub pid: Option<u32>,
    /// That and the next ones, a few.
    pub pids: Vec<u32>,
    /// A file to enter it by.
    pub path: PathBuf,
}

/// The namespaces that have a name, or a process whose namespace may be read.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    by_id: BTreeMap<NetnsId, Found>,
    /// Processes whose namespace may not be read.
    pub hidden: usize,
}

impl Namespaces {
    /// Looks into `/run/netns` and the procfs at `proc`.
    pub fn find(proc: &Path) -> Result<Self, NetError> {
        let mut found = Self::default();
        found.add_own()?;
        found.add_processes(proc);
        found.add_named();
        Ok(found)
    }

    /// The namespace with this inode.
    pub fn get(&self, id: NetnsId) -> Option<&Found> {
        self.by_id.get(&id)
    }

    /// The namespace with this name.
    pub fn named(&self, name: &str) -> Option<&Found> {
        // it may have more than one name
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return None;
        }
        let id = inode(&Path::new(NAMED).join(name)).ok()?;
        self.get(id)
    }

    /// All, by inode.
    pub fn iter(&self) -> impl Iterator<Item = &Found> {
        self.by_id.values()
    }

    fn add_own(&mut self) -> Result<(), NetError> {
        let id = current()?;
        self.entry(id, Path::new(OWN));
        Ok(())
    }

    fn entry(&mut self, id: NetnsId, path: &Path) -> &mut Found {
        self.by_id.entry(id).or_insert_with(|| Found {
            id,
            name: None,
            pid: None,
            pids: Vec::new(),
            path: path.into(),
        })
    }

    /// A few processes of each namespace.
    pub fn processes(&self) -> BTreeMap<NetnsId, Vec<u32>> {
        let all = self.iter().filter(|f| !f.pids.is_empty());
        all.map(|f| (f.id, f.pids.clone())).collect()
    }

    fn add_processes(&mut self, proc: &Path) {
        let mut pids: Vec<u32> = names(proc).filter_map(|n| n.parse().ok()).collect();
        pids.sort_unstable();
        for pid in pids {
            let path = proc.join(format!("{pid}/ns/net"));
            match inode(&path) {
                Ok(id) => {
                    let found = self.entry(id, &path);
                    found.pid.get_or_insert(pid);
                    if found.pids.len() < PIDS {
                        found.pids.push(pid);
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => self.hidden += 1,
                // it ended meanwhile, or is a zombie
                Err(_) => {}
            }
        }
    }

    fn add_named(&mut self) {
        let mut all: Vec<String> = names(Path::new(NAMED)).collect();
        all.sort_unstable();
        for name in all {
            let path = Path::new(NAMED).join(&name);
            // a name whose namespace is not mounted (yet) is a plain file of another file system
            let is_netns = nix::sys::statfs::statfs(&path)
                .is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::NSFS_MAGIC);
            let Some(id) = inode(&path).ok().filter(|_| is_netns) else {
                continue;
            };
            let found = self.entry(id, &path);
            if found.name.is_none() {
                found.name = Some(name);
                // it stays when processes end
                found.path = path;
            }
        }
    }
}

/// The names in a directory; none when it cannot be read.
fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok())
}
