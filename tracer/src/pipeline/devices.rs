//! Following the devices: attached once, and still attached.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt as _};

use tracing::debug;

use super::start::{device, is_traced, mark_tunnels};
use crate::{
    event::Ifindex,
    inventory::{Inventory, Link, Netns},
    net,
    probe::{Device, Probe, ProbeError},
    view::{Limit, Question},
};

/// Sentences about what is missing that are kept; names of devices that come and go could make
/// them any number.
const MOST_LIMITS: usize = 64;

/// Attaches to one device. That one device refuses is a limit of the picture, not the end of it.
pub(super) fn attach(probe: &mut Probe, device: &Device, limits: &mut Vec<Limit>) {
    match probe.attach_device(device) {
        Ok(attached) => debug!(device.name, attached, "device"),
        Err(e) => {
            add(limits, e.to_string(), Question::Path);
        }
    }
}

/// Takes the devices over that were attached meanwhile. True when one of them was gone.
pub(super) fn take_attached(probe: &mut Probe, limits: &mut Vec<Limit>) -> bool {
    let attached = probe.take_attached();
    for e in attached.errors {
        add(limits, e.to_string(), Question::Path);
    }
    attached.gone
}

/// Adds a sentence once. True when it is new.
pub(super) fn add(limits: &mut Vec<Limit>, text: String, hides: Question) -> bool {
    let new = limits.len() < MOST_LIMITS && limits.iter().all(|l| l.text != text);
    if new {
        limits.push(Limit { text, hides });
    }
    new
}

/// What is known beside the configuration.
#[derive(Clone, Copy)]
pub(super) struct Followed {
    /// Only devices that were named are traced.
    pub(super) devices_given: bool,
    /// Notices were lost: which devices went is not known.
    pub(super) overrun: bool,
}

/// Has the kernel side follow a configuration that was read again.
pub(super) fn follow(
    probe: &mut Probe,
    (old, new): (&Inventory, &Inventory),
    known: Followed,
    limits: &mut Vec<Limit>,
) {
    let warn = |result: Result<(), ProbeError>| {
        if let Err(e) = result {
            tracing::warn!("{e}");
        }
    };
    for netns in new.netns.values().filter(|n| n.edge) {
        if !old.netns.contains_key(&netns.id) {
            warn(probe.add_edge(netns.id));
        }
    }
    for netns in old.netns.values().filter(|n| n.edge) {
        if !new.netns.contains_key(&netns.id) {
            warn(probe.remove_edge(netns.id));
        }
    }
    if let Some(home) = new.home() {
        if known.overrun {
            for ifindex in vanished(probe, home) {
                probe.forget_device(ifindex);
            }
        }
        reattach(probe, home, limits);
        let all = home.links.values().filter(|l| is_traced(l));
        for link in all.filter(|_| !known.devices_given) {
            attach(probe, &device(link), limits);
        }
    }
    warn(mark_tunnels(probe, new));
}

/// Finds the devices at which the program is not any more: it was detached, the qdisc that held it
/// was replaced, or another device has the number. They are forgotten, and those of `home` attached
/// again.
fn reattach(probe: &mut Probe, home: &Netns, limits: &mut Vec<Limit>) {
    for link in lost(probe, home) {
        probe.forget_device(link.ifindex);
        attach(probe, &device(link), limits);
        let text = format!(
            "tracer's program was not at {} any more and was attached again: what left there in \
             between is not counted",
            link.name
        );
        if add(limits, text.clone(), Question::Path) {
            tracing::warn!("{text}");
        }
    }
}

fn lost<'a>(probe: &Probe, home: &'a Netns) -> Vec<&'a Link> {
    let attached: BTreeSet<Ifindex> = probe.attached().collect();
    let links = home.links.values();
    let links = links.filter(|l| attached.contains(&l.ifindex));
    if !probe.uses_clsact() {
        return links.filter(|l| !probe.is_at(&l.name)).collect();
    }
    let id = probe.egress_id();
    let filters = match net::own_filters() {
        Ok(filters) => filters,
        // what is not known is not touched
        Err(e) => {
            debug!("filters: {e}");
            return Vec::new();
        }
    };
    let at: BTreeSet<Ifindex> = filters
        .iter()
        .filter(|f| Some(f.id) == id)
        .map(|f| f.dev)
        .collect();
    links.filter(|l| !at.contains(&l.ifindex)).collect()
}

/// Devices that are traced and do not exist any more: the notice that said so was lost.
fn vanished(probe: &Probe, home: &Netns) -> Vec<Ifindex> {
    let traced = probe.traced();
    traced.filter(|i| !home.links.contains_key(i)).collect()
}

/// Removes the filters of tracers that were killed: where there is no tcx, the kernel keeps them.
/// Those of a tracer that runs are held by it.
pub(super) fn remove_stale() {
    let filters = match net::own_filters() {
        Ok(filters) => filters,
        Err(e) => {
            debug!("filters: {e}");
            return;
        }
    };
    if filters.is_empty() {
        return;
    }
    let Some(held) = held_programs() else {
        return;
    };
    for filter in filters.iter().filter(|f| !held.contains(&f.id)) {
        match net::remove_filter(filter) {
            Ok(()) => tracing::info!(
                "removed the filter of a tracer that was killed from device {}",
                filter.dev.0
            ),
            Err(e) => tracing::warn!("the filter of a tracer that was killed stays: {e}"),
        }
    }
}

/// The BPF programs that processes have descriptors of; `None` when not all processes may be looked
/// at, so that absence would prove nothing.
fn held_programs() -> Option<BTreeSet<u32>> {
    let own_pids = std::fs::metadata("/proc/self/ns/pid").ok()?.ino();
    // processes outside of a container's pid namespace are not seen
    if own_pids != INITIAL_PID_NAMESPACE {
        return None;
    }
    let mut held = BTreeSet::new();
    for process in std::fs::read_dir("/proc").ok()? {
        let path = process.ok()?.path();
        let is_process = path
            .file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if !is_process {
            continue;
        }
        let files = match std::fs::read_dir(path.join("fdinfo")) {
            Ok(files) => files,
            // it ended
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => continue,
            Err(_) => return None,
        };
        for file in files.flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let ids = text.lines().filter_map(|l| l.strip_prefix("prog_id:"));
            held.extend(ids.filter_map(|id| id.trim().parse::<u32>().ok()));
        }
    }
    Some(held)
}

/// Its inode (`PROC_PID_INIT_INO` of `linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;
