//! Everything that was reported of one tuple and its answer.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use thin_vec::ThinVec;

use super::{
    Drop,
    group::Built,
    nat::Links,
    shared::Shared,
    totals::{Changed, Lives, Moments},
};
use crate::event::{
    Counters, DropSample, Encap, EncapKey, HopKey, HopSample, IcmpSample, KtimeNs, Nat,
    RouteDecision, RouteFailure, TcpNotice, Tuple,
};

/// A flow at a device, all that is known.
#[derive(Clone, Debug)]
pub(super) struct HopTotals {
    pub(super) key: HopKey,
    pub(super) lives: Lives,
    /// Which sample the fields below are from: the newest one.
    version: (KtimeNs, u64, KtimeNs),
    pub(super) route: Option<Arc<RouteDecision>>,
    pub(super) encap: Option<Box<Encap>>,
    pub(super) mark: u32,
    pub(super) vlan: u16,
    pub(super) max_len: u32,
    pub(super) tcp_flags: u8,
    pub(super) route_changes: u32,
    /// The kernel's entry was deleted.
    pub(super) retired: bool,
    /// Connections that the packets were translated for, newest last.
    pub(super) nats: ThinVec<Nat>,
}

/// Connections of one hop that are kept: a client that uses a port again may reach another server.
const MAX_NATS: usize = 8;

impl HopTotals {
    pub(super) fn new(sample: &HopSample, at: KtimeNs, routes: &mut Shared<RouteDecision>) -> Self {
        Self {
            key: sample.key,
            lives: Lives::new(sample.counters),
            version: (sample.counters.last, sample.counters.packets, at),
            route: sample.route.map(|r| routes.share(r)),
            encap: sample.encap.map(Box::new),
            mark: sample.mark,
            vlan: sample.vlan,
            max_len: sample.max_len,
            tcp_flags: sample.tcp_flags,
            route_changes: sample.route_changes,
            retired: false,
            nats: sample.nat.into_iter().collect(),
        }
    }

    /// True when the connection is a new one.
    fn add_nat(&mut self, nat: Option<Nat>, newest: bool) -> bool {
        let Some(nat) = nat else { return false };
        let known = self.nats.iter().position(|n| *n == nat);
        if let Some(i) = known {
            if newest {
                self.nats[i..].rotate_left(1);
            }
            return false;
        }
        if self.nats.len() >= MAX_NATS {
            self.nats.remove(0);
        }
        let at = if newest { self.nats.len() } else { 0 };
        self.nats.insert(at, nat);
        true
    }

    pub(super) fn apply(
        &mut self,
        sample: &HopSample,
        at: KtimeNs,
        routes: &mut Shared<RouteDecision>,
    ) -> Changed {
        let counted = self.lives.apply(&sample.counters);
        let version = (sample.counters.last, sample.counters.packets, at);
        let mut changed = self.add_nat(sample.nat, version > self.version);
        if version > self.version {
            self.version = version;
            let route_differs = self.route.as_deref() != sample.route.as_ref();
            let encap_differs = self.encap.as_deref() != sample.encap.as_ref();
            changed |= route_differs
                || encap_differs
                || (self.mark, self.vlan) != (sample.mark, sample.vlan);
            if let (Some(route), true) = (sample.route, route_differs) {
                self.route = Some(routes.share(route));
            }
            if let (Some(encap), true) = (sample.encap, encap_differs) {
                self.encap = Some(Box::new(encap));
            }
            self.mark = sample.mark;
            self.vlan = sample.vlan;
            self.retired = false;
        } else {
            changed |= (self.route.is_none() && sample.route.is_some())
                || (self.encap.is_none() && sample.encap.is_some());
            if self.route.is_none() {
                self.route = sample.route.map(|r| routes.share(r));
            }
            if self.encap.is_none() {
                self.encap = sample.encap.map(Box::new);
            }
        }
        let max_len = self.max_len.max(sample.max_len);
        let flags = self.tcp_flags | sample.tcp_flags;
        let changes = self.route_changes.max(sample.route_changes);
        changed |= (max_len, flags, changes) != (self.max_len, self.tcp_flags, self.route_changes);
        (self.max_len, self.tcp_flags, self.route_changes) = (max_len, flags, changes);
        counted.or_more(changed)
    }
}

/// Packets that ended at one place, all that is known.
#[derive(Clone, Debug)]
pub(super) struct DropTotals {
    pub(super) lives: Lives,
    /// The newest sample; its counts are those of one life.
    pub(super) sample: DropSample,
    at: KtimeNs,
}

impl DropTotals {
    pub(super) fn new(sample: &DropSample, at: KtimeNs) -> Self {
        Self {
            lives: Lives::new(drop_counters(sample)),
            sample: sample.clone(),
            at,
        }
    }

    pub(super) fn is(&self, other: &DropSample) -> bool {
        self.sample.tuple == other.tuple
            && self.sample.encap.map(|e| e.key) == other.encap.map(|e| e.key)
            && self.sample.place == other.place
    }

