//! Small nodes and flows in the words of `ip` and of a path, for tests.

use std::{net::IpAddr, sync::Arc};

use crate::{
    diagnose::{Context, Finding, Intent, run},
    event::{
        Counters, Dir, DropPlace, Encap, EncapKey, EncapKind, How, IcmpSample, Ifindex, KtimeNs,
        NeighFailure, NetnsId, Proto, RouteDecision, RouteFailure, RouteKind, Tuple,
    },
    inventory::{
        Address, FdbEntry, Inventory, Link, LinkKind, Netns, Nexthop, Prefix, Role, Route, Rule,
        RuleAction,
    },
    model::{Decision, Direction, Drop, Flow, FlowId, Hop, Outcome, Scope, Snapshot, Step},
};

pub(super) const HOME: NetnsId = NetnsId(4_026_532_000);
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn ip(s: &str) -> IpAddr {
    s.parse().unwrap_or_else(|_| panic!("address {s:?}"))
}

pub(super) fn prefix(s: &str, v6: bool) -> Prefix {
    match s.split_once('/') {
        Some((a, n)) => Prefix::new(ip(a), n.parse().unwrap()),
        None if s == "default" => Prefix::new(ip(if v6 { "::" } else { "0.0.0.0" }), 0),
        None => Prefix::new(ip(s), if s.contains(':') { 128 } else { 32 }),
    }
}

/// A node with what was seen on it.
#[derive(Clone, Debug)]
pub(super) struct Lab {
    pub(super) inventory: Inventory,
    pub(super) snapshot: Snapshot,
    pub(super) intent: Intent,
}

