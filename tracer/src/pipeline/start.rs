//! Start-up: facts, configuration, kernel side, attachments, in the order that they need.

use std::{fs, os::unix::fs::MetadataExt as _, thread};

use anyhow::{Context as _, Result, bail};
use tracer_abi::offset::{ABSENT, Off};

use super::{
    SessionConfig,
    devices::{add, remove_stale},
    names::PodNames,
};
use crate::{
    cluster,
    diagnose::Intent,
    event::NetnsId,
    inventory::{Inventory, Link, LinkKind, Role},
    kernel::{KernelFacts, features::Features, offsets::has_conntrack, privileges},
    net::{self, NetnsSelection},
    probe::{Device, Probe, ProbeConfig, ProbeError},
    view::{Limit, Question},
};

/// Everything that a running session holds.
pub(super) struct Started {
    pub(super) facts: KernelFacts,
    pub(super) inventory: Inventory,
    pub(super) selection: NetnsSelection,
    pub(super) names: PodNames,
    pub(super) probe: Probe,
    pub(super) limits: Vec<Limit>,
    pub(super) intent: Intent,
}

/// Reads, loads and attaches.
pub(super) fn start(config: &SessionConfig) -> Result<Started> {
    // privileges first: without them every later error is only a consequence
    Features::read(config.btf.as_deref()).check_permitted()?;
    let intent = cluster::intent(&config.cluster)?;
    let selection = NetnsSelection::from_args(&config.netns).enter_home(&config.names.proc)?;
    let (facts, inventory, btf) = thread::scope(|scope| {
        let facts = scope.spawn(|| KernelFacts::load(config.btf.as_deref()));
        let btf = scope.spawn(|| load_btf(config));
        let inventory = net::read_inventory(&selection, &config.names.proc);
        (joined(facts), inventory, joined(btf))
    });
    let (facts, btf) = (facts??, btf??);
    facts.features.check()?;
    let read = inventory?;
    let mut names = PodNames::new(config, &intent);
    let mut inventory = read.inventory;
    names.assign(&mut inventory, &read.processes);
    let mut limits: Vec<Limit> = read
        .notes
        .into_iter()
        .map(|n| limit(n, Question::Drops))
        .collect();
    if let Some(why) = &facts.no_symbols {
        limits.push(limit(
            format!("functions have no names: {why}"),
            Question::Drops,
        ));
    }
    if facts.offsets[Off::SkbNfct as usize] != ABSENT && !has_conntrack(&facts.offsets) {
        let text = "both sides of address translation are shown as two flows: this kernel's type \
                    information does not describe connection tracking";
        limits.push(limit(text.to_owned(), Question::Path));
    }
    let others = inventory
        .netns
        .values()
        .filter(|n| n.id != inventory.home && !n.edge)
        .count();
    if others > 0 {
        let text = format!(
            "{others} more namespaces are traced by what they receive and drop; route decisions are \
             read only in {}",
            inventory.node
        );
        limits.push(limit(text, Question::Routes));
    }
    let devices = wanted_devices(config, &inventory)?;
    let mut probe = Probe::load(&probe_config(config, &facts, &inventory, &devices, &btf))?;
    // before the first filter of our own, whose program nobody but this process holds
    remove_stale();
    let missing = probe.attach(&btf, &devices)?;
    let routes = missing.tracepoints.into_iter();
    limits.extend(routes.map(|n| limit(n, Question::Routes)));
    for text in missing.devices {
        add(&mut limits, text, Question::Path);
    }
    mark_tunnels(&probe, &inventory)?;
    probe.set_filter(&names.lower(&config.filter, &inventory).prog)?;
    Ok(Started {
        facts,
        inventory,
        selection,
        names,
        probe,
        limits,
        intent,
    })
}

