//! Who is at the ends of flows and behind devices, by name.
//!
//! An address alone does not name anybody: addresses overlap between tenants, and those of other
//! nodes' pods can be equal to local ones. The way that packets took tells: the pod behind the
//! device they came in by, the one behind the device they left by.

use std::{collections::BTreeSet, net::IpAddr};

use super::ViewContext;
use crate::{
    diagnose::Finding,
    event::{Dir, DropPlace, Ifindex, NetnsId, PacketSample, Tuple},
    inventory::{Inventory, Owner, Role},
    model::{Direction, Flow, Step},
};

/// Names that a finding is shown with at most.
const MOST: usize = 4;

/// The owners of both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends<'a> {
    /// Source.
    pub src: Option<&'a Owner>,
    /// Destination.
    pub dst: Option<&'a Owner>,
}

/// The owners of the ends of a flow, as it is named and on the other side of address translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who<'a> {
    /// The ends of the flow.
    pub ends: Ends<'a>,
    /// The ends behind the translation.
    pub far: Option<Ends<'a>>,
}

impl<'a> Who<'a> {
    /// Of a flow.
    pub fn of_flow(inventory: &'a Inventory, f: &Flow) -> Self {
        if !inventory.has_owners() {
            return Self::default();
        }
        Way::of_flow(inventory, f).who(inventory, &f.id.tuple, f.far().as_ref())
    }

    /// Of one packet, seen at one device.
    pub fn of_packet(inventory: &'a Inventory, p: &PacketSample) -> Self {
        if !inventory.has_owners() {
            return Self::default();
        }
        let mut way = Way::default();
        way.near_dev(inventory, (p.key.netns, p.key.dev));
        let away = is_away(inventory, (p.key.netns, p.key.dev));
        (way.src_away, way.dst_away) =
            (away && p.key.dir == Dir::In, away && p.key.dir == Dir::Out);
        way.who(inventory, &p.key.tuple, None)
    }

    /// Nobody is known.
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Everybody that is known.
    pub fn all(&self) -> impl Iterator<Item = &'a Owner> {
        let ends = [Some(self.ends), self.far];
        ends.into_iter()
            .flatten()
            .flat_map(|e| [e.src, e.dst])
            .flatten()
    }

    /// `shop/web-0 > shop/db-0`, `-` for who is not known; `becomes` stands between the
    /// sides of address translation. `None` when nobody is known.
    pub fn text(&self, becomes: &str) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let end = |near: Option<&Owner>, far: Option<&Owner>| match (near, far) {
            (Some(near), Some(far)) if near != far => format!("{near} {becomes} {far}"),
            (Some(one), _) | (None, Some(one)) => one.to_string(),
            (None, None) => "-".to_owned(),
        };
        let far = self.far.unwrap_or_default();
        Some(format!(
            "{} > {}",
            end(self.ends.src, far.src),
            end(self.ends.dst, far.dst)
        ))
    }
}

/// What the way of a flow tells about who can be at its ends.
#[derive(Clone, Debug, Default)]
pub(in crate::view) struct Way {
    /// Namespaces that it touched, or that are behind devices that it passed.
    near: BTreeSet<NetnsId>,
    /// It came to this node from elsewhere, so that no local pod is its source.
    src_away: bool,
    dst_away: bool,
}

impl Way {
    pub(in crate::view) fn of_flow(inventory: &Inventory, f: &Flow) -> Self {
        let mut way = Self::default();
        way.near.insert(f.id.scope.netns);
        if let Some(dev) = f.id.scope.dev {
            way.near_dev(inventory, (f.id.scope.netns, dev));
        }
        way.near.extend(f.route_failures.iter().map(|r| r.netns));
        for d in [&f.forward, &f.reply] {
            way.direction(inventory, d);
        }
        let (first, last) = (away_first, away_last);
        let (came, left) = (first(inventory, &f.forward), last(inventory, &f.forward));
        let (back, gone) = (first(inventory, &f.reply), last(inventory, &f.reply));
        (way.src_away, way.dst_away) = (came || gone, left || back);
        way
    }