impl Lab {
    pub(super) fn new() -> Self {
        let mut inventory = Inventory {
            node: "n1".into(),
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
        let at = KtimeNs(10 * SECOND);
        let snapshot = Snapshot {
            at,
            ..Snapshot::default()
        };
        Self {
            inventory,
            snapshot,
            intent: Intent::default(),
        }
    }

    pub(super) fn home(&mut self) -> &mut Netns {
        self.inventory.netns.get_mut(&HOME).unwrap()
    }

    /// A device with addresses; its connected routes are added.
    pub(super) fn dev(mut self, name: &str, role: Role, kind: LinkKind, addrs: &[&str]) -> Self {
        let ifindex = Ifindex(self.home().links.len() as u32 + 2);
        let mtu = if kind.is_tunnel() { 1450 } else { 1500 };
        let addresses = addrs
            .iter()
            .map(|a| {
                let (address, len) = a.split_once('/').unwrap();
                Address {
                    address: ip(address),
                    prefix_len: len.parse().unwrap(),
                    scope: 0,
                }
            })
            .collect();
        let link = Link {
            ifindex,
            name: name.into(),
            kind,
            role,
            mtu,
            up: true,
            carrier: true,
            mac: String::new(),
            master: None,
            lower: None,
            peer: None,
            peer_netns: None,
            addresses,
        };
        self.home().links.insert(ifindex, link);
        for a in addrs {
            let p = prefix(a, a.contains(':'));
            self = self.route(&format!("{}/{} dev {name} proto 2", p.address, p.len));
        }
        self
    }

    pub(super) fn uplink(self, name: &str, addrs: &[&str]) -> Self {
        self.dev(name, Role::Uplink, LinkKind::Physical, addrs)
    }

    /// A pod's device with host routes to the pod.
    pub(super) fn pod(mut self, name: &str, addrs: &[&str]) -> Self {
        self = self.dev(name, Role::Pod, LinkKind::Veth, &[]);
        for a in addrs {
            self = self.route(&format!("{a} dev {name}"));
        }
        self
    }

    pub(super) fn vxlan(self, name: &str, vni: u32) -> Self {
        let local = Some(ip("10.0.0.1"));
        let kind = LinkKind::Vxlan {
            vni: Some(vni),
            port: 8472,
            local,
            remote: None,
        };
        self.dev(name, Role::Tunnel, kind, &[])
    }

    pub(super) fn index(&self, name: &str) -> Ifindex {
        let home = self.inventory.home().unwrap();
        home.link_named(name)
            .unwrap_or_else(|| panic!("device {name:?}"))
            .ifindex
    }

    pub(super) fn link(&mut self, name: &str) -> &mut Link {
        let dev = self.index(name);
        self.home().links.get_mut(&dev).unwrap()
    }

    pub(super) fn mtu(mut self, name: &str, mtu: u32) -> Self {
        self.link(name).mtu = mtu;
        self
    }

    /// A route as `ip route` prints it; `default6` for IPv6 without a gateway to tell it.
    pub(super) fn route(mut self, text: &str) -> Self {
        let mut words = text.split_whitespace();
        let mut first = words.next().unwrap();
        let kind = match first {
            "blackhole" => RouteKind::Blackhole,
            "unreachable" => RouteKind::Unreachable,
            "prohibit" => RouteKind::Prohibit,
            _ => RouteKind::Unicast,
        };
        if kind != RouteKind::Unicast {
            first = words.next().unwrap();
        }
        let v6 = text.contains(':');
        let mut r = Route {
            dst: prefix(first, v6),
            table: 254,
            kind,
            protocol: 4,
            metric: 0,
            prefsrc: None,
            scope: 0,
            nexthops: Vec::new(),
            mtu: None,
            nhid: None,
        };
        let hop = || Nexthop {
            gateway: None,
            dev: None,
            weight: 1,
            onlink: false,
            dead: false,
            encap: None,
        };
        while let Some(word) = words.next() {
            if word == "nexthop" {
                r.nexthops.push(hop());
                continue;
            }
            let value = words.next().unwrap();
            match word {
                "table" => r.table = value.parse().unwrap(),
                "metric" => r.metric = value.parse().unwrap(),
                "proto" => r.protocol = value.parse().unwrap(),
                "mtu" => r.mtu = Some(value.parse().unwrap()),
                "via" | "dev" | "encap" => {
                    let dev = (word == "dev").then(|| self.index(value));
                    if r.nexthops.is_empty() {
                        r.nexthops.push(hop());
                    }
                    let h = r.nexthops.last_mut().unwrap();
                    match word {
                        "via" => h.gateway = Some(ip(value)),
                        "dev" => h.dev = dev,
                        _ => h.encap = Some(value.into()),
                    }
                }
                other => panic!("{other:?} in route {text:?}"),
            }
        }
        self.home().routes.push(r);
        self
    }

    /// `ip route del PREFIX [dev DEV]`.
    pub(super) fn without_route(mut self, text: &str) -> Self {
        let (dst, dev) = text
            .split_once(" dev ")
            .map_or((text, None), |(dst, dev)| (dst, Some(self.index(dev))));
        let (dst, before) = (prefix(dst, dst.contains(':')), self.home().routes.len());
        self.home().routes.retain(|r| {
            let by = r.nexthops.first().and_then(|n| n.dev);
            r.dst != dst || dev.is_some() && by != dev
        });
        assert!(self.home().routes.len() < before, "no route {text:?}");
        self
    }

    /// `bridge fdb append MAC dev vxlan7 dst DST`.
    pub(super) fn fdb(mut self, mac: &str, dst: &str) -> Self {
        let entry = FdbEntry {
            dev: self.index("vxlan7"),
            mac: mac.into(),
            dst: Some(ip(dst)),
            vni: None,
        };
        self.home().fdb.push(entry);
        self
    }

    /// `ip rule add from FROM lookup TABLE pref PREFERENCE`.
    pub(super) fn rule(mut self, preference: u32, from: Option<&str>, table: u32) -> Self {
        let families = match from {
            Some(f) => vec![f.contains(':')],
            None => vec![false, true],
        };
        for ipv6 in families {
            self.home().rules.push(Rule {
                ipv6,
                preference,
                from: from.map(|f| prefix(f, ipv6)),
                to: None,
                iif: None,
                oif: None,
                fwmark: None,
                uid_range: None,
                ip_proto: None,
                tos: None,
                sport: None,
                dport: None,
                suppress_prefix_len: None,
                invert: false,
                table,
                action: RuleAction::Lookup,
                text: format!("from {} lookup {table}", from.unwrap_or("all")),
            });
        }
        self.home().rules.sort_by_key(|r| r.preference);
        self
    }

    pub(super) fn sysctl(mut self, name: &str, value: &str) -> Self {
        self.home().sysctls.insert(name.into(), value.into());
        self
    }

    pub(super) fn neigh_failure(mut self, address: &str, dev: &str, queued: u32) -> Self {
        let failure = NeighFailure {
            address: ip(address),
            netns: HOME,
            dev: self.index(dev),
            queued,
        };
        self.snapshot.neigh_failures.push((failure, 1));
        self
    }

    /// Adds a flow: see [`Lab::seen`].
    pub(super) fn with(mut self, spec: Seen) -> Self {
        let flow = spec.flow(&self);
        self.snapshot.flows.push(Arc::new(flow));
        self
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context::new(&self.snapshot, &self.inventory).with_intent(&self.intent)
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        run(&self.context())
    }

    pub(super) fn ids(&self) -> Vec<&'static str> {
        self.findings().iter().map(|f| f.id).collect()
    }