    pub(super) fn apply(&mut self, sample: &DropSample, at: KtimeNs) -> Changed {
        let counted = self.lives.apply(&drop_counters(sample));
        let besides = |s: &DropSample| (s.route, s.mtu, s.encap, s.loss, s.has_sock);
        let before = besides(&self.sample);
        let max_len = self.sample.max_len.max(sample.max_len);
        let grew = max_len != self.sample.max_len;
        if (sample.last, sample.count, at) > (self.sample.last, self.sample.count, self.at) {
            let (route, mtu) = (self.sample.route, self.sample.mtu);
            self.sample = sample.clone();
            self.sample.route = sample.route.or(route);
            self.sample.mtu = sample.mtu.or(mtu);
            self.at = at;
        } else {
            self.sample.route = self.sample.route.or(sample.route);
            self.sample.mtu = self.sample.mtu.or(sample.mtu);
        }
        self.sample.max_len = max_len;
        counted.or_more(grew || besides(&self.sample) != before)
    }
}

fn drop_counters(s: &DropSample) -> Counters {
    Counters {
        packets: s.count,
        bytes: s.bytes,
        skbs: 0,
        first: s.first,
        last: s.last,
    }
}

/// What most flows do not have.
#[derive(Clone, Debug, Default)]
pub(super) struct Rare {
    pub(super) drops: Vec<DropTotals>,
    pub(super) icmp: Vec<IcmpSample>,
    pub(super) tcp: Vec<(TcpNotice, Moments)>,
    pub(super) failures: Vec<RouteFailure>,
}

/// All reports about a tuple and its answer, in all namespaces.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) hops: Vec<HopTotals>,
    pub(super) rare: Option<Box<Rare>>,
    /// Only for translated connections.
    pub(super) links: Option<Box<Links>>,
    /// Time of the last packet or report.
    pub(super) last: KtimeNs,
    /// The flows made of it, until something changes. Behind a cell because they are made when
    /// somebody looks.
    pub(super) built: RefCell<Option<Built>>,
}

impl Group {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn in_trouble(&self) -> bool {
        match &*self.built.borrow() {
            Some(built) if !built.stale => built.in_trouble(),
            _ => self
                .rare
                .as_ref()
                .is_some_and(|r| !r.failures.is_empty() || r.drops.iter().any(|d| d.sample.loss)),
        }
    }

    /// The flows made of it are out of date by their counts at most.
    pub(super) fn count(&mut self) {
        match self.built.get_mut() {
            Some(b) if b.counts.is_some() => b.recount = true,
            _ => self.outdate(),
        }
    }

    /// The flows have to be made again. Until then they are kept: most will be the same, and of the
    /// others it is told that they are gone.
    pub(super) fn outdate(&mut self) {
        if let Some(built) = self.built.get_mut() {
            built.stale = true;
        }
    }

    /// Outer headers around its packets.
    pub(super) fn outers(&self) -> impl Iterator<Item = &Encap> {
        self.hops.iter().filter_map(|h| h.encap.as_deref())
    }
}

/// All groups. Behind pointers because a table is up to three times as large as what is in it, more so when
/// flows come and go.
pub(super) type Groups = HashMap<Tuple, Box<Group>, RandomState>;

/// The key of a [`Group`]: the same for a tuple and its answer.
pub(super) fn group_key(tuple: &Tuple) -> Tuple {
    match answer(tuple) {
        Some(answer) => answer.min(*tuple),
        None => *tuple,
    }
}

/// The tuple of the answer; `None` for what has none (most ICMP messages).
pub(super) fn answer(tuple: &Tuple) -> Option<Tuple> {
    if tuple.later_fragment {
        // No ports and no ICMP type to be exchanged.
        return Some(Tuple {
            src: tuple.dst,
            dst: tuple.src,
            ..*tuple
        });
    }
    let reversed = tuple.reversed();
    (reversed.reversed() == *tuple).then_some(reversed)
}

impl DropTotals {
    /// As it is shown.
    pub(super) fn shown(&self) -> Drop {
        let total = self.lives.total();
        Drop {
            place: self.sample.place.clone(),
            count: total.packets,
            first: total.first,
            last: total.last,
            route: self.sample.route,
            mtu: self.sample.mtu,
            max_len: self.sample.max_len,
            encap: self.sample.encap,
        }
    }

    pub(super) fn encap_key(&self) -> Option<EncapKey> {
        self.sample.encap.map(|e| e.key)
    }
}

/// Most flows have one of a kind, or two: a vector that grows by itself has room for four from the start. Those
/// in trouble are kept longest, so that there may be nothing but them.
pub(super) fn push<T>(all: &mut Vec<T>, one: T) {
    if all.len() < 2 {
        all.reserve_exact(1);
    }
    all.push(one);
}

/// The same error, counted further.
pub(super) fn same_icmp(a: &IcmpSample, b: &IcmpSample) -> bool {
    (
        a.about,
        a.from,
        a.netns,
        a.dev,
        a.dir,
        a.icmp_type,
        a.code,
        a.local,
    ) == (
        b.about,
        b.from,
        b.netns,
        b.dev,
        b.dir,
        b.icmp_type,
        b.code,
        b.local,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_the_room_of_one() {
        let mut all = Vec::new();
        for (n, room) in [(1, 1), (2, 2), (3, 4)] {
            push(&mut all, n);
            assert_eq!(all.capacity(), room);
        }
    }
}
