//! What a rule looks at.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Intent,
    drops::{self, Cause, Hit},
    trace::Trace,
};
use crate::{
    event::{Ifindex, NetnsId},
    inventory::{Inventory, Link, Netns, Role},
    model::{FlowId, Snapshot},
};

/// Everything a rule may use.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// Flows, drops and losses.
    pub snapshot: &'a Snapshot,
    /// Configuration of the node.
    pub inventory: &'a Inventory,
    /// What is meant, as far as it is known.
    pub intent: &'a Intent,
    /// False when a filter or a choice of devices can leave answers out: then nothing is called
    /// unanswered.
    pub answers_visible: bool,
    hidden: BTreeSet<FlowId>,
}

impl<'a> Context<'a> {
    /// With an unknown intent and answers visible.
    pub fn new(snapshot: &'a Snapshot, inventory: &'a Inventory) -> Self {
        Self {
            snapshot,
            inventory,
            intent: Intent::UNKNOWN,
            answers_visible: true,
            hidden: BTreeSet::new(),
        }
    }

    /// With a known intent.
    #[must_use]
    pub fn with_intent(mut self, intent: &'a Intent) -> Self {
        self.intent = intent;
        self
    }

    /// Says whether the filter and the chosen devices show both directions of every flow.
    #[must_use]
    pub fn with_answers_visible(mut self, visible: bool) -> Self {
        self.answers_visible = visible;
        self
    }

    pub(super) fn without(&self, hidden: BTreeSet<FlowId>) -> Self {
        Self {
            hidden,
            ..self.clone()
        }
    }

    /// Both directions of all flows that no cause has explained yet for this rule.
    pub(super) fn traces(&self) -> impl Iterator<Item = Trace<'a>> + '_ {
        let snapshot: &'a Snapshot = self.snapshot;
        snapshot
            .flows
            .iter()
            .filter(|f| !self.hidden.contains(&f.id))
            .flat_map(|flow| [false, true].map(|is_reply| Trace { flow, is_reply }))
    }

    /// Drops of flows with this cause.
    pub(super) fn drops(&self, cause: Cause) -> Vec<Hit<'a>> {
        self.traces()
            .flat_map(|trace| {
                trace
                    .dir()
                    .drops
                    .iter()
                    .map(move |drop| Hit { trace, drop })
            })
            .filter(|hit| drops::cause(self, hit) == cause)
            .collect()
    }

    /// A missing answer means something: nothing that could hold it is left out or was lost.
    /// Records that were not sent do not count here, totals stay exact without them.
    pub(super) fn silence_counts(&self) -> bool {
        self.answers_visible && self.snapshot.loss.evicted == 0
    }

    pub(super) fn netns(&self, id: NetnsId) -> Option<&'a Netns> {
        self.inventory.netns.get(&id)
    }

    pub(super) fn role(&self, netns: NetnsId, dev: Ifindex) -> Option<Role> {
        self.inventory.link(netns, dev).map(|l| l.role)
    }

    pub(super) fn link(&self, netns: NetnsId, dev: Ifindex) -> Option<&'a Link> {
        self.inventory.link(netns, dev)
    }

    /// A sysctl as a number; `None` when it was not read.
    pub(super) fn sysctl(&self, netns: NetnsId, name: &str) -> Option<u32> {
        self.netns(netns)?.sysctls.get(name)?.trim().parse().ok()
    }

    /// Multicast, limited broadcast or the broadcast address of a connected network: sent to
    /// everybody, so that nobody need answer and many need not listen.
    pub(super) fn is_for_many(&self, netns: NetnsId, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else {
            return address.is_multicast();
        };
        if v4.is_multicast() || v4.is_broadcast() {
            return true;
        }
        self.netns(netns).is_some_and(|ns| {
            ns.addresses().any(|(_, a)| {
                let host_bits = u32::MAX.checked_shr(u32::from(a.prefix_len)).unwrap_or(0);
                host_bits > 1
                    && a.prefix().contains(address)
                    && u32::from(v4) & host_bits == host_bits
            })
        })
    }

    /// The packets of this direction were made by a pod of this node or by the node itself.
    pub(super) fn is_from_here(&self, trace: &Trace<'_>) -> bool {
        match trace.entry() {
            Some(hop) => self.role(hop.netns, hop.dev) == Some(Role::Pod),
            None => true,
        }
    }
}