    pub(super) fn finding(&self, id: &str) -> Finding {
        let all = self.findings();
        all.iter()
            .find(|f| f.id == id)
            .cloned()
            .unwrap_or_else(|| panic!("{id} in {all:#?}"))
    }
}

/// A flow as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    tuple: Tuple,
    forward: Side,
    reply: Side,
    failures: Vec<RouteFailure>,
}

/// One direction: packets, path, and what went wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    packets: u64,
    path: &'static str,
    flags: u8,
    retransmits: u64,
    max_len: u32,
    span: (u64, u64),
    drops: Vec<Ended>,
    icmp: Vec<IcmpSample>,
}

/// Packets that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// `REASON@symbol`.
    pub(super) place: &'static str,
    pub(super) dev: &'static str,
    pub(super) count: u64,
    pub(super) errno: u32,
    pub(super) route_dev: &'static str,
    pub(super) mtu: u32,
    pub(super) max_len: u32,
    pub(super) encap: &'static str,
    /// Seconds.
    pub(super) last: u64,
}

pub(super) fn ended(place: &'static str, dev: &'static str, count: u64) -> Ended {
    Ended {
        place,
        dev,
        count,
        errno: 0,
        route_dev: "",
        mtu: 0,
        max_len: 100,
        encap: "",
        last: 3,
    }
}

/// `udp 10.244.1.10:40000 10.244.2.20:7`, `tcp6 …` is not needed: `[fd00::1]:7`.
pub(super) fn seen(flow: &str) -> Seen {
    let mut words = flow.split_whitespace();
    let name = words.next().unwrap();
    let end = |s: &str| -> (IpAddr, u16) {
        if let Ok(sock) = s.parse::<std::net::SocketAddr>() {
            return (sock.ip(), sock.port());
        }
        (ip(s), 0)
    };
    let (src, sport) = end(words.next().unwrap());
    let (dst, dport) = end(words.next().unwrap());
    let (proto, dport) = match (name, src.is_ipv6()) {
        ("udp", _) => (Proto::UDP, dport),
        ("tcp", _) => (Proto::TCP, dport),
        ("ping", false) => (Proto::ICMP, 8 << 8),
        ("ping", true) => (Proto::ICMPV6, 128 << 8),
        _ => panic!("protocol {name:?}"),
    };
    let sport = if name == "ping" { 77 } else { sport };
    let tuple = Tuple {
        proto,
        src,
        dst,
        sport,
        dport,
        later_fragment: false,
    };
    Seen {
        tuple,
        forward: Side::default(),
        reply: Side::default(),
        failures: Vec::new(),
    }
}

impl Seen {
    /// Packets and path: `lxc-p1 > default via fe80::1 dev eth0 > eth0`. Devices before the first
    /// decision are entered, those after it left; `eth0[vxlan 7 10.0.0.1 10.0.0.2]` is encapsulated.
    pub(super) fn sent(mut self, packets: u64, path: &'static str) -> Self {
        self.forward.packets = packets;
        self.forward.path = path;
        if self.tuple.proto == Proto::TCP {
            self.forward.flags = 0x02;
        }
        self
    }

    /// The same for the answers. A TCP connection is complete then, unless flags are set after.
    pub(super) fn answered(mut self, packets: u64, path: &'static str) -> Self {
        self.reply.packets = packets;
        self.reply.path = path;
        if self.tuple.proto == Proto::TCP {
            self.forward.flags = 0x1a;
            self.reply.flags = 0x1a;
        }
        self
    }

