//! One node's capture, as the comparison needs it.

use std::collections::HashMap;

use super::key::{Body, Key};
use crate::{
    decode,
    event::{Ifindex, Nat, NetnsId, Tuple},
    inventory::{Inventory, Role},
    model::Loss,
};

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Coming in.
    In,
    /// Leaving.
    Out,
    /// Ending, for a reason, in a function.
    Drop(&'a str, &'a str),
}

/// One packet at one place of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The same for all observations of one packet.
    pub id: u64,
    /// Nanoseconds since 1970, by the clock of its node.
    pub wall_ns: u64,
    /// Namespace.
    pub netns: NetnsId,
    /// Device.
    pub dev: Ifindex,
    /// Direction, or end.
    pub place: Place<'a>,
    /// Payload of a wire segment of a packet of several; 0 for one.
    pub gso: u32,
    /// The packet, from its Ethernet header on.
    pub bytes: &'a [u8],
}

/// What was seen of one packet on its way through a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) first: Option<Crossing>,
    pub(super) last: Option<Crossing>,
    body: Body,
    gso: u32,
    /// Reason and function.
    pub(super) dropped: Option<(String, String)>,
}

/// A packet at an uplink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crossing {
    pub(super) wall_ns: u64,
    pub(super) dev: Ifindex,
    pub(super) netns: NetnsId,
    tuple: Tuple,
    ip_id: u32,
}

/// A wire packet that left or entered a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) key: Key,
    pub(super) at: Crossing,
    /// Index into [`Side::seen`].
    pub(super) packet: usize,
}

/// A capture, taken in.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// The node's configuration.
    pub inventory: Inventory,
    /// Begin of the recording, nanoseconds since 1970.
    pub from_ns: u64,
    /// The last moment that it is complete for.
    pub until_ns: u64,
    /// What tracer lost there.
    pub loss: Loss,
    /// Packets that it could not keep up with.
    pub packets_lost: u64,
    pub(super) seen: Vec<Seen>,
    numbers: HashMap<u64, usize>,
    /// What flows are called within the node, by what they are called at its uplink.
    inside: HashMap<Tuple, Tuple>,
}

impl Side {
    /// A recording that began at a time, nanoseconds since 1970, on a node.
    pub fn new(inventory: Inventory, from_ns: u64) -> Self {
        Self {
            inventory,
            from_ns,
            ..Self::default()
        }
    }

    /// Takes a packet in.
    pub fn take(&mut self, o: &Observation<'_>) {
        let Some(headers) = decode::frame(o.bytes) else {
            return;
        };
        if headers.tuple.is_housekeeping() {
            return;
        }
        let uplink = self
            .inventory
            .link(o.netns, o.dev)
            .is_some_and(|l| l.role == Role::Uplink);
        let next = self.seen.len();
        // a packet without a number is one of its own
        let index = if o.id == 0 {
            next
        } else {
            *self.numbers.entry(o.id).or_insert(next)
        };
        if index == next {
            self.seen.push(Seen::default());
        }
        let Some(seen) = self.seen.get_mut(index) else {
            return;
        };
        let body = Body::of(&headers, o.bytes);
        if body.seen > seen.body.seen {
            seen.body = body;
        }
        seen.gso = seen.gso.max(o.gso);
        let crossing = Crossing {
            wall_ns: o.wall_ns,
            dev: o.dev,
            netns: o.netns,
            tuple: headers.tuple,
            ip_id: headers.ip_id,
        };
        match o.place {
            Place::In if uplink && seen.first.is_none() => seen.first = Some(crossing),
            Place::Out if uplink => seen.last = Some(crossing),
            Place::Drop(reason, symbol) => {
                seen.dropped = Some((reason.to_owned(), symbol.to_owned()));
            }
            Place::In | Place::Out => {}
        }
    }

    /// Takes a connection in that the node translates.
    pub fn translates(&mut self, nat: Nat) {
        let (o, t) = (nat.original, nat.translated);
        self.inside.insert(t, o);
        self.inside.insert(t.reversed(), o.reversed());
        self.inside.entry(o).or_insert(t);
        self.inside.entry(o.reversed()).or_insert(t.reversed());
    }

    /// What the node itself calls a flow that is called `wire` at its uplink, when it translates it.
    pub(super) fn inside(&self, wire: &Tuple) -> Option<Tuple> {
        self.inside.get(wire).copied()
    }

    /// The wire packets that left by an uplink, or that came in by one, in their order.
    pub(super) fn wires(&self, out: bool) -> Vec<Wire> {
        let mut wires = Vec::new();
        for (packet, seen) in self.seen.iter().enumerate() {
            let Some(at) = (if out { seen.last } else { seen.first }) else {
                continue;
            };
            seen.body.keys(at.tuple, at.ip_id, seen.gso, |key| {
                wires.push(Wire { key, at, packet });
            });
        }
        wires.sort_by_key(|w| w.at.wall_ns);
        wires
    }

    /// It has an uplink at which packets were seen.
    pub(super) fn has_crossings(&self) -> bool {
        self.seen
            .iter()
            .any(|s| s.first.is_some() || s.last.is_some())
    }

    /// The address is this node's or that of a pod on it.
    pub(super) fn owns(&self, address: std::net::IpAddr) -> bool {
        let local = self
            .inventory
            .netns
            .values()
            .any(|n| n.owner(address).is_some());
        local
            || self
                .inventory
                .home()
                .is_some_and(|home| routed_to_pod(home, address))
    }
}

/// The most specific route to the address leads to a pod's device.
fn routed_to_pod(home: &crate::inventory::Netns, address: std::net::IpAddr) -> bool {
    let best = home
        .routes
        .iter()
        .filter(|r| r.dst.contains(address) && !r.dst.is_default())
        .max_by_key(|r| r.dst.len);
    best.is_some_and(|r| {
        r.nexthops.iter().any(|n| {
            let link = n.dev.and_then(|dev| home.links.get(&dev));
            link.is_some_and(|l| matches!(l.role, Role::Pod | Role::Bridge))
        })
    })
}