/// Goes on as nobody, where nothing that is read later is root's.
pub(super) fn drop_root(config: &SessionConfig) {
    if config.kube {
        // the account's token is read again before it expires
        tracing::info!("it goes on as root: only root may read the account of the API server");
        return;
    }
    // names of new pods come from here
    let pods = fs::metadata(&config.names.pod_logs);
    if pods.is_ok_and(|meta| meta.mode() & 0o5 != 0o5) {
        let directory = config.names.pod_logs.display();
        tracing::info!("it goes on as root: only root may read {directory}");
    } else if let Err(e) = privileges::drop_root() {
        // a container may have no other user
        tracing::info!("it goes on as root: {e}");
    }
}

/// Says which devices send and receive with the VNI that each packet carries.
pub(super) fn mark_tunnels(probe: &Probe, inventory: &Inventory) -> Result<(), ProbeError> {
    let links = inventory.home().into_iter().flat_map(|n| n.links.values());
    links
        .filter(|l| l.kind.is_tunnel() && l.kind.vni().is_none())
        .try_for_each(|l| probe.mark_tunnel(l.ifindex))
}

fn limit(text: String, hides: Question) -> Limit {
    Limit { text, hides }
}

fn joined<T>(handle: thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    match handle.join() {
        Ok(value) => Ok(value),
        Err(_) => bail!("a start-up thread ended unexpectedly; this is a bug in tracer"),
    }
}

fn load_btf(config: &SessionConfig) -> Result<aya::Btf> {
    match &config.btf {
        Some(path) => aya::Btf::parse_file(path, aya::Endianness::default())
            .with_context(|| format!("cannot use {}", path.display())),
        None => aya::Btf::from_sys_fs().context("cannot use /sys/kernel/btf/vmlinux"),
    }
}

fn probe_config<'a>(
    config: &SessionConfig,
    facts: &KernelFacts,
    inventory: &Inventory,
    devices: &[Device],
    btf: &'a aya::Btf,
) -> ProbeConfig<'a> {
    let others = |edge: bool| -> Vec<NetnsId> {
        inventory
            .netns
            .values()
            .filter(|n| n.id != inventory.home && n.edge == edge)
            .map(|n| n.id)
            .collect()
    };
    ProbeConfig {
        offsets: facts.offsets,
        btf,
        home: inventory.home,
        full: others(false),
        edge: others(true),
        devices: (!config.devices.is_empty()).then(|| devices.iter().map(|d| d.ifindex).collect()),
        each_packet: config.each_packet,
        recording: config.recording,
        flows: config.flows,
    }
}

/// The devices to attach to: those named by `-i`, or all but `lo`. In the order in which it matters
/// that the program is there: where the dst entry says most comes first, a pod's device last.
fn wanted_devices(config: &SessionConfig, inventory: &Inventory) -> Result<Vec<Device>> {
    let Some(home) = inventory.home() else {
        bail!("the network namespace that tracer runs in could not be read")
    };
    let mut links: Vec<&Link> = Vec::new();
    if config.devices.is_empty() {
        links.extend(home.links.values().filter(|l| is_traced(l)));
    }
    for name in &config.devices {
        let Some(link) = home.link_named(name) else {
            let names: Vec<&str> = home.links.values().map(|l| l.name.as_str()).collect();
            bail!(
                "there is no device {name} in this network namespace; there are: {}",
                names.join(" ")
            );
        };
        links.push(link);
    }
    links.sort_by_key(|l| match l.role {
        Role::Uplink | Role::Tunnel => 0,
        Role::Bridge => 1,
        Role::Other | Role::Loopback => 2,
        Role::Pod => 3,
    });
    Ok(links.into_iter().map(device).collect())
}

/// A device as the kernel side is told of it.
pub(super) fn device(link: &Link) -> Device {
    Device {
        ifindex: link.ifindex,
        name: link.name.clone(),
    }
}

/// Everything but loopback.
pub(super) fn is_traced(link: &Link) -> bool {
    link.kind != LinkKind::Loopback
}
