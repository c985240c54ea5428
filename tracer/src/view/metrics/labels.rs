//! What a device is called in metrics: few names, and for ever the same one for the same device.

use std::collections::{BTreeSet, HashMap};

use crate::{
    event::{Ifindex, NetnsId},
    inventory::{Inventory, Role},
    model::Sums,
};

/// Devices that have a name of their own at most; later ones are [`OTHER`].
pub const MAX_DEVICES: usize = 64;
/// All devices of the node that lead to pods: they come and go with the pods.
pub const PODS: &str = "(pods)";
/// Devices that are not known, and those beyond [`MAX_DEVICES`].
pub const OTHER: &str = "(other)";

/// A device as metrics know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// `node`, `pod` (inside pods' namespaces) or `?` (the packet carried none).
    pub netns: &'static str,
    /// Name of the device.
    pub device: String,
}

/// Devices with the labels that they were given.
///
/// A counter must not move from one series to another, so that a label stays with a device, also
/// when it gets another name or role, or is gone.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    known: HashMap<(NetnsId, Ifindex), Option<Label>>,
    named: BTreeSet<Label>,
}

impl Labels {
    /// Gives labels to the devices that are new. One that the configuration does not know yet gets
    /// another chance; when it is not there by then, it will not be.
    pub fn update(&mut self, inventory: &Inventory, sums: &Sums) {
        let passed = sums.devices.keys().filter_map(|(device, _)| *device);
        let dropped = sums.drops.keys().filter_map(|at| at.device);
        let devices: BTreeSet<(NetnsId, Ifindex)> = passed.chain(dropped).collect();
        for device in devices {
            let again = match self.known.get(&device) {
                None => false,
                Some(None) => true,
                Some(Some(_)) => continue,
            };
            let label = self.label(inventory, device);
            let last = again.then(|| other(netns(inventory, device.0)));
            self.known.insert(device, label.or(last));
        }
    }

    fn label(&mut self, inventory: &Inventory, device: (NetnsId, Ifindex)) -> Option<Label> {
        let link = inventory.link(device.0, device.1)?;
        let netns = netns(inventory, device.0);
        if device.0 == inventory.home && link.role == Role::Pod {
            return Some(Label {
                netns,
                device: PODS.to_owned(),
            });
        }
        let label = Label {
            netns,
            device: link.name.clone(),
        };
        if self.named.contains(&label) {
            return Some(label);
        }
        if self.named.len() >= MAX_DEVICES {
            return Some(other(netns));
        }
        self.named.insert(label.clone());
        Some(label)
    }

    /// The label of a device; `None` while it is not decided.
    pub fn get(&self, device: Option<(NetnsId, Ifindex)>) -> Option<Label> {
        match device {
            None => Some(other("?")),
            Some(device) => self.known.get(&device)?.clone(),
        }
    }
}

fn other(netns: &'static str) -> Label {
    Label {
        netns,
        device: OTHER.to_owned(),
    }
}

fn netns(inventory: &Inventory, id: NetnsId) -> &'static str {
    if id == inventory.home { "node" } else { "pod" }
}