    fn direction(&mut self, inventory: &Inventory, d: &Direction) {
        let mut here = None;
        for step in &d.path {
            match step {
                Step::Hop(h) => {
                    here = Some(h.netns);
                    self.near_dev(inventory, (h.netns, h.dev));
                }
                Step::Route(r) => {
                    if let (Some(netns), Some(dev)) = (here, r.decision.dev) {
                        self.near_dev(inventory, (netns, dev));
                    }
                }
            }
        }
        for place in d.drops.iter().map(|x| &x.place) {
            let Some(netns) = place.netns else { continue };
            self.near.insert(netns);
            for dev in [place.dev, place.in_dev].into_iter().flatten() {
                self.near_dev(inventory, (netns, dev));
            }
        }
    }

    fn near_dev(&mut self, inventory: &Inventory, (netns, dev): (NetnsId, Ifindex)) {
        let link = inventory.link(netns, dev);
        self.near.insert(netns);
        self.near.extend(link.and_then(|l| l.peer_netns));
    }

    /// Who is at the ends of a flow that took this way; `far` are its addresses on the other side
    /// of address translation.
    pub(in crate::view) fn who<'a>(
        &self,
        inventory: &'a Inventory,
        tuple: &Tuple,
        far: Option<&Tuple>,
    ) -> Who<'a> {
        Who {
            ends: self.ends(inventory, tuple),
            far: far.map(|far| self.ends(inventory, far)),
        }
    }

    fn ends<'a>(&self, inventory: &'a Inventory, t: &Tuple) -> Ends<'a> {
        Ends {
            src: self.owner(inventory, t.src, self.src_away),
            dst: self.owner(inventory, t.dst, self.dst_away),
        }
    }

    fn owner<'a>(
        &self,
        inventory: &'a Inventory,
        address: IpAddr,
        away: bool,
    ) -> Option<&'a Owner> {
        let owned = inventory.owned_with(address).iter();
        let mut near = owned.filter(|id| self.near.contains(id));
        match (near.next(), near.next()) {
            (Some(one), None) => inventory.owner(*one),
            (Some(_), Some(_)) => None,
            (None, _) if away => inventory.peers.get(&address),
            (None, _) => inventory.owner_of(address),
        }
    }
}

fn is_away(inventory: &Inventory, (netns, dev): (NetnsId, Ifindex)) -> bool {
    let role = inventory.link(netns, dev).map(|l| l.role);
    // an uplink of a pod is the pod's own device
    let node = inventory.owner(netns).is_none();
    node && matches!(role, Some(Role::Uplink | Role::Tunnel))
}

fn away_first(inventory: &Inventory, d: &Direction) -> bool {
    let first = d.hops().next().filter(|h| h.dir == Dir::In);
    first.is_some_and(|h| is_away(inventory, (h.netns, h.dev)))
}

fn away_last(inventory: &Inventory, d: &Direction) -> bool {
    let last = d.hops().last().filter(|h| h.dir == Dir::Out);
    last.is_some_and(|h| is_away(inventory, (h.netns, h.dev)))
}

