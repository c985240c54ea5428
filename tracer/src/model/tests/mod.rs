//! A node in words: devices, hops and drops by name, paths as lines of text.

mod eviction;
mod nat;
mod order;
mod outcomes;
mod paths;
mod recount;
mod redirects;
mod sums;
mod tenants;
mod tunnels;

use std::{net::IpAddr, sync::Arc};

use super::*;
use crate::{
    event::{
        Body, Change, Counters, Dir, DropPlace, DropSample, Encap, EncapKey, EncapKind, Event,
        HopKey, HopSample, How, IcmpSample, Ifindex, KtimeNs, NetnsId, Proto, RouteDecision,
        RouteFailure, RouteKind, TcpNotice, TcpWhat, Tuple,
    },
    inventory::{Address, Inventory, Link, LinkKind, Netns, Role},
};

const HOME: NetnsId = NetnsId(1);
const MS: u64 = 1_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tuple(proto: Proto, src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    Tuple {
        proto,
        src: ip(src),
        dst: ip(dst),
        sport,
        dport,
        later_fragment: false,
    }
}

fn udp(src: &str, sport: u16, dst: &str, dport: u16) -> Tuple {
    tuple(Proto::UDP, src, sport, dst, dport)
}

/// The tuple of most tests and its answer.
fn there() -> Tuple {
    udp("10.244.1.10", 4000, "10.244.2.20", 7)
}

fn back() -> Tuple {
    there().reversed()
}

/// A namespace, its events, and the names of both.
struct Lab {
    inventory: Inventory,
    events: Vec<Event>,
    clock: u64,
}

impl Lab {
    fn new() -> Self {
        let mut inventory = Inventory {
            home: HOME,
            ..Inventory::default()
        };
        inventory.netns.insert(
            HOME,
            Netns {
                id: HOME,
                ..Netns::default()
            },
        );
        Self {
            inventory,
            events: Vec::new(),
            clock: 1000 * MS,
        }
    }

    fn link(&mut self, name: &str, kind: LinkKind, role: Role) -> &mut Link {
        let links = &mut self.inventory.netns.get_mut(&HOME).unwrap().links;
        let ifindex = Ifindex(links.len() as u32 + 2);
        links.entry(ifindex).or_insert(Link {
            ifindex,
            name: name.into(),
            kind,
            role,
            mtu: 1500,
            up: true,
            carrier: true,
            mac: String::new(),
            master: None,
            lower: None,
            peer: None,
            peer_netns: None,
            addresses: Vec::new(),
        })
    }

    fn uplink(&mut self, name: &str, address: &str) {
        let link = self.link(name, LinkKind::Physical, Role::Uplink);
        link.addresses.push(Address {
            address: ip(address),
            prefix_len: 24,
            scope: 0,
        });
    }

    /// A pod device; the pod is namespace 100 + its number.
    fn pod(&mut self, name: &str) -> NetnsId {
        let link = self.link(name, LinkKind::Veth, Role::Pod);
        let netns = NetnsId(100 + link.ifindex.0);
        (link.peer, link.peer_netns) = (Some(Ifindex(2)), Some(netns));
        self.inventory.netns.insert(
            netns,
            Netns {
                id: netns,
                edge: true,
                ..Netns::default()
            },
        );
        netns
    }

    fn vxlan(&mut self, name: &str, vni: Option<u32>) {
        let kind = LinkKind::Vxlan {
            vni,
            port: 4789,
            local: None,
            remote: None,
        };
        self.link(name, kind, Role::Tunnel);
    }

    fn dev(&self, name: &str) -> Ifindex {
        self.inventory.netns[&HOME]
            .link_named(name)
            .unwrap()
            .ifindex
    }

    fn set_master(&mut self, port: &str, master: &str) {
        let (port, master) = (self.dev(port), self.dev(master));
        self.inventory
            .netns
            .get_mut(&HOME)
            .unwrap()
            .links
            .get_mut(&port)
            .unwrap()
            .master = Some(master);
    }

    /// Time goes on a little with each event.
    fn now(&mut self) -> KtimeNs {
        self.clock += MS / 100;
        KtimeNs(self.clock)
    }

    fn sample(&mut self, tuple: Tuple, dev: &str, dir: Dir, packets: u64) -> &mut HopSample {
        let at = self.now();
        let counters = Counters {
            packets,
            bytes: packets * 100,
            skbs: packets,
            first: at,
            last: KtimeNs(at.0 + packets),
        };
        let key = HopKey {
            tuple,
            encap: None,
            netns: HOME,
            dev: self.dev(dev),
            dir,
            in_dev: None,
            tunnel_key: None,
        };
        let sample = HopSample {
            nat: None,
            key,
            counters,
            route: None,
            encap: None,
            mark: 0,
            max_len: 100,
            tcp_flags: 0,
            vlan: 0,
            route_changes: 0,
            outer_changes: 0,
            change: Change::default(),
        };
        self.events.push(Event {
            at,
            body: Body::Hop(sample),
        });
        match self.events.last_mut() {
            Some(Event {
                body: Body::Hop(sample),
                ..
            }) => sample,
            _ => unreachable!(),
        }
    }

