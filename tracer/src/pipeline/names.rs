//! Names of pods in a running session: asked again while a new pod has none yet.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::SessionConfig;
use crate::{
    apiserver::{Directory, Watch},
    diagnose::Intent,
    filter::{Filter, Lowered},
    inventory::{Inventory, Netns, Owner},
    names::{Processes, Resolver, Sources},
    net::netns::Namespaces,
};

/// A pod's device is there before its first process and, on some nodes, before its log directory.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Each pause is twice the one before; after this one nothing more is to be expected.
const LAST_PAUSE: Duration = Duration::from_secs(32);

/// Names, and when to ask for them again.
#[derive(Debug)]
pub(super) struct PodNames {
    sources: Sources,
    resolver: Resolver,
    /// Nodes of the cluster's file.
    listed: BTreeMap<IpAddr, Owner>,
    /// Asks an API server.
    watch: Option<Watch>,
    /// What it answered last; `None` before its first answer.
    directory: Option<Arc<Directory>>,
    again: Option<Instant>,
    pause: Duration,
}

impl PodNames {
    pub(super) fn new(config: &SessionConfig, intent: &Intent) -> Self {
        let sources = config.names.clone();
        Self {
            resolver: Resolver::new(sources.clone()),
            listed: intent.named_nodes(),
            watch: config.kube.then(Watch::start),
            directory: None,
            sources,
            again: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Names what was read, and begins to ask again when something new has no name.
    pub(super) fn assign(&mut self, inventory: &mut Inventory, processes: &Processes) {
        let before = self.resolver.open();
        self.resolver.assign(inventory, processes);
        inventory.peers = self.peers();
        if inventory.has_pods() {
            name_own(inventory);
        }
        match self.resolver.open() {
            0 => self.again = None,
            open if open > before => {
                self.pause = FIRST_PAUSE;
                self.again = Some(Instant::now() + self.pause);
            }
            _ => {}
        }
    }

    /// Who is elsewhere. What the cluster's file says goes before what a server answers.
    fn peers(&self) -> BTreeMap<IpAddr, Owner> {
        let directory = self.directory.iter().flat_map(|d| d.owners());
        let mut peers: BTreeMap<_, _> = directory.map(|(a, o)| (a, o.clone())).collect();
        peers.extend(self.listed.iter().map(|(a, o)| (*a, o.clone())));
        peers
    }

    /// What the server has answered since; true when it is something new.
    fn ask(&mut self) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        for error in watch.errors() {
            tracing::warn!("no names from the API server: {error}");
        }
        let Some(directory) = watch.take() else {
            return false;
        };
        let addresses = directory.owners().count();
        tracing::info!("the API server names {addresses} addresses");
        self.resolver.set_told(directory.pods().clone());
        self.directory = Some(directory);
        true
    }

    /// The part of a filter for the kernel. Pods are the addresses that they have now; while there may
    /// be one whose address or name is not known, whatever it could be passes.
    pub(super) fn lower(&self, filter: &Filter, inventory: &Inventory) -> Lowered {
        filter.lower_with(&|wanted| {
            let mut addresses = Vec::new();
            for netns in inventory.netns.values() {
                let pod = netns.owner.as_ref().and_then(Owner::as_pod);
                if pod.is_some_and(|(namespace, name)| wanted(namespace, name)) {
                    addresses.extend(netns.addresses().map(|(_, a)| a.address));
                }
            }
            addresses.extend(self.directory.iter().flat_map(|d| d.addresses_of(wanted)));
            addresses.retain(|a| !is_local(*a));
            addresses.sort_unstable();
            addresses.dedup();
            // a pod that is not there yet, or a server's first answer, is waited for
            let all = self.resolver.open() == 0 && self.watch.is_some() == self.directory.is_some();
            (all && !addresses.is_empty()).then_some(addresses)
        })
    }

    /// The inventory with names that were found meanwhile; `None` when it is not time, or nothing
    /// new is known.
    pub(super) fn again(&mut self, inventory: &Inventory) -> Option<Inventory> {
        let told = self.ask();
        let due = self.again.is_some_and(|at| at <= Instant::now());
        if !due && !told {
            return None;
        }
        if due {
            self.pause *= 2;
            self.again = (self.pause <= LAST_PAUSE).then(|| Instant::now() + self.pause);
        }
        let processes = Namespaces::find(&self.sources.proc).ok()?.processes();
        let mut named = inventory.clone();
        self.assign(&mut named, &processes);
        (named != *inventory).then_some(named)
    }
}

/// Gives the node's own addresses its name where pods have names: what is there is the node's, or that
/// of a pod on its network (`hostNetwork`).
fn name_own(inventory: &mut Inventory) {
    let all = inventory.home().into_iter().flat_map(Netns::addresses);
    let own: Vec<IpAddr> = all.map(|(_, a)| a.address).collect();
    let names_one = |a: &IpAddr| !is_local(*a) && !matches!(a, IpAddr::V4(a) if a.is_link_local());
    for address in own.into_iter().filter(names_one) {
        let named = inventory.peers.entry(address);
        named.or_insert_with(|| Owner::node(&inventory.node));
    }
}

/// No packet with this address leaves its namespace.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_loopback(),
        IpAddr::V6(a) => a.is_loopback() || a.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Ifindex, NetnsId},
        inventory::{Address, Link, LinkKind, Role},
    };

    fn pod(id: u32, name: &str, address: &str) -> Netns {
        let address = Address {
            address: address.parse().unwrap(),
            prefix_len: 32,
            scope: 0,
        };
        let link = Link {
            ifindex: Ifindex(2),
            name: "eth0".into(),
            kind: LinkKind::Veth,
            role: Role::Uplink,
            mtu: 1500,
            up: true,
            carrier: true,
            mac: String::new(),
            master: None,
            lower: None,
            peer: None,
            peer_netns: None,
            addresses: vec![address],
        };
        Netns {
            id: NetnsId(id),
            owner: Some(Owner::pod("shop", name, None)),
            edge: true,
            links: [(link.ifindex, link)].into(),
            ..Netns::default()
        }
    }

    fn lowered(names: &PodNames, filter: &str) -> Lowered {
        let pods = [
            pod(1, "web-0", "10.244.1.10"),
            pod(2, "db-0", "10.244.1.11"),
        ];
        let inventory = Inventory {
            netns: pods.into_iter().map(|n| (n.id, n)).collect(),
            ..Inventory::default()
        };
        names.lower(&Filter::parse(filter).unwrap(), &inventory)
    }

    fn same(names: &PodNames, pods: &str, hosts: &str) {
        let hosts = Filter::parse(hosts).unwrap().lower();
        let pods = lowered(names, pods);
        assert_eq!(pods.prog, hosts.prog);
        assert!(!pods.exact, "equal addresses elsewhere are told apart here");
    }

    #[test]
    fn a_pod_is_its_addresses_in_the_kernel() {
        let names = PodNames::new(&SessionConfig::default(), &Intent::default());
        same(&names, "pod shop/web-0", "inner host 10.244.1.10");
        same(
            &names,
            "src pod web-0 and tcp",
            "inner src host 10.244.1.10 and tcp",
        );
        same(
            &names,
            "pod shop/*",
            "inner host 10.244.1.10 or inner host 10.244.1.11",
        );
    }

    #[test]
    fn what_is_not_known_yet_passes() {
        let mut names = PodNames::new(&SessionConfig::default(), &Intent::default());
        same(&names, "pod shop/later", "");
        same(&names, "pod shop/later and tcp", "tcp");
        same(&names, "not pod shop/web-0", "");
        // a pod without a name may be the one
        let mut unnamed = Inventory::default();
        let mut netns = pod(3, "x", "10.244.1.12");
        netns.owner = None;
        unnamed.netns.insert(netns.id, netns);
        names.assign(&mut unnamed, &Processes::new());
        same(&names, "pod shop/web-0", "");
    }

    #[test]
    fn an_unnamed_pod_is_asked_for_again_for_a_while() {
        let mut names = PodNames::new(&SessionConfig::default(), &Intent::default());
        assert!(names.again(&Inventory::default()).is_none());
        let mut inventory = Inventory::default();
        let mut netns = pod(3, "x", "10.244.1.12");
        netns.owner = None;
        inventory.netns.insert(netns.id, netns);
        names.assign(&mut inventory, &Processes::new());
        let mut asked = 0;
        while names.again.is_some() {
            names.again = Some(Instant::now());
            assert!(names.again(&inventory).is_none(), "nobody has it");
            asked += 1;
            assert!(asked < 20, "it never ends");
        }
        assert_eq!(names.pause, LAST_PAUSE * 2);
    }
}