impl<'a> ViewContext<'a> {
    /// The ends of a flow; nobody with `-n`.
    pub fn who(&self, f: &Flow) -> Who<'a> {
        if self.numeric {
            return Who::default();
        }
        Who::of_flow(self.inventory, f)
    }

    /// The ends of a packet.
    pub fn who_sent(&self, p: &PacketSample) -> Who<'a> {
        if self.numeric {
            return Who::default();
        }
        Who::of_packet(self.inventory, p)
    }

    /// Who is behind the node's end of a pair.
    pub fn behind(&self, netns: NetnsId, dev: Ifindex) -> Option<&'a Owner> {
        let owner = self.inventory.owner_behind(netns, dev);
        // the pod's own end leads to the node
        owner.filter(|_| !self.numeric)
    }

    /// Who owns the namespace of a drop, or is behind the device there.
    pub fn who_at(&self, place: &DropPlace) -> Option<&'a Owner> {
        let netns = place.netns.filter(|_| !self.numeric)?;
        let dev = place.dev.or(place.in_dev);
        let owner = self.inventory.owner(netns);
        owner.or_else(|| self.inventory.owner_behind(netns, dev?))
    }

    /// `10.244.1.10 is shop/web-0, lxc-b is shop/db-0`: who a finding is about.
    pub fn names_in(&self, f: &Finding) -> Option<String> {
        let who = self.who_in(f);
        let texts: Vec<String> = who
            .iter()
            .map(|(what, o)| format!("{what} is {o}"))
            .collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    /// What a finding is about, with its owner: devices as they are called, and addresses.
    pub fn who_in(&self, f: &Finding) -> Vec<(String, &'a Owner)> {
        let mut found: Vec<(String, &'a Owner)> = Vec::new();
        if self.numeric || !self.inventory.has_owners() {
            return found;
        }
        let mut add = |what: String, owner: Option<&'a Owner>| {
            if let Some(owner) = owner
                && found.len() < MOST
                && !found.iter().any(|(known, _)| *known == what)
            {
                found.push((what, owner));
            }
        };
        if let Some((netns, dev)) = f.subject.dev {
            add(self.dev(netns, dev), self.behind(netns, dev));
        }
        for id in f.subject.flows.iter().take(MOST) {
            let mut way = Way::default();
            match id.scope.dev {
                Some(dev) => way.near_dev(self.inventory, (id.scope.netns, dev)),
                None => _ = way.near.insert(id.scope.netns),
            }
            for address in [id.tuple.src, id.tuple.dst] {
                let owner = way.owner(self.inventory, address, false);
                add(address.to_string(), owner);
            }
        }
        if let Some(address) = f.subject.address {
            add(address.to_string(), self.inventory.owner_of(address));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inventory::Netns,
        model::Outcome::{Delivered, Forwarded},
        view::fixture::{self, ETH0, HOME, LXC, POD, ip},
    };

    fn text(inventory: &Inventory, f: &Flow) -> Option<String> {
        Who::of_flow(inventory, f).text("=>")
    }

    #[test]
    fn both_ends() {
        let f = fixture::tunnelled(Forwarded(ETH0));
        let named = fixture::named_inventory();
        assert_eq!(text(&named, &f).unwrap(), "shop/web-0 > shop/db-0");
        assert_eq!(text(&fixture::inventory(), &f), None);
    }

    /// A second tenant on this node has the addresses of both ends.
    fn overlapping() -> Inventory {
        let mut inventory = fixture::named_inventory();
        inventory.peers.clear();
        let mut other = inventory.netns[&POD].clone();
        other.id = NetnsId(POD.0 + 1);
        other.owner = Some(Owner::pod("rival", "web-0", None));
        let link = other.links.get_mut(&ETH0).unwrap();
        let mut second = link.addresses[0].clone();
        second.address = ip("10.244.2.20");
        link.addresses.push(second);
        inventory.netns.insert(other.id, other);
        inventory
    }

    #[test]
    fn overlapping_addresses_are_told_apart_by_the_way() {
        let inventory = overlapping();
        let f = fixture::tunnelled(Forwarded(ETH0));
        assert_eq!(text(&inventory, &f).unwrap(), "shop/web-0 > -");
        // it left the node: the pod here that has the address is not meant
        let mut unknown = f.clone();
        unknown.forward.path.truncate(1);
        assert_eq!(text(&inventory, &unknown).unwrap(), "shop/web-0 > -");
    }

    #[test]
    fn who_sends_with_another_address_is_not_named_by_it() {
        let mut inventory = fixture::named_inventory();
        let rival = Netns {
            id: NetnsId(POD.0 + 1),
            owner: Some(Owner::pod("rival", "spoof", None)),
            ..inventory.netns[&POD].clone()
        };
        // the device leads to the rival, the address is web-0's and the rival's
        let home = inventory.netns.get_mut(&HOME).unwrap();
        home.links.get_mut(&LXC).unwrap().peer_netns = Some(rival.id);
        inventory.netns.insert(rival.id, rival);
        let f = fixture::tunnelled(Forwarded(ETH0));
        assert_eq!(text(&inventory, &f).unwrap(), "rival/spoof > shop/db-0");
    }

    #[test]
    fn a_flow_that_is_turned_round_has_its_ends_exchanged() {
        let mut f = fixture::tunnelled(Forwarded(ETH0));
        f.id.tuple = f.id.tuple.reversed();
        std::mem::swap(&mut f.forward, &mut f.reply);
        let named = fixture::named_inventory();
        assert_eq!(text(&named, &f).unwrap(), "shop/db-0 > shop/web-0");
    }

    #[test]
    fn what_comes_from_elsewhere_is_no_local_pod() {
        let mut f = fixture::tunnelled(Delivered);
        f.forward.path = vec![Step::Hop(fixture::hop(ETH0, Dir::In, 1, 100))];
        f.id.scope.dev = Some(ETH0);
        let named = fixture::named_inventory();
        assert_eq!(text(&named, &f).unwrap(), "- > shop/db-0");
    }
}
