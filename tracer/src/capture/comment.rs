//! The comment of a packet: what Wireshark's reader should know that the bytes do not say.

use std::fmt::Write as _;

use super::hash::FastMap;
use crate::{
    event::{Body, DropPlace, Encap, Event, HopKey, HopSample, NetnsId, RouteDecision, RouteKind},
    inventory::{Inventory, table_name},
};

/// Comments that are kept. The kernel's table has 131,072 entries, of which those that leave have one; with
/// so many more the table here would be twice as large.
const MOST: usize = 131_072 / 8 * 7;

/// What is said of the packets of each flow at each device.
#[derive(Debug, Default)]
pub(super) struct Comments {
    by_hop: FastMap<HopKey, String>,
}

impl Comments {
    /// Takes in what is new about a flow.
    pub(super) fn learn(&mut self, event: &Event, inventory: &Inventory) {
        let Body::Hop(hop) = &event.body else { return };
        if hop.route.is_none() && hop.encap.is_none() {
            return;
        }
        if self.by_hop.len() >= MOST {
            self.by_hop.clear();
        }
        self.by_hop.insert(hop.key, of_hop(hop, inventory));
    }

    pub(super) fn forget(&mut self, key: &HopKey) {
        self.by_hop.remove(key);
    }

    /// The configuration has other names now.
    pub(super) fn forget_all(&mut self) {
        self.by_hop.clear();
    }

    pub(super) fn get(&self, key: &HopKey) -> &str {
        self.by_hop.get(key).map_or("", String::as_str)
    }
}

fn of_hop(hop: &HopSample, inventory: &Inventory) -> String {
    let mut text = String::new();
    if let Some(r) = &hop.route {
        text.push_str(&route(r, hop.key.netns, inventory));
    }
    if let Some(e) = &hop.encap {
        join(&mut text, &tunnel(e));
    }
    text
}

/// `route: table main via 10.0.0.1 dev eth0 (lookup)`.
fn route(r: &RouteDecision, netns: NetnsId, inventory: &Inventory) -> String {
    let mut text = String::from("route:");
    if r.bridged {
        return "route: none, bridged".into();
    }
    if let Some(table) = r.table {
        text.extend([" table ", &table_name(table)]);
    }
    if !matches!(r.kind, RouteKind::Unicast | RouteKind::Unknown) {
        text.extend([" ", r.kind.name()]);
    }
    if let Some(gateway) = r.gateway {
        let _infallible = write!(text, " via {gateway}");
    }
    if let Some(dev) = r.dev {
        text.extend([" dev ", &inventory.dev_name(netns, dev)]);
    }
    if r.errno != 0 {
        let _infallible = write!(text, " errno {}", r.errno);
    }
    text.extend([" (", r.how.name(), ")"]);
    text
}

/// `tunnel: vxlan vni 42 192.0.2.1 > 192.0.2.2`.
fn tunnel(e: &Encap) -> String {
    let vni = e.key.vni.map_or_else(String::new, |v| format!(" vni {v}"));
    format!("tunnel: {}{vni} {} > {}", e.key.kind, e.src, e.dst)
}

/// `dropped: IP_OUTNOROUTES at ip6_forward`.
pub(super) fn dropped(place: &DropPlace) -> String {
    format!("dropped: {} at {}", place.reason, place.symbol)
}

/// Adds a part to a comment.
pub(super) fn join(text: &mut String, part: &str) {
    if !text.is_empty() && !part.is_empty() {
        text.push_str("; ");
    }
    text.push_str(part);
}