    pub(super) fn flags(mut self, forward: u8, reply: u8) -> Self {
        (self.forward.flags, self.reply.flags) = (forward, reply);
        self
    }

    pub(super) fn retransmits(mut self, n: u64) -> Self {
        self.forward.retransmits = n;
        self
    }

    pub(super) fn size(mut self, max_len: u32) -> Self {
        self.forward.max_len = max_len;
        self
    }

    /// First and last packet of both directions, seconds.
    pub(super) fn during(mut self, first: u64, last: u64) -> Self {
        (self.forward.span, self.reply.span) = ((first, last), (first, last));
        self
    }

    /// Last packet of the answers, seconds.
    pub(super) fn answers_end(mut self, last: u64) -> Self {
        self.reply.span.1 = last;
        self
    }

    pub(super) fn drop(mut self, ended: Ended) -> Self {
        self.forward.drops.push(ended);
        self
    }

    pub(super) fn drop_reply(mut self, ended: Ended) -> Self {
        self.reply.drops.push(ended);
        self
    }

    /// An ICMP error about the forward direction.
    pub(super) fn icmp(
        mut self,
        from: &str,
        what: (u8, u8),
        mtu: Option<u32>,
        local: bool,
    ) -> Self {
        self.forward.icmp.push(IcmpSample {
            about: self.tuple,
            from: ip(from),
            netns: HOME,
            dev: Ifindex(2),
            dir: if local { Dir::Out } else { Dir::In },
            icmp_type: what.0,
            code: what.1,
            mtu,
            local,
            count: 1,
            first: KtimeNs(3 * SECOND),
            last: KtimeNs(3 * SECOND),
        });
        self
    }

    /// A local sender's failed lookups.
    pub(super) fn failed(mut self, errno: u32, count: u64) -> Self {
        self.failures.push(RouteFailure {
            asked: crate::event::Asked::default(),
            by_rule: false,
            tuple: self.tuple,
            netns: HOME,
            table: 254,
            errno,
            count,
            first: KtimeNs(SECOND),
            last: KtimeNs(3 * SECOND),
            pid: 4711,
            comm: "curl".into(),
        });
        self
    }

    fn flow(self, lab: &Lab) -> Flow {
        let v6 = self.tuple.is_ipv6();
        let mut forward = self.forward.direction(lab, v6);
        let mut reply = self.reply.direction(lab, v6);
        settle(&mut forward, reply.packets);
        settle(&mut reply, forward.packets);
        let hop = |d: &Direction| match d.path.first() {
            Some(Step::Hop(h)) if h.dir == Dir::In => {
                (Some(h.dev), h.encap.as_ref().and_then(|e| e.key.vni))
            }
            _ => (None, None),
        };
        let (dev, vni) = hop(&forward);
        let scope = Scope {
            netns: HOME,
            dev,
            vni,
        };
        let id = FlowId {
            tuple: self.tuple,
            scope,
        };
        Flow {
            nat: None,
            id,
            forward,
            reply,
            route_failures: self.failures.into(),
        }
    }
}

fn settle(d: &mut Direction, back: u64) {
    let exit = match d.path.last() {
        Some(Step::Hop(h)) if h.dir == Dir::Out => Some(h.dev),
        _ => None,
    };
    d.outcome = match (d.packets, d.drops.first(), exit) {
        (0, ..) => None,
        (_, Some(drop), _) => Some(Outcome::Dropped(drop.place.reason.clone())),
        (_, None, Some(dev)) if back == 0 => Some(Outcome::Unanswered(dev)),
        (_, None, Some(dev)) => Some(Outcome::Forwarded(dev)),
        (_, None, None) => Some(Outcome::Delivered),
    };
}

