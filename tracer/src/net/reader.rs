//! Puts the inventory together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{
    NetError, NetnsSelection, fib,
    guard::{Progress, guarded},
    link::{self, FoundLink},
    netns::{Found, Namespaces, enter, peers},
    program::programs,
    socket::Connection,
    sysctl,
    wire::Defects,
};
use crate::{
    event::NetnsId,
    inventory::{Inventory, Link, LinkKind, Netns, Role, assign_roles},
};

/// What reading the configuration gives.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The configuration; nobody's names yet.
    pub inventory: Inventory,
    /// What is missing from it, in whole sentences.
    pub notes: Vec<String>,
    /// A few processes of each namespace that was found, the lowest ids first.
    pub processes: BTreeMap<NetnsId, Vec<u32>>,
}

/// Reads the configuration of the selected namespaces; `proc` is the procfs that leads to those of
/// processes.
///
/// Never waits for long: a kernel that does not answer is an error.
pub fn read_inventory(selection: &NetnsSelection, proc: &Path) -> Result<Reading, NetError> {
    let (selection, proc) = (selection.clone(), proc.to_owned());
    guarded(move |progress| Reader::new(progress, &proc)?.read(&selection))
}

/// What reading several namespaces shares.
struct Reader<'a> {
    progress: &'a Progress,
    proc: &'a Path,
    namespaces: Namespaces,
    defects: Defects,
    notes: Vec<String>,
    /// Namespaces behind links of the home one that were not found.
    unnamed_peers: usize,
    /// What changed faster than it could be read.
    torn: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(progress: &'a Progress, proc: &'a Path) -> Result<Self, NetError> {
        Ok(Self {
            progress,
            proc,
            namespaces: Namespaces::find(proc)?,
            defects: Defects::default(),
            notes: Vec::new(),
            unnamed_peers: 0,
            torn: BTreeSet::new(),
        })
    }

    fn read(mut self, selection: &NetnsSelection) -> Result<Reading, NetError> {
        let roots = selection.roots(&self.namespaces, self.proc)?;
        let Some((home, others)) = roots.split_first() else {
            return Err(NetError::UnknownNetns(String::new()));
        };
        enter(home)?;
        let mut inventory = Inventory {
            node: home.name.clone().unwrap_or_else(host_name),
            kernel: kernel_release(),
            home: home.id,
            ..Inventory::default()
        };
        inventory.netns.insert(home.id, self.netns(home, None)?);
        assign_roles(&mut inventory);
        // who leaves the pods out does not miss them
        if *selection != NetnsSelection::Home {
            self.note_unnamed();
        }
        let pods = match selection {
            NetnsSelection::HomeAndPods => self.pods(&inventory),
            _ => Vec::new(),
        };
        for other in others {
            self.add(&mut inventory, other, None)?;
        }
        for pod in &pods {
            self.add(&mut inventory, pod, Some(home))?;
        }
        assign_roles(&mut inventory);
        self.note_defects();
        Ok(Reading {
            inventory,
            processes: self.namespaces.processes(),
            notes: self.notes,
        })
    }

    /// Adds a namespace, or a note when it may not be entered or is gone.
    fn add(
        &mut self,
        inventory: &mut Inventory,
        target: &Found,
        home: Option<&Found>,
    ) -> Result<(), NetError> {
        if let Err(error) = enter(target) {
            let name = target.name.as_deref().unwrap_or("without a name");
            self.notes
                .push(format!("namespace {name} is left out: {error}"));
            return Ok(());
        }
        let netns = self.netns(target, home)?;
        inventory.netns.insert(target.id, netns);
        Ok(())
    }

    /// Reads the namespace that the thread is in. That of a pod (`home` is given) is asked for its
    /// links to home only, because asking for all costs pods × namespaces questions.
    fn netns(&mut self, target: &Found, home: Option<&Found>) -> Result<Netns, NetError> {
        let mut connection = Connection::open(self.progress)?;
        let links = link::links(&mut connection, &self.defects)?;
        let wanted = far_numbers(&links);
        let candidates: Vec<&Found> = match home {
            Some(home) => vec![home],
            None => self.namespaces.iter().collect(),
        };
        let numbers = peers(&mut connection, &wanted, &candidates)?;
        if home.is_none() {
            self.unnamed_peers += wanted.len() - numbers.len();
        }
        let mut netns = Netns {
            id: target.id,
            name: target.name.clone(),
            pid: target.pid,
            edge: home.is_some(),
            links: with_peers(links, &numbers),
            ..Netns::default()
        };
        for (dev, address) in link::addresses(&mut connection, &self.defects)? {
            if let Some(link) = netns.links.get_mut(&dev) {
                link.addresses.push(address);
            }
        }
        let objects = fib::nexthops(&mut connection, &self.defects)?;
        netns.routes = fib::routes(&mut connection, &objects, &self.defects)?;
        netns.rules = fib::rules(&mut connection, &self.defects)?;
        netns.neighbours = fib::neighbours(&mut connection, &self.defects)?;
        let has_vxlan = |l: &Link| matches!(l.kind, LinkKind::Vxlan { .. });
        if home.is_none() && netns.links.values().any(has_vxlan) {
            netns.fdb = fib::fdb(&mut connection, &self.defects)?;
        }
        netns.sysctls = sysctl::sysctls(&netns);
        if home.is_none() {
            // what a pod's own programs do is no part of the way through the node
            netns.programs = programs(&mut connection, &netns.links, &self.defects)?;
        }
        self.torn.extend(connection.torn());
        Ok(netns)
    }

    /// The namespaces of the far ends of home's pod devices.
    fn pods(&self, inventory: &Inventory) -> Vec<Found> {
        let links = inventory.home().into_iter().flat_map(|n| n.links.values());
        let ids: BTreeSet<NetnsId> = links
            .filter(|l| l.role == Role::Pod)
            .filter_map(|l| l.peer_netns)
            .collect();
        let found = ids.into_iter().filter_map(|id| self.namespaces.get(id));
        found.cloned().collect()
    }

    fn note_unnamed(&mut self) {
        if self.unnamed_peers == 0 {
            return;
        }
        let why = match self.namespaces.hidden {
            0 => String::from("no process or name leads to them"),
            n => format!("the namespaces of {n} processes may not be read (CAP_SYS_PTRACE)"),
        };
        self.notes.push(format!(
            "{} namespaces behind veth devices could not be identified: {why}",
            self.unnamed_peers
        ));
    }

    fn note_defects(&mut self) {
        for what in &self.torn {
            self.notes.push(format!(
                "{what} changed faster than they could be read; the configuration may have gaps"
            ));
        }
        let count = self.defects.count();
        if count > 0 {
            self.notes.push(format!(
                "{count} netlink attributes could not be read; the configuration may have gaps"
            ));
        }
    }
}

/// The numbers of the namespaces that far ends of pairs are in.
fn far_numbers(links: &[FoundLink]) -> BTreeSet<i32> {
    let pairs = links
        .iter()
        .filter(|f| matches!(f.link.kind, LinkKind::Veth | LinkKind::Netkit));
    pairs
        .filter_map(|f| f.link_nsid)
        .filter(|n| *n >= 0)
        .collect()
}

fn with_peers(
    links: Vec<FoundLink>,
    numbers: &BTreeMap<i32, NetnsId>,
) -> BTreeMap<crate::event::Ifindex, Link> {
    let links = links.into_iter().map(
        |FoundLink {
             mut link,
             link_nsid,
         }| {
            if link.peer.is_some() {
                link.peer_netns = link_nsid.and_then(|n| numbers.get(&n)).copied();
            }
            (link.ifindex, link)
        },
    );
    links.collect()
}

fn host_name() -> String {
    kernel_value("hostname")
}

/// As `uname -r`.
fn kernel_release() -> String {
    kernel_value("osrelease")
}

fn kernel_value(name: &str) -> String {
    let value = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    value.trim().to_owned()
}
