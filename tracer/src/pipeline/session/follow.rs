//! Following the node's configuration: devices and namespaces that come and go, names of pods.

use std::{sync::Arc, time::Instant};

use super::{LOOPBACK, Session};
use crate::{
    event::Ifindex,
    net::{self, watch::Notice},
    pipeline::start::{attach, is_traced, mark_tunnels},
};

impl Session {
    /// Follows the node's configuration: new devices at once, the rest after a moment.
    pub(super) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::LinkChanged(ifindex, name, _up) => {
                if self.inventory.link(self.inventory.home, ifindex).is_none() {
                    self.new_device();
                }
                if ifindex != LOOPBACK && !self.devices_given {
                    attach(&mut self.probe, ifindex, &name, &mut self.limits);
                }
            }
            Notice::LinkGone(ifindex) => self.gone(ifindex),
            Notice::Changed | Notice::Overrun => {}
        }
        self.reread.get_or_insert_with(Instant::now);
    }

    /// It may lead to a pod that the filter asks for: until that is known, its packets pass.
    fn new_device(&mut self) {
        if self.filter.names_pods()
            && let Err(e) = self.probe.set_filter(&self.filter.lower().prog)
        {
            tracing::warn!("{e}");
        }
    }

    fn gone(&mut self, ifindex: Ifindex) {
        self.probe.forget_device(ifindex);
    }

    /// Reads the configuration again; keeps the old one when that fails.
    pub(super) fn read_again(&mut self) {
        self.reread = None;
        let inventory = match net::read_inventory(&self.selection, &self.proc) {
            Ok(read) => {
                let mut inventory = read.inventory;
                self.names.assign(&mut inventory, &read.processes);
                inventory
            }
            Err(e) => {
                tracing::warn!("the node's configuration could not be read again: {e}");
                return;
            }
        };
        for netns in inventory.netns.values().filter(|n| n.edge) {
            if !self.inventory.netns.contains_key(&netns.id)
                && let Err(e) = self.probe.add_edge(netns.id)
            {
                tracing::warn!("{e}");
            }
        }
        for netns in self.inventory.netns.values().filter(|n| n.edge) {
            if !inventory.netns.contains_key(&netns.id)
                && let Err(e) = self.probe.remove_edge(netns.id)
            {
                tracing::warn!("{e}");
            }
        }
        if !self.devices_given {
            let links = inventory.home().into_iter().flat_map(|n| n.links.values());
            for link in links.filter(|l| is_traced(l)) {
                attach(&mut self.probe, link.ifindex, &link.name, &mut self.limits);
            }
        }
        if let Err(e) = mark_tunnels(&self.probe, &inventory) {
            tracing::warn!("{e}");
        }
        if *self.inventory != inventory {
            self.inventory = Arc::new(inventory);
            self.model_inventory();
        }
        self.lower();
    }

    /// Takes names that are known only now.
    pub(super) fn name_again(&mut self) {
        if let Some(named) = self.names.again(&self.inventory) {
            self.inventory = Arc::new(named);
            self.model_inventory();
            self.lower();
        }
    }

    /// Pods that a filter asks for are addresses in the kernel.
    fn lower(&mut self) {
        if !self.filter.names_pods() {
            return;
        }
        let prog = self.names.lower(&self.filter, &self.inventory).prog;
        if let Err(e) = self.probe.set_filter(&prog) {
            tracing::warn!("{e}");
        }
    }

    pub(super) fn model_inventory(&mut self) {
        self.model.set_inventory(self.inventory.clone());
        self.model.set_explain(self.inventory.clone());
    }
}
