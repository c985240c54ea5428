//! Which pod or container a network namespace belongs to, without asking an API server: the
//! processes in it have a cgroup that names the pod's uid, and the kubelet's log directory names
//! the pod of a uid.
//!
//! Asked again only for namespaces that are new or still have no name; a few files for each.

mod cgroup;
mod logs;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use cgroup::Cgroup;

use crate::{
    event::NetnsId,
    inventory::{Inventory, Owner, OwnerKind},
};

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The host's procfs: `/host/proc` in a container that has it mounted there.
    pub proc: PathBuf,
    /// The kubelet's log directory of pods.
    pub pod_logs: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            pod_logs: "/var/log/pods".into(),
        }
    }
}

/// Some processes of each namespace, the lowest ids first.
pub type Processes = BTreeMap<NetnsId, Vec<u32>>;

/// A namespace whose owner is known.
#[derive(Clone, Debug)]
struct Known {
    /// The process that told: as long as it is there, the answer stays.
    pid: u32,
    owner: Owner,
}

impl Known {
    /// There is nothing more to be found out.
    fn is_complete(&self) -> bool {
        self.owner.kind != OwnerKind::Pod || self.owner.name.is_some()
    }
}

/// Finds out, and remembers, who namespaces belong to.
#[derive(Debug, Default)]
pub struct Resolver {
    sources: Sources,
    known: HashMap<NetnsId, Known>,
    /// Namespace and name of pods by uid, from elsewhere than the log directory.
    told: HashMap<String, (String, String)>,
    open: usize,
}

impl Resolver {
    /// A resolver that knows nothing yet.
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            ..Self::default()
        }
    }

    /// Names of pods by uid (namespace and name) that somebody else knows. Those of the log directory
    /// come first.
    pub fn set_told(&mut self, pods: HashMap<String, (String, String)>) {
        self.told = pods;
    }

    /// Namespaces of pods (ends of the node's pairs) that had no name at the last
    /// [`Resolver::assign`].
    pub fn open(&self) -> usize {
        self.open
    }

    /// Sets the owner of each namespace in the inventory.
    ///
    /// The namespace of process 1 belongs to the node (or is tracer's own, when it runs in a
    /// container that does not see the node's processes) and has none, whatever runs in it.
    pub fn assign(&mut self, inventory: &mut Inventory, processes: &Processes) {
        let node = self.node();
        self.known.retain(|id, known| {
            let there = processes.get(id);
            known.is_complete() && there.is_some_and(|pids| pids.contains(&known.pid))
        });
        let own = self.cgroup_of(1);
        let mut logs = None;
        self.open = 0;
        for netns in inventory.netns.values_mut() {
            if Some(netns.id) == node {
                continue;
            }
            if !self.known.contains_key(&netns.id) {
                let pids = processes.get(&netns.id).map_or(&[][..], Vec::as_slice);
                if let Some(found) = self.look(pids, own.as_ref(), &mut logs) {
                    self.known.insert(netns.id, found);
                }
            }
            let known = self.known.get(&netns.id);
            self.open += usize::from(netns.edge && !known.is_some_and(Known::is_complete));
            netns.owner = known.map(|k| k.owner.clone());
        }
    }

    /// The namespace of the pod `NAMESPACE/NAME`, or of the only one called `NAME`; an error says
    /// what there is instead.
    pub fn find(&mut self, pod: &str, processes: &Processes) -> Result<NetnsId, String> {
        let (node, own) = (self.node(), self.cgroup_of(1));
        let mut logs = None;
        let mut found = BTreeMap::new();
        for (id, pids) in processes.iter().filter(|(id, _)| Some(**id) != node) {
            let Some(known) = self.look(pids, own.as_ref(), &mut logs) else {
                continue;
            };
            if let Some((namespace, name)) = known.owner.as_pod() {
                let full = format!("{namespace}/{name}");
                if full == pod || name == pod {
                    found.insert(full, *id);
                }
            }
        }
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        match (found.values().next(), names.as_slice()) {
            (Some(id), [_]) => Ok(*id),
            (None, _) => Err(format!("no pod on this node is called {pod}")),
            (_, several) => Err(format!("{pod} can be {}", several.join(" or "))),
        }
    }

    /// The first process that is in a container tells. What `own` (process 1) is in too says
    /// nothing about a namespace: then all of this machine is one container.
    fn look(
        &self,
        pids: &[u32],
        own: Option<&Cgroup>,
        logs: &mut Option<logs::Pods>,
    ) -> Option<Known> {
        let found = |pid: &u32| {
            let found = self.cgroup_of(*pid).filter(|c| Some(c) != own)?;
            Some((*pid, found))
        };
        let (pid, cgroup) = pids.iter().find_map(found)?;
        let owner = match cgroup.pod {
            Some(uid) => self.pod(uid, logs),
            None => Owner {
                kind: OwnerKind::Container,
                namespace: None,
                name: None,
                id: cgroup.container,
            },
        };
        Some(Known { pid, owner })
    }

    fn pod(&self, uid: String, logs: &mut Option<logs::Pods>) -> Owner {
        // without the directory the uid is all there is to say; `tracer doctor` tells why
        let logs =
            logs.get_or_insert_with(|| logs::read(&self.sources.pod_logs).unwrap_or_default());
        match logs.get(&uid).or_else(|| self.told.get(&uid)) {
            Some((namespace, name)) => Owner::pod(namespace, name, Some(uid)),
            None => Owner {
                kind: OwnerKind::Pod,
                namespace: None,
                name: None,
                id: Some(uid),
            },
        }
    }

    fn cgroup_of(&self, pid: u32) -> Option<Cgroup> {
        // it may have ended; a process of others needs no privilege for this file
        let path = self.sources.proc.join(pid.to_string()).join("cgroup");
        cgroup::parse(&fs::read_to_string(path).ok()?)
    }

    fn node(&self) -> Option<NetnsId> {
        let path = self.sources.proc.join("1/ns/net");
        let inode = fs::metadata(path).ok()?.ino();
        u32::try_from(inode).ok().map(NetnsId)
    }
}

/// What stands in the way of names here, for `tracer doctor`.
#[derive(Debug)]
pub struct Access {
    /// The processes of others can be seen: their number, or why not.
    pub processes: Result<usize, String>,
    /// Pods in the log directory, or why it cannot be read.
    pub pod_logs: io::Result<usize>,
}

impl Access {
    /// Tries.
    pub fn new(sources: &Sources) -> Self {
        Self {
            processes: processes(&sources.proc),
            pod_logs: logs::read(&sources.pod_logs).map(|pods| pods.len()),
        }
    }
}

/// Processes in procfs, unless it hides those of others (`hidepid`) or shows a container's own only.
fn processes(proc: &Path) -> Result<usize, String> {
    let failed = |e: io::Error| format!("{}: {e}", proc.display());
    let entries = fs::read_dir(proc).map_err(failed)?.flatten();
    let number = |e: fs::DirEntry| e.file_name().to_str()?.parse::<u32>().ok();
    let count = entries.filter_map(number).count();
    match fs::metadata(proc.join("1/ns/net")) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "{}: processes of others may not be looked at (CAP_SYS_PTRACE)",
            proc.display()
        )),
        Err(_) => Err(format!(
            "{}: process 1 is not there: mounted with hidepid, or not the host's",
            proc.display()
        )),
        Ok(_) => Ok(count),
    }
}
