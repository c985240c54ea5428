//! Following the node's configuration: devices and namespaces that come and go, names of pods.

use std::{sync::Arc, time::Instant};

use super::{DEBOUNCE, LOOPBACK, Session, pace::PAUSE_FACTOR};
use crate::{
    event::Ifindex,
    net::{self, watch::Notice},
    pipeline::{
        SessionConfig,
        devices::{self, Followed, attach},
        start::drop_root,
    },
    probe::Device,
    view::Question,
};

impl Session {
    /// What can wait until it is ready.
    pub(super) fn go_on(&mut self, config: &SessionConfig) {
        if config.drop_root {
            drop_root(config);
        }
        // a thread that was there before would have lost what attaching needs
        self.probe.attach_rest();
    }

    /// Follows the node's configuration: new devices at once, the rest after a moment.
    pub(super) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::LinkChanged(ifindex, name, _up) => {
                if self.inventory.link(self.inventory.home, ifindex).is_none() {
                    self.new_device();
                }
                if ifindex != LOOPBACK && !self.devices_given {
                    let device = Device { ifindex, name };
                    attach(&mut self.probe, &device, &mut self.limits);
                }
            }
            Notice::LinkGone(ifindex) => self.gone(ifindex),
            Notice::Overrun => self.overrun(),
            Notice::Changed => {}
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

    fn overrun(&mut self) {
        self.overrun = true;
        let text = "changes of the node's configuration came faster than they could be read and \
                    some were lost; all of it was read again. What left by new devices meanwhile is \
                    not counted";
        if devices::add(&mut self.limits, text.to_owned(), Question::Path) {
            tracing::warn!("{text}");
        }
    }

    /// Reads the configuration again; keeps the old one when that fails.
    pub(super) fn read_again(&mut self) {
        let begun = Instant::now();
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
        self.debounce = DEBOUNCE.max(begun.elapsed() * PAUSE_FACTOR);
        let followed = Followed {
            devices_given: self.devices_given,
            overrun: std::mem::take(&mut self.overrun),
        };
        let (old, limits) = (&self.inventory, &mut self.limits);
        devices::follow(&mut self.probe, (old, &inventory), followed, limits);
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
