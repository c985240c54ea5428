//! Which observations are of the same packet.
//!
//! A socket buffer keeps its address from device to device, also into and out of tunnels, and the
//! kernel uses the address again for another packet as soon as this one has ended. So an address
//! alone says nothing: the observations must also be close in time, each at a new place, and with
//! the same IP identification and addresses, or addresses that were translated on the way.

use std::collections::VecDeque;

use super::{What, hash::FastMap};
use crate::event::{Dir, Ifindex, KtimeNs, NetnsId, PacketPlace, RawPacket, Tuple};

/// A packet is through a node in less.
const LONGEST_NS: u64 = 1_000_000_000;
/// Places that a packet can be seen at before it counts as another one.
const PLACES: usize = 16;
/// Buffers that are remembered; beyond, those that ended are forgotten.
const MOST: usize = 32_768;
/// Packets that came in and may go on as copies: more than a device hands over in one batch.
const CAME: usize = 256;

type Place = (Option<NetnsId>, Option<Ifindex>, What);

#[derive(Debug, Default)]
struct Track {
    id: u64,
    at: KtimeNs,
    tuple: Option<Tuple>,
    ip_id: u32,
    places: Vec<Place>,
}

/// Gives numbers to packets.
#[derive(Debug, Default)]
pub(super) struct Identity {
    last: u64,
    tracks: FastMap<u64, Track>,
    /// What came in last, oldest first.
    came: VecDeque<Came>,
}

/// A packet that came in, as its copy would look.
#[derive(Debug)]
struct Came {
    id: u64,
    skb: u64,
    tuple: Option<Tuple>,
    ip_id: u32,
    netns: Option<NetnsId>,
    dev: Option<Ifindex>,
}

impl Identity {
    /// The packet's number.
    pub(super) fn number(&mut self, p: &RawPacket<'_>) -> u64 {
        let place = (p.netns, p.dev, What::of(&p.place));
        if let Some(t) = self.tracks.get_mut(&p.skb)
            && t.continues(p, &place)
        {
            t.goes_on(p, place);
            return t.id;
        }
        if let Some(mut t) = self.copied(p) {
            t.goes_on(p, place);
            let id = t.id;
            self.tracks.insert(p.skb, t);
            return id;
        }
        self.begin(p, place)
    }

    fn begin(&mut self, p: &RawPacket<'_>, place: Place) -> u64 {
        self.last += 1;
        if self.tracks.len() >= MOST {
            self.tracks.retain(|_, t| p.at.since(t.at) < LONGEST_NS);
            if self.tracks.len() >= MOST {
                self.tracks.clear();
            }
        }
        let t = self.tracks.entry(p.skb).or_default();
        t.id = self.last;
        t.at = p.at;
        t.tuple = p.tuple;
        t.ip_id = p.ip_id;
        t.places.clear();
        t.places.push(place);
        if place.2 == What::In {
            if self.came.len() >= CAME {
                self.came.pop_front();
            }
            self.came.push_back(Came {
                id: self.last,
                skb: p.skb,
                tuple: p.tuple,
                ip_id: p.ip_id,
                netns: p.netns,
                dev: p.dev,
            });
        }
        self.last
    }

    /// The packet of which this one is a copy, made because the way out needs more room in front
    /// than the way in (IPv6 into a tunnel): the first that came in by the device that this one is
    /// said to have come in by, with the same headers, and that did not go on.
    fn copied(&mut self, p: &RawPacket<'_>) -> Option<Track> {
        if p.in_dev.is_none() || !matches!(p.place, PacketPlace::Device(Dir::Out)) {
            return None;
        }
        let at = self.came.iter().position(|c| {
            (c.dev, c.netns, c.ip_id, c.tuple) == (p.in_dev, p.netns, p.ip_id, p.tuple)
                && self.tracks.get(&c.skb).is_some_and(|t| {
                    t.id == c.id
                        && p.at.since(t.at) < LONGEST_NS
                        && t.places.last() == Some(&(c.netns, c.dev, What::In))
                })
        })?;
        let came = self.came.remove(at)?;
        self.tracks.remove(&came.skb)
    }
}

impl Track {
    fn goes_on(&mut self, p: &RawPacket<'_>, place: Place) {
        self.at = p.at;
        self.tuple = p.tuple.or(self.tuple);
        self.places.push(place);
    }

    fn continues(&self, p: &RawPacket<'_>, place: &Place) -> bool {
        let dropped = |p: &Place| p.2 == What::Drop;
        if p.at.since(self.at) >= LONGEST_NS
            || p.ip_id != self.ip_id
            || self.places.len() >= PLACES
            || self.places.contains(place)
            || self.places.last().is_some_and(dropped)
        {
            return false;
        }
        match (&self.tuple, &p.tuple) {
            (Some(before), Some(now)) if before == now => {
                // made here, so that it cannot have come in before; a tunnel's outer packet is also
                // made here
                place.2 != What::Out
                    || p.in_dev.is_some()
                    || p.encap.is_some()
                    || self.places.last().is_some_and(|l| l.2 == What::Out)
            }
            // translated on its way out; an answer would be the reverse
            (Some(before), Some(now)) => {
                place.2 != What::In
                    && before.proto == now.proto
                    && before.reversed() != *now
                    && p.in_dev.is_some()
                    && self
                        .places
                        .last()
                        .is_some_and(|l| l.2 == What::In && l.1 == p.in_dev)
            }
            _ => place.2 == What::Drop,
        }
    }
}
