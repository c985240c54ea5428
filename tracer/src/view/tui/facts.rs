//! What the table orders and counts flows by, worked out when a picture is made and not where keys
//! are answered.

use std::{collections::HashMap, sync::Arc};

use super::flows::{Class, class, drops, last};
use crate::{
    diagnose::{Finding, Severity},
    event::KtimeNs,
    model::{Flow, FlowId, Snapshot},
};

/// Of one flow. To take very many flows in is to wait for memory: these stand one after the other,
/// flows and their paths do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) id: FlowId,
    pub(super) class: Class,
    /// Packets of both directions.
    pub(super) packets: u64,
    /// Packets dropped, both directions, and lookups that failed.
    pub(super) drops: u64,
    /// Time of the last packet, drop or failed lookup.
    pub(super) last: KtimeNs,
    /// Number of the first finding about it; `u32::MAX` for none.
    pub(super) finding: u32,
    /// A finding about it is more than worth knowing.
    pub(super) serious: bool,
}

impl Facts {
    /// Of all flows, in their order.
    pub(super) fn of(snapshot: &Snapshot, findings: &[Finding]) -> Arc<[Self]> {
        let named = named(findings);
        let facts = |f: &Arc<Flow>| {
            let (finding, serious) = named.get(&f.id).copied().unwrap_or((u32::MAX, false));
            let drops = drops(f);
            Self {
                id: f.id,
                class: class(f, drops, serious),
                packets: f.forward.packets + f.reply.packets,
                drops,
                last: last(f),
                finding,
                serious,
            }
        };
        snapshot.flows.iter().map(facts).collect()
    }
}

/// The flows that findings name: number of the first finding, and whether one is more than worth
/// knowing.
fn named(findings: &[Finding]) -> HashMap<FlowId, (u32, bool)> {
    let mut named = HashMap::new();
    for (number, finding) in (0_u32..).zip(findings) {
        let serious = finding.severity != Severity::Info;
        for id in &finding.subject.flows {
            let entry = named.entry(*id).or_insert((number, serious));
            entry.1 |= serious;
        }
    }
    named
}