    fn comes(&mut self, tuple: Tuple, dev: &str, packets: u64) -> &mut HopSample {
        self.sample(tuple, dev, Dir::In, packets)
    }

    /// Leaves by `dev`, as routing decided; `in_dev` empty: made here.
    fn leaves(&mut self, tuple: Tuple, in_dev: &str, dev: &str, packets: u64) -> &mut HopSample {
        let in_dev = (!in_dev.is_empty()).then(|| self.dev(in_dev));
        let route = route(RouteKind::Unicast, Some(self.dev(dev)));
        let sample = self.sample(tuple, dev, Dir::Out, packets);
        (sample.key.in_dev, sample.route) = (in_dev, Some(route));
        sample
    }

    fn drops(&mut self, tuple: Tuple, reason: &str, dev: &str, count: u64) -> &mut DropSample {
        let at = self.now();
        let dev = (!dev.is_empty()).then(|| self.dev(dev));
        let sample = DropSample {
            original: None,
            tuple: Some(tuple),
            encap: None,
            place: DropPlace {
                reason: reason.into(),
                symbol: "somewhere".into(),
                netns: Some(HOME),
                dev,
                in_dev: None,
            },
            count,
            bytes: count * 100,
            first: at,
            last: at,
            route: None,
            mtu: None,
            max_len: 100,
            mark: 0,
            has_sock: false,
            loss: true,
        };
        self.events.push(Event {
            at,
            body: Body::Drop(sample),
        });
        match self.events.last_mut() {
            Some(Event {
                body: Body::Drop(sample),
                ..
            }) => sample,
            _ => unreachable!(),
        }
    }

    fn event(&mut self, body: Body) {
        let at = self.now();
        self.events.push(Event { at, body });
    }

    fn model(&self) -> Model {
        let mut model = Model::new(ModelConfig::default());
        model.set_inventory(Arc::new(self.inventory.clone()));
        model
    }

    /// Right after the last event.
    fn snapshot(&self) -> Snapshot {
        let mut model = self.model();
        self.events.iter().for_each(|e| model.apply(e));
        model.snapshot()
    }

    /// Long after the last event.
    fn later(&self) -> Snapshot {
        let mut model = self.model();
        self.events.iter().for_each(|e| model.apply(e));
        model.tick(KtimeNs(self.clock + 5000 * MS));
        model.snapshot()
    }

    /// `in lxc-p1 3 | main dev vx0 | out vx0 3 | out eth0 vxlan/7 3`
    fn path(&self, direction: &Direction) -> String {
        let name = |dev| self.inventory.dev_name(HOME, dev);
        let steps = direction.path.iter().map(|step| match step {
            Step::Hop(hop) => {
                let dir = if hop.dir == Dir::In { "in" } else { "out" };
                let encap = hop.encap.as_ref().map_or(String::new(), |e| {
                    format!(" {}/{}", e.key.kind, e.key.vni.unwrap_or(0))
                });
                format!("{dir} {}{encap} {}", name(hop.dev), hop.counters.packets)
            }
            Step::Route(d) => {
                let dev = d
                    .decision
                    .dev
                    .map_or(String::new(), |dev| format!(" dev {}", name(dev)));
                let outer = if d.decision.errno == 0 {
                    String::new()
                } else {
                    format!(" errno {}", d.decision.errno)
                };
                format!("{}{dev}{outer}", d.decision.kind)
            }
        });
        steps.collect::<Vec<_>>().join(" | ")
    }

    fn outcome(&self, direction: &Direction) -> String {
        match &direction.outcome {
            None => "none".into(),
            Some(Outcome::Forwarded(dev) | Outcome::Unanswered(dev)) => {
                let name = direction.outcome.as_ref().unwrap().name();
                format!("{name} {}", self.inventory.dev_name(HOME, *dev))
            }
            Some(Outcome::Dropped(reason)) => format!("dropped {reason}"),
            Some(Outcome::Unknown(why)) => format!("unknown {why}"),
            Some(Outcome::Delivered) => "delivered".into(),
        }
    }
}

fn route(kind: RouteKind, dev: Option<Ifindex>) -> RouteDecision {
    RouteDecision {
        changed: None,
        asked: None,
        why: None,
        kind,
        table: None,
        gateway: None,
        dev,
        prefix_len: None,
        metric: None,
        pmtu: None,
        errno: 0,
        lwtunnel: None,
        bridged: false,
        source_check: false,
        bypass: false,
        how: How::Dst,
    }
}

impl HopSample {
    /// In VXLAN between the nodes.
    fn vxlan(&mut self, vni: u32) -> &mut Self {
        let out = self.key.dir == Dir::Out;
        let (here, far) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let encap = Encap {
            key: EncapKey {
                kind: EncapKind::Vxlan,
                vni: Some(vni),
            },
            src: if out { here } else { far },
            dst: if out { far } else { here },
            sport: 50_000,
            dport: 4789,
            df: false,
        };
        (self.encap, self.key.encap) = (Some(encap), Some(encap.key));
        self
    }
}

/// The only flow.
fn only(snapshot: &Snapshot) -> &Flow {
    assert_eq!(snapshot.flows.len(), 1, "{:#?}", snapshot.flows);
    &snapshot.flows[0]
}