impl Side {
    fn direction(&self, lab: &Lab, ipv6: bool) -> Direction {
        let (first, last) = if self.span == (0, 0) {
            (1, 3)
        } else {
            self.span
        };
        let mut decided = false;
        let mut path = Vec::new();
        for step in self.path.split(" > ").filter(|s| !s.is_empty()) {
            if step.contains("dev ") {
                decided = true;
                path.push(Step::Route(decision(lab, step, ipv6).into()));
            } else {
                path.push(Step::Hop(self.hop(lab, step, decided, (first, last))));
            }
        }
        Direction {
            path,
            drops: self.drops.iter().map(|d| d.drop(lab)).collect(),
            packets: self.packets,
            bytes: self.packets * 100,
            first: KtimeNs(first * SECOND),
            last: KtimeNs(last * SECOND),
            tcp_flags: self.flags,
            icmp: self.icmp.clone().into(),
            retransmits: self.retransmits,
            resets: 0,
            outcome: None,
        }
    }

    fn hop(&self, lab: &Lab, step: &str, out: bool, (first, last): (u64, u64)) -> Hop {
        let (name, around) = step.split_once('[').unwrap_or((step, ""));
        Hop {
            wire: None,
            netns: HOME,
            dev: lab.index(name),
            dir: if out { Dir::Out } else { Dir::In },
            counters: Counters {
                packets: self.packets,
                bytes: self.packets * 100,
                skbs: self.packets,
                first: KtimeNs(first * SECOND),
                last: KtimeNs(last * SECOND),
            },
            encap: encap(around.trim_end_matches(']')).map(Box::new),
            tunnel_key: None,
            vlan: 0,
            max_len: self.max_len.max(100),
            mark: 0,
        }
    }
}

/// `vxlan 7 10.0.0.1 10.0.0.2`.
fn encap(text: &str) -> Option<Encap> {
    let mut words = text.split_whitespace();
    let kind = match words.next()? {
        "vxlan" => EncapKind::Vxlan,
        "geneve" => EncapKind::Geneve,
        "ipip" => EncapKind::Ipip,
        other => panic!("encapsulation {other:?}"),
    };
    let vni = words.next().unwrap().parse().ok();
    let (src, dst) = (ip(words.next().unwrap()), ip(words.next().unwrap()));
    let port = if kind == EncapKind::Ipip { 0 } else { 8472 };
    let sport = if port == 0 { 0 } else { 50000 };
    Some(Encap {
        key: EncapKey { kind, vni },
        src,
        dst,
        sport,
        dport: port,
        df: true,
    })
}

fn decision(lab: &Lab, step: &str, ipv6: bool) -> Decision {
    let words: Vec<&str> = step.split_whitespace().collect();
    let after = |key: &str| words.iter().position(|w| *w == key).map(|i| words[i + 1]);
    Decision {
        why: None,
        decision: RouteDecision {
            changed: None,
            asked: None,
            why: None,
            kind: RouteKind::Unicast,
            table: Some(254),
            gateway: after("via").map(ip),
            dev: after("dev").map(|d| lab.index(d)),
            prefix_len: None,
            metric: None,
            pmtu: None,
            errno: 0,
            lwtunnel: None,
            bridged: false,
            source_check: false,
            bypass: false,
            how: How::Lookup,
        },
        ipv6,
        rule: None,
        prefsrc: None,
        matched: words
            .first()
            .filter(|w| **w != "dev" && **w != "via")
            .map(|w| (*w).to_owned()),
        changes: 0,
        redirected_by: None,
    }
}

impl Ended {
    fn drop(&self, lab: &Lab) -> Drop {
        let (reason, symbol) = self.place.split_once('@').unwrap();
        let named = |n: &str| (!n.is_empty()).then(|| lab.index(n));
        let routed = self.errno != 0 || !self.route_dev.is_empty();
        Drop {
            place: DropPlace {
                reason: reason.into(),
                symbol: symbol.into(),
                netns: Some(HOME),
                dev: named(self.dev),
                in_dev: named(self.dev),
            },
            count: self.count,
            first: KtimeNs(SECOND),
            last: KtimeNs(self.last * SECOND),
            route: routed.then(|| RouteDecision {
                changed: None,
                asked: None,
                why: None,
                kind: RouteKind::Unknown,
                table: None,
                gateway: None,
                dev: named(self.route_dev),
                prefix_len: None,
                metric: None,
                pmtu: None,
                errno: self.errno,
                lwtunnel: None,
                bridged: false,
                source_check: false,
                bypass: false,
                how: How::Dst,
            }),
            mtu: (self.mtu != 0).then_some(self.mtu),
            max_len: self.max_len,
            encap: encap(self.encap),
        }
    }
}
