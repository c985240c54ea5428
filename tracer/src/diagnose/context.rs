//! What a rule looks at.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use foldhash::fast::RandomState;

use super::{
    Intent,
    drops::{self, Cause, Hit},
    signs::{Sign, Signs},
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
    hidden: Hidden,
    /// Worked out when a rule first asks for it, and for all of them.
    found: Arc<Found<'a>>,
}

/// Flows that a rule does not see.
pub(super) type Hidden = HashSet<FlowId, RandomState>;

/// What all rules ask for: a node has 100,000 flows, and most of them show nothing.
#[derive(Debug, Default)]
struct Found<'a> {
    /// What there is to see of each flow.
    signs: OnceLock<Vec<Signs>>,
    /// All drops with their causes.
    drops: OnceLock<Vec<(Cause, Hit<'a>)>>,
}

impl<'a> Context<'a> {
    /// With an unknown intent and answers visible.
    pub fn new(snapshot: &'a Snapshot, inventory: &'a Inventory) -> Self {
        Self {
            snapshot,
            inventory,
            intent: Intent::UNKNOWN,
            answers_visible: true,
            hidden: Hidden::default(),
            found: Arc::default(),
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
        self.found = Arc::default();
        self
    }

    pub(super) fn without(&self, hidden: Hidden) -> Self {
        Self {
            hidden,
            ..self.clone()
        }
    }

    /// Both directions of all flows that no cause has explained yet for this rule.
    pub(super) fn traces(&self) -> impl Iterator<Item = Trace<'a>> + '_ {
        let snapshot: &'a Snapshot = self.snapshot;
        let flows = snapshot.flows.iter().filter(|f| self.sees(&f.id));
        flows.flat_map(|flow| [false, true].map(|is_reply| Trace { flow, is_reply }))
    }

    /// Of these the flows that show one of the signs, in one direction at least.
    pub(super) fn traces_with(&self, any: Signs) -> impl Iterator<Item = Trace<'a>> + '_ {
        let snapshot: &'a Snapshot = self.snapshot;
        // flows lie far apart in memory: those that show nothing are not looked at
        let flows = self.signs().iter().zip(&snapshot.flows);
        flows
            .filter(move |(signs, f)| signs.has(any) && self.sees(&f.id))
            .flat_map(|(_, flow)| [false, true].map(|is_reply| Trace { flow, is_reply }))
    }

    fn signs(&self) -> &[Signs] {
        self.found.signs.get_or_init(|| Signs::of_all(self))
    }

    fn sees(&self, id: &FlowId) -> bool {
        self.hidden.is_empty() || !self.hidden.contains(id)
    }

    /// Drops of flows with this cause.
    pub(super) fn drops(&self, cause: Cause) -> Vec<Hit<'a>> {
        let all = self.found.drops.get_or_init(|| {
            let flows = self.signs().iter().zip(&self.snapshot.flows);
            let dropped = flows.filter(|(signs, _)| signs.has(Sign::Dropped.into()));
            let traces = dropped
                .flat_map(|(_, flow)| [false, true].map(|is_reply| Trace { flow, is_reply }));
            let hits = traces.flat_map(|trace| {
                let drops = trace.dir().drops.iter();
                drops.map(move |drop| Hit { trace, drop })
            });
            hits.map(|hit| (drops::cause(self, &hit), hit)).collect()
        });
        let wanted = all.iter().filter(|(c, _)| *c == cause).map(|(_, hit)| *hit);
        wanted.filter(|h| self.sees(&h.trace.flow.id)).collect()
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
