//! From the kernel's tables and records into the model.

use std::collections::{BTreeMap, HashMap, HashSet};

use tracer_abi::{
    counter::Counter,
    drop::{DropKey, DropRecord, DropValue, IcmpRecord},
    entries,
    flow::{FlowEntry, FlowRecord},
    key::{FAMILY_IPV6, Tuple},
    record::RouteFailRecord,
    route::FailKey,
};

use super::{PipelineEvent, Recorded, SessionConfig};
use crate::{
    decode::{DecodeError, Decoder, PacketRecord},
    event::{Body, Event, KtimeNs},
    model::{Loss, Model},
    probe::{Batch, Probe, ProbeError},
};

/// An idle flow leaves the kernel's table after this time, when the table fills.
const FLOW_IDLE_NS: u64 = 30_000_000_000;
/// Ends of packets that are no loss leave the table soon: healthy TCP makes one or two for each
/// connection.
const NO_LOSS_IDLE_NS: u64 = 2_000_000_000;
/// Tables are aged when they hold more than this; the flows' when a quarter is full.
const DROPS_FULL_ENOUGH: usize = 16_384 / 2;
/// A failed lookup counts when no later table answered within this time: a walk over all tables
/// takes microseconds.
const WALK_NS: u64 = 10_000_000;
/// The last packet of a flow has a time that may be some ticks old: entries this much older are read
/// again.
const SLACK_NS: u64 = 100_000_000;

/// The same lookup with its source left open.
fn any_source(key: &FailKey) -> FailKey {
    FailKey {
        tuple: Tuple {
            saddr: [0; 16],
            ..key.tuple
        },
        ..*key
    }
}

