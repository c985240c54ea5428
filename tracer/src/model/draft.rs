//! A direction in the making.

use super::{Drop, chain::Chain, flow::Scope};
use crate::event::{Encap, IcmpSample, Ifindex, KtimeNs, Nat, NetnsId, RouteFailure, Tuple};

/// One direction with all that belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) tuple: Tuple,
    pub(super) scope: Scope,
    /// `None` when no hop was seen, only drops, errors or failures.
    pub(super) chain: Option<Chain>,
    pub(super) drops: Vec<Drop>,
    pub(super) icmp: Vec<IcmpSample>,
    pub(super) retransmits: u64,
    pub(super) resets: u64,
    pub(super) failures: Vec<RouteFailure>,
    /// Connections that translate it, newest last; empty when none does.
    pub(super) nats: Vec<Nat>,
}

impl Draft {
    pub(super) fn of_chain(tuple: Tuple, chain: Chain) -> Self {
        let mut nats: Vec<Nat> = Vec::new();
        for leg in chain.legs() {
            for nat in leg.nats.iter().chain(&leg.nat) {
                nats.retain(|n| n != nat);
                nats.push(*nat);
            }
        }
        Self {
            scope: chain.scope,
            nats,
            chain: Some(chain),
            ..Self::empty(tuple, Scope::default())
        }
    }

    pub(super) fn empty(tuple: Tuple, scope: Scope) -> Self {
        Self {
            tuple,
            scope,
            chain: None,
            drops: Vec::new(),
            icmp: Vec::new(),
            retransmits: 0,
            resets: 0,
            failures: Vec::new(),
            nats: Vec::new(),
        }
    }

    /// It is the direction that opened a translated connection, or its answer; `None` without
    /// translation.
    pub(super) fn opens_nat(&self) -> Option<bool> {
        self.nats.last().map(|n| n.original == self.tuple)
    }

    /// The addresses that routing looks up: after the destination is translated, before the source
    /// is.
    pub(super) fn routed(&self) -> Tuple {
        self.nats
            .last()
            .map_or(self.tuple, |n| n.routed(&self.tuple))
    }

    /// Packets, counted at the entries; without hops, those that ended.
    pub(super) fn packets(&self) -> u64 {
        match &self.chain {
            Some(chain) => chain.entries().map(|l| l.counters.packets).sum(),
            None => self.drops.iter().map(|d| d.count).sum(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.chain
            .iter()
            .flat_map(Chain::entries)
            .map(|l| l.counters.bytes)
            .sum()
    }

    /// Time of the first packet or report.
    pub(super) fn first(&self) -> KtimeNs {
        let hops = self
            .chain
            .iter()
            .flat_map(Chain::legs)
            .map(|l| l.counters.first);
        let drops = self.drops.iter().map(|d| d.first);
        // An error comes after what it is about.
        let packets = hops.chain(drops).min();
        packets
            .or_else(|| self.failures.iter().map(|f| f.first).min())
            .or_else(|| self.icmp.iter().map(|i| i.first).min())
            .unwrap_or_default()
    }

    /// Time of the last packet or report.
    pub(super) fn last(&self) -> KtimeNs {
        let hops = self
            .chain
            .iter()
            .flat_map(Chain::legs)
            .map(|l| l.counters.last);
        let drops = self.drops.iter().map(|d| d.last);
        let reports = self.failures.iter().map(|f| f.last);
        hops.chain(drops)
            .chain(reports)
            .max()
            .or_else(|| self.icmp.iter().map(|i| i.last).max())
            .unwrap_or_default()
    }

    pub(super) fn tcp_flags(&self) -> u8 {
        self.chain
            .iter()
            .flat_map(Chain::legs)
            .fold(0, |acc, l| acc | l.tcp_flags)
    }

    /// Devices by which its packets came in.
    pub(super) fn entry_devs(&self) -> impl Iterator<Item = Ifindex> {
        let from_legs =
            self.chain
                .iter()
                .flat_map(Chain::entries)
                .filter_map(|l| match l.key.dir {
                    crate::event::Dir::In => Some(l.key.dev),
                    crate::event::Dir::Out => l.key.in_dev,
                });
        from_legs.chain(self.chain.is_none().then_some(self.scope.dev).flatten())
    }

    /// Devices by which its packets left.
    pub(super) fn exit_devs(&self) -> impl Iterator<Item = Ifindex> {
        self.chain.iter().flat_map(Chain::exits).map(|l| l.key.dev)
    }

    /// It passes this device.
    pub(super) fn passes(&self, netns: NetnsId, dev: Ifindex) -> bool {
        netns == self.scope.netns
            && (self.scope.dev == Some(dev)
                || self
                    .chain
                    .iter()
                    .flat_map(Chain::legs)
                    .any(|l| l.key.dev == dev))
    }

    /// Outer headers that it was seen with.
    pub(super) fn outers(&self) -> impl Iterator<Item = &Encap> {
        self.chain
            .iter()
            .flat_map(Chain::legs)
            .filter_map(|l| l.encap.as_ref())
    }
}
