//! Joins the two sides of address translation.
//!
//! Reports come by the addresses that packets have where they are seen. A translated connection is
//! therefore in two groups: that of its original tuple, as the client knows it, and that of its
//! translated tuple, as the server knows it. What packets say where they leave connects the two, and
//! the flow of the original tuple takes over what belongs to it.

use std::collections::BTreeSet;

use super::record::{Group, Groups, HopTotals, group_key};
use crate::event::{Dir, KtimeNs, Nat, NetnsId, Tuple};

/// More connections of one translated tuple than this are forgotten, oldest first.
const MAX_SOURCES: usize = 16;

/// A connection that was seen to be translated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) nat: Nat,
    /// Where it is translated.
    pub(super) netns: NetnsId,
    /// Last packet.
    last: KtimeNs,
}

/// What translation connects a group with.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// Connections of which this group holds the translated side.
    pub(super) sources: Vec<Source>,
    /// Groups that hold the translated side of this group's connections.
    pub(super) parts: Vec<Tuple>,
}

/// Whose a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Its own group's.
    Own,
    /// That of the connection's original tuple.
    Of(Nat),
    /// Several connections', one after the other, and nothing tells which packet is whose: it is
    /// shown by none. Each shows the same packets where they left translated.
    Shared,
}

impl Links {
    pub(super) fn knows(&self, nat: &Nat, netns: NetnsId) -> bool {
        self.sources
            .iter()
            .any(|s| s.nat == *nat && s.netns == netns)
    }

    pub(super) fn add(&mut self, nat: &Nat, netns: NetnsId, at: KtimeNs) {
        let known = self
            .sources
            .iter_mut()
            .find(|s| s.nat == *nat && s.netns == netns);
        match known {
            Some(source) => source.last = source.last.max(at),
            None => self.sources.push(Source {
                nat: *nat,
                netns,
                last: at,
            }),
        }
        if self.sources.len() > MAX_SOURCES
            && let Some(oldest) = (0..self.sources.len()).min_by_key(|i| self.sources[*i].last)
        {
            self.sources.swap_remove(oldest);
        }
    }

    pub(super) fn owner(&self, hop: &HopTotals) -> Owner {
        if self.sources.is_empty() {
            return Owner::Own;
        }
        let (tuple, netns) = (hop.key.tuple, hop.key.netns);
        let own = |n: &&Nat| n.translated == tuple && self.knows(n, netns);
        if let Some(nat) = hop.nats.iter().rev().find(own) {
            return Owner::Of(*nat);
        }
        if !hop.nats.is_empty() {
            return Owner::Own;
        }
        // Below a tunnel device the connection is no longer known. What came in with the translated
        // addresses was not translated here.
        let fits = |s: &&Source| {
            s.netns == netns
                && (tuple == s.nat.translated.reversed()
                    || tuple == s.nat.translated && hop.key.dir == Dir::Out)
        };
        let newest = self.sources.iter().filter(fits).max_by_key(|s| s.last);
        let originals: BTreeSet<_> = self
            .sources
            .iter()
            .filter(fits)
            .map(|s| s.nat.original)
            .collect();
        match newest {
            None => Owner::Own,
            Some(_) if originals.len() > 1 && hop.key.dir == Dir::In => Owner::Shared,
            Some(source) => Owner::Of(source.nat),
        }
    }

    /// The tuple on the client's side of packets that have `wire` on the server's side.
    pub(super) fn client_side(&self, wire: &Tuple) -> Option<Tuple> {
        let of = |s: &Source| Some((s.last, s.nat.on_client_side(wire)?));
        self.sources.iter().filter_map(of).max().map(|(_, t)| t)
    }
}

impl Group {
    pub(super) fn links(&mut self) -> &mut Links {
        self.links.get_or_insert_default()
    }

    pub(super) fn is_linked(&self) -> bool {
        self.links.is_some()
    }

    /// Groups of the flows that take over parts of this one.
    pub(super) fn takers(&self) -> impl Iterator<Item = Tuple> {
        let sources = self.links.iter().flat_map(|l| &l.sources);
        sources.map(|s| group_key(&s.nat.original))
    }

    /// Groups that this one takes parts of.
    pub(super) fn parts<'g>(&'g self, groups: &'g Groups) -> impl Iterator<Item = &'g Group> {
        let parts = self.links.iter().flat_map(|l| &l.parts);
        parts.filter_map(|key| groups.get(key).map(|g| &**g))
    }

    /// Whose a hop of this group is. A flow that is no longer kept takes nothing.
    pub(super) fn owner(&self, hop: &HopTotals, groups: &Groups) -> Owner {
        match self.links.as_ref().map_or(Owner::Own, |l| l.owner(hop)) {
            Owner::Of(nat) if !groups.contains_key(&group_key(&nat.original)) => Owner::Own,
            owner => owner,
        }
    }

    /// The tuple on the client's side of a report about `wire`; `None` when it is this group's own:
    /// nothing is translated, or packets with these addresses came in too.
    pub(super) fn taken(&self, wire: &Tuple, groups: &Groups) -> Option<Tuple> {
        let links = self.links.as_ref().filter(|l| !l.sources.is_empty())?;
        let tuple = links.client_side(wire)?;
        let own = |hop: &HopTotals| hop.key.tuple == *wire && self.owner(hop, groups) == Owner::Own;
        (groups.contains_key(&group_key(&tuple)) && !self.hops.iter().any(own)).then_some(tuple)
    }

    /// Connections of the flow `key` that this group holds the translated side of.
    pub(super) fn connections<'g>(&'g self, key: &'g Tuple) -> impl Iterator<Item = &'g Source> {
        let sources = self.links.iter().flat_map(|l| &l.sources);
        sources.filter(|s| group_key(&s.nat.original) == *key)
    }
}