/// Who is told, beside the model, of totals and packets.
pub(super) type Tell<'a> = &'a mut dyn FnMut(PipelineEvent<'_>);

/// Reads the kernel side into a model.
pub(super) struct Feed {
    decoder: Decoder,
    scanned: KtimeNs,
    aged: KtimeNs,
    undecoded: u64,
    /// Failed lookups that the model knows of.
    failed: HashMap<FailKey, u64>,
    /// Everything is told, for a recording.
    recording: bool,
    /// What was idle this long is forgotten, nanoseconds.
    forget: Option<u64>,
    /// Failed lookups by errno, for sums.
    failures: BTreeMap<u32, u64>,
    /// Flows leave the kernel's table when it has so many.
    full_enough: u32,
}

impl Feed {
    pub(super) fn new(decoder: Decoder, config: &SessionConfig) -> Self {
        Self {
            decoder,
            scanned: KtimeNs::default(),
            aged: KtimeNs::default(),
            undecoded: 0,
            failed: HashMap::new(),
            recording: config.recording.is_some(),
            forget: config.forget.map(|d| d.as_nanos() as u64),
            failures: BTreeMap::new(),
            full_enough: config.flows.unwrap_or(entries::FLOWS) / 4,
        }
    }

    /// Decodes a batch of records, applies each and hands it on. Returns what `each` last
    /// answered: false ends the batch.
    pub(super) fn records(
        &mut self,
        batch: &Batch,
        model: &mut Model,
        mut each: impl FnMut(PipelineEvent<'_>) -> bool,
    ) -> bool {
        for record in batch.iter() {
            if self.recording {
                match self.decoder.packet(record) {
                    Ok(PacketRecord::Packet(packet)) => {
                        let event = PipelineEvent::Recording(Recorded::Packet(&packet));
                        if !each(event) {
                            return false;
                        }
                        continue;
                    }
                    Ok(PacketRecord::NoLoss) => continue,
                    Ok(PacketRecord::Other) => {}
                    Err(e) => {
                        self.lost(&e);
                        continue;
                    }
                }
            }
            match self.decoder.decode(record) {
                Ok(Some(event)) => {
                    model.apply(&event);
                    if !each(PipelineEvent::Event(&event)) {
                        return false;
                    }
                }
                Ok(None) => {}
                Err(e) => self.lost(&e),
            }
        }
        true
    }

    fn lost(&mut self, e: &DecodeError) {
        self.undecoded += 1;
        tracing::debug!("record not decoded: {e}");
    }

    /// The next scan is the last one: it takes every entry, whatever the time of its last packet.
    pub(super) fn all_again(&mut self) {
        self.scanned = KtimeNs::default();
    }

    /// Applies every entry of the tables that changed since the last scan.
    pub(super) fn scan(
        &mut self,
        probe: &Probe,
        model: &mut Model,
        now: KtimeNs,
        tell: Tell<'_>,
    ) -> Result<(), ProbeError> {
        let since = self.scanned.0.saturating_sub(SLACK_NS);
        self.scan_flows(probe, model, (now, since), tell)?;
        self.scan_drops(probe, model, (now, since), tell)?;
        self.age_wanted(probe, now)?;
        let mut events = Vec::new();
        probe.icmp.scan(|key, value| {
            if value.last_ns >= since {
                events.push(self.decoder.icmp(
                    &IcmpRecord {
                        key: *key,
                        value: *value,
                    },
                    now,
                ));
            }
        })?;
        // a socket of IPv6 without a source looks up once to choose one, and again with it
        let mut with_source = HashSet::new();
        probe.route_fails.scan(|key, _| {
            if key.tuple.family == FAMILY_IPV6 && key.tuple.saddr != [0; 16] {
                with_source.insert(any_source(key));
            }
        })?;
        probe.route_fails.scan(|key, value| {
            if with_source.contains(key) {
                return;
            }
            let settled = now.0.saturating_sub(value.last_ns) > WALK_NS;
            let known = self.failed.get(key).copied().unwrap_or(0);
            if settled && value.count > known {
                self.failed.insert(*key, value.count);
                *self.failures.entry(value.errno).or_default() += value.count - known;
                let record = RouteFailRecord {
                    key: *key,
                    value: *value,
                };
                events.push(self.decoder.route_fail(&record, now));
            }
        })?;
        self.apply(model, events, tell);
        self.scanned = now;
        model.tick(now);
        self.forget_idle(probe, model, now)
    }

    /// Takes out, of the kernel's tables first, what a session without end would collect.
    fn forget_idle(
        &mut self,
        probe: &Probe,
        model: &mut Model,
        now: KtimeNs,
    ) -> Result<(), ProbeError> {
        let Some(idle) = self.forget else {
            return Ok(());
        };
        let before = now.0.saturating_sub(idle);
        let (mut errors, mut failures) = (Vec::new(), Vec::new());
        probe.icmp.scan(|key, value| {
            if value.last_ns < before {
                errors.push(*key);
            }
        })?;
        probe.route_fails.scan(|key, value| {
            if value.last_ns < before {
                failures.push(*key);
            }
        })?;
        errors.iter().try_for_each(|key| probe.icmp.remove(key))?;
        for key in &failures {
            probe.route_fails.remove(key)?;
            self.failed.remove(key);
        }
        model.forget(KtimeNs(before));
        Ok(())
    }

    /// Lookups of local senders that found no route, by errno.
    pub(super) fn route_failures(&self) -> &BTreeMap<u32, u64> {
        &self.failures
    }

    /// Takes translated connections out that sent nothing for a while; those that do are entered
    /// again each second.
    fn age_wanted(&mut self, probe: &Probe, now: KtimeNs) -> Result<(), ProbeError> {
        if now.since(self.aged) < FLOW_IDLE_NS / 4 {
            return Ok(());
        }
        self.aged = now;
        let mut idle = Vec::new();
        probe.wanted.scan(|key, at| {
            if now.0.saturating_sub(*at) > FLOW_IDLE_NS {
                idle.push(*key);
            }
        })?;
        idle.iter().try_for_each(|key| probe.wanted.remove(key))
    }

    fn apply(
        &mut self,
        model: &mut Model,
        events: impl IntoIterator<Item = Result<Event, DecodeError>>,
        tell: Tell<'_>,
    ) {
        for event in events {
            match event {
                Ok(event) => self.take(model, &event, tell),
                Err(e) => self.lost(&e),
            }
        }
    }

    fn take(&self, model: &mut Model, event: &Event, tell: Tell<'_>) {
        // a file has what did not change already
        if model.learn(event) && self.recording {
            tell(PipelineEvent::Recording(Recorded::Total(event)));
        }
    }

    fn scan_flows(
        &mut self,
        probe: &Probe,
        model: &mut Model,
        (now, since): (KtimeNs, u64),
        tell: Tell<'_>,
    ) -> Result<(), ProbeError> {
        let (mut idle, mut total) = (Vec::new(), 0_u32);
        probe.settle()?;
        // each entry at once: to keep the events of a full table takes as much memory as its flows
        probe.flows.scan(|digest, entry| {
            total += 1;
            let last = entry.value.last_ns;
            if last >= since {
                match self.flow(entry, now) {
                    Ok(event) => self.take(model, &event, tell),
                    Err(e) => self.lost(&e),
                }
            } else if now.0.saturating_sub(last) > FLOW_IDLE_NS {
                idle.push(*digest);
            }
        })?;
        if total < self.full_enough && self.forget.is_none() {
            return Ok(());
        }
        for digest in idle {
            let Some(entry) = probe.flows.take(&digest)? else {
                continue;
            };
            match self.flow(&entry, now) {
                Ok(event) => {
                    self.take(model, &event, tell);
                    if let Body::Hop(hop) = &event.body {
                        model.retire(&hop.key);
                        if self.recording {
                            tell(PipelineEvent::Recording(Recorded::Retired(&hop.key)));
                        }
                    }
                }
                Err(e) => self.lost(&e),
            }
        }
        Ok(())
    }

    fn flow(&self, entry: &FlowEntry, now: KtimeNs) -> Result<Event, DecodeError> {
        self.decoder.flow(
            &FlowRecord {
                key: entry.key,
                change: 0,
                value: entry.value,
            },
            now,
        )
    }

    fn scan_drops(
        &mut self,
        probe: &Probe,
        model: &mut Model,
        (now, since): (KtimeNs, u64),
        tell: Tell<'_>,
    ) -> Result<(), ProbeError> {
        let (mut seen, mut total) = (Vec::<(DropKey, DropValue)>::new(), 0);
        probe.drops.scan(|key, value| {
            total += 1;
            seen.push((*key, *value));
        })?;
        for (key, value) in seen {
            let idle = now.0.saturating_sub(value.last_ns);
            let old = value.last_ns < since;
            if old && idle < NO_LOSS_IDLE_NS {
                continue;
            }
            let event = match self.decoder.drop(&DropRecord { key, value }, now) {
                Ok(event) => event,
                Err(e) => {
                    if !old {
                        self.lost(&e);
                    }
                    continue;
                }
            };
            let loss = matches!(&event.body, Body::Drop(d) if d.loss);
            if !old {
                self.take(model, &event, tell);
            }
            let ages = if loss {
                (total > DROPS_FULL_ENOUGH || self.forget.is_some()) && idle > FLOW_IDLE_NS
            } else {
                idle > NO_LOSS_IDLE_NS
            };
            if !ages {
                continue;
            }
            if let Some(value) = probe.drops.take(&key)? {
                match self.decoder.drop(&DropRecord { key, value }, now) {
                    Ok(event) => {
                        self.take(model, &event, tell);
                        if self.recording {
                            tell(PipelineEvent::Recording(Recorded::Forgotten(&event)));
                        }
                    }
                    Err(e) => self.lost(&e),
                }
            }
        }
        Ok(())
    }

    /// Packets with their bytes that found the ring buffer full.
    pub(super) fn packets_lost(probe: &Probe) -> Result<u64, ProbeError> {
        Ok(probe.counters()?.get(Counter::PacketsLost))
    }

    /// What was not shown, from the counters of both sides.
    pub(super) fn loss(&self, probe: &Probe) -> Result<Loss, ProbeError> {
        // in this order: what the second programs made good is not more than what was skipped
        let counters = probe.counters()?;
        let skipped = probe.skipped();
        Ok(Loss {
            events: counters.get(Counter::RingFull),
            evicted: counters.get(Counter::FlowsFull)
                + counters.get(Counter::DropsFull)
                + counters.get(Counter::IcmpFull)
                + counters.get(Counter::RouteFailsFull)
                + counters.get(Counter::WantedFull),
            undecoded: self.undecoded,
            untracked: counters.get(Counter::Unreadable) + skipped.packets,
            lookups: skipped
                .lookups
                .saturating_sub(counters.get(Counter::LookupsAgain)),
        })
    }
}
