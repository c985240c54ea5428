//! The NDJSON of `tracer watch -o json`: one [`schema::WATCH`] object per line.

use serde::Serialize;

use super::{
    ViewContext, changes::Change, context::Limit, flow_name, intent, json, schema, text::Summary,
};
use crate::{
    diagnose::Intent,
    event::{KtimeNs, PacketSample},
};

/// A line.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    /// [`schema::WATCH`].
    pub schema: &'static str,
    /// RFC 3339, UTC.
    pub time: String,
    /// `type` and what belongs to it.
    #[serde(flatten)]
    pub body: Body<'a>,
}

/// What a line says.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Body<'a> {
    /// The first line.
    Ready {
        /// The node's name.
        node: &'a str,
        /// `uname -r`.
        kernel: &'a str,
        /// Inode number of the home namespace.
        netns: u32,
        /// The filter as it was given.
        filter: Option<&'a str>,
        /// What the network is meant to do.
        intent: schema::Intent<'a>,
        /// What this kernel does not let us see.
        limits: Vec<&'a str>,
    },
    /// Something about a flow changed.
    Flow {
        /// `new`, `route`, `drop`, `unanswered` or `end`.
        change: &'static str,
        /// The flow now.
        flow: Box<schema::Flow>,
    },
    /// Packets were dropped.
    Drop {
        /// The flow's name.
        flow: Option<String>,
        /// Packets since the last line.
        new: u64,
        /// Where and why.
        drop: schema::Drop,
    },
    /// ICMP errors about a flow.
    Icmp {
        /// The flow's name.
        flow: String,
        /// Packets since the last line.
        new: u64,
        /// The error.
        icmp: schema::IcmpError,
    },
    /// A local sender found no route.
    RouteFailure {
        /// Lookups since the last line.
        new: u64,
        /// The lookup.
        failure: schema::RouteFailure,
    },
    /// A next hop does not answer.
    Neigh {
        /// Failures since the last line.
        new: u64,
        /// The neighbour.
        neigh: schema::Neigh,
    },
    /// A finding appeared.
    Finding {
        /// The finding.
        finding: schema::Finding<'a>,
    },
    /// One packet at one device.
    Packet(Packet),
    /// The loss counters grew.
    Loss {
        /// Totals.
        loss: schema::Loss,
    },
    /// The last line.
    End {
        /// Seconds from the start.
        duration_s: f64,
        /// Packets, both directions.
        packets: u64,
        /// Flows.
        flows: u64,
        /// Packets dropped.
        drops: u64,
        /// What was not shown.
        loss: schema::Loss,
    },
}

/// One packet at one device.
#[derive(Clone, Debug, Serialize)]
pub struct Packet {
    /// Device.
    pub dev: String,
    /// Its number.
    pub ifindex: u32,
    /// Inode number.
    pub netns: u32,
    /// `in` or `out`.
    pub dir: &'static str,
    /// Transport.
    pub proto: String,
    /// Source.
    pub src: std::net::IpAddr,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination.
    pub dst: std::net::IpAddr,
    /// Destination port.
    pub dport: Option<u16>,
    /// Bytes with the link header.
    pub len: u32,
    /// Wire segments.
    pub segs: u32,
    /// TCP flags.
    pub tcp_flags: u8,
    /// IP identification.
    pub ip_id: u32,
    /// Encapsulation.
    pub encap: Option<PacketEncap>,
    /// In a capture: the same number for all observations of one packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// In a capture: it ended here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<PacketEnd>,
    /// Who is at its ends; `null` when nobody is known by name.
    pub names: Option<Box<schema::Names>>,
}

/// Where and why a packet ended.
#[derive(Clone, Debug, Serialize)]
pub struct PacketEnd {
    /// `enum skb_drop_reason`.
    pub reason: String,
    /// Kernel function.
    pub symbol: String,
}

/// The encapsulation of one packet.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PacketEncap {
    /// Kind.
    pub kind: &'static str,
    /// VNI or GRE key.
    pub vni: Option<u32>,
}

/// A line at `at`.
pub fn line<'a>(cx: &ViewContext<'_>, at: KtimeNs, body: Body<'a>) -> Line<'a> {
    Line {
        schema: schema::WATCH,
        time: cx.clock.rfc3339(at),
        body,
    }
}

/// The first line.
pub fn ready<'a>(
    cx: &ViewContext<'a>,
    filter: &'a str,
    meant: &'a Intent,
    limits: &'a [Limit],
) -> Body<'a> {
    Body::Ready {
        node: &cx.inventory.node,
        kernel: &cx.inventory.kernel,
        netns: cx.inventory.home.0,
        filter: Some(filter).filter(|f| !f.is_empty()),
        intent: intent::object(cx.inventory, meant),
        limits: limits.iter().map(|l| l.text.as_str()).collect(),
    }
}

/// The last line.
pub fn end<'a>(s: &Summary, ns: u64) -> Body<'a> {
    Body::End {
        duration_s: (ns / 1_000_000) as f64 / 1000.0,
        packets: s.packets,
        flows: s.flows,
        drops: s.drops,
        loss: json::loss(s.loss),
    }
}

/// A change.
pub fn change<'a>(cx: &ViewContext<'_>, c: &'a Change) -> Body<'a> {
    let flow = |change, f| Body::Flow {
        change,
        flow: Box::new(json::flow(cx, f)),
    };
    match c {
        Change::New(f) => flow("new", f),
        Change::Route(f) => flow("route", f),
        Change::Dropping(f) => flow("drop", f),
        Change::Unanswered(f) => flow("unanswered", f),
        Change::End(f) => flow("end", f),
        Change::Drop(f, d, new) => Body::Drop {
            flow: f.as_ref().map(|f| flow_name(&f.id.tuple)),
            new: *new,
            drop: json::drop(cx, d),
        },
        Change::Icmp(f, s, new) => Body::Icmp {
            flow: flow_name(&f.id.tuple),
            new: *new,
            icmp: json::icmp_error(cx, s),
        },
        Change::RouteFailure(_, r, new) => Body::RouteFailure {
            new: *new,
            failure: json::route_failure(r),
        },
        Change::Neigh(n, new) => Body::Neigh {
            new: *new,
            neigh: json::neigh(cx, n, *new),
        },
        Change::Finding(f) => Body::Finding {
            finding: json::finding(cx, f),
        },
        Change::Loss(l) => Body::Loss {
            loss: json::loss(*l),
        },
    }
}

/// A packet.
pub fn packet<'a>(cx: &ViewContext<'_>, p: &PacketSample) -> Body<'a> {
    recorded(cx, p, None, 0)
}

/// A packet of a capture: `drop` is reason and function, `id` the same at each device.
pub fn recorded<'a>(
    cx: &ViewContext<'_>,
    p: &PacketSample,
    drop: Option<(&str, &str)>,
    id: u64,
) -> Body<'a> {
    let (key, t) = (&p.key, &p.key.tuple);
    let ports = t.proto.has_ports() && !t.later_fragment;
    Body::Packet(Packet {
        dev: cx.dev(key.netns, key.dev),
        ifindex: key.dev.0,
        netns: key.netns.0,
        dir: json::dir(key.dir),
        proto: t.proto.to_string(),
        src: t.src,
        sport: (ports || t.is_echo()).then_some(t.sport),
        dst: t.dst,
        dport: ports.then_some(t.dport),
        len: p.len,
        segs: p.segs,
        tcp_flags: p.tcp_flags,
        ip_id: p.ip_id,
        id: (id != 0).then_some(id),
        names: schema::Names::new(&cx.who_sent(p)).map(Box::new),
        dropped: drop.map(|(reason, symbol)| PacketEnd {
            reason: reason.to_owned(),
            symbol: symbol.to_owned(),
        }),
        encap: key.encap.map(|e| PacketEncap {
            kind: e.kind.name(),
            vni: e.vni,
        }),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        event::{Dir, HopKey, NeighFailure, RouteFailure},
        model::{Loss, Outcome},
        view::fixture::{self, ETH0, HOME, LXC, at, ip},
    };

    fn lines(changes: &[Change]) -> String {
        let (inventory, clock) = (fixture::inventory(), fixture::clock());
        let cx = fixture::cx(&inventory, &clock);
        let mut out = Vec::new();
        let limits = [];
        let key = HopKey {
            tuple: fixture::udp(),
            encap: Some(fixture::encap("192.0.2.1", "192.0.2.2").key),
            netns: HOME,
            dev: LXC,
            dir: Dir::In,
            in_dev: None,
            tunnel_key: None,
        };
        let sample = PacketSample {
            key,
            len: 142,
            segs: 1,
            tcp_flags: 0,
            ip_id: 7,
        };
        let mut bodies = vec![ready(&cx, "udp", Intent::UNKNOWN, &limits)];
        bodies.extend(changes.iter().map(|c| change(&cx, c)));
        bodies.push(packet(&cx, &sample));
        bodies.push(end(
            &Summary {
                packets: 3,
                ..Summary::default()
            },
            1_500_000_000,
        ));
        for body in bodies {
            json::write_line(&mut out, &line(&cx, at(5), body)).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_type_of_line() {
        let dropped = Arc::new(fixture::dropped());
        let drop = dropped.forward.drops[0].clone();
        let neigh = NeighFailure {
            address: ip("192.0.2.9"),
            netns: HOME,
            dev: ETH0,
            queued: 1,
        };
        let failure = RouteFailure {
            asked: crate::event::Asked::default(),
            by_rule: false,
            tuple: fixture::udp(),
            netns: HOME,
            table: 254,
            errno: 101,
            count: 2,
            first: at(1),
            last: at(2),
            pid: 1,
            comm: "curl".into(),
        };
        insta::assert_snapshot!(lines(&[
            Change::Drop(Some(dropped.clone()), drop.clone().into(), 2),
            Change::Drop(None, drop.into(), 1),
            Change::RouteFailure(dropped.clone(), failure.into(), 2),
            Change::Neigh(neigh, 1),
            Change::Finding(fixture::finding(&dropped).into()),
            Change::Loss(Loss {
                events: 1,
                ..Loss::default()
            }),
        ]));
    }

    #[test]
    fn flow_lines_carry_the_flow() {
        let f = Arc::new(fixture::tunnelled(Outcome::Unanswered(ETH0)));
        let changes = [
            (Change::New(f.clone()), "new"),
            (Change::Route(f.clone()), "route"),
            (Change::Dropping(f.clone()), "drop"),
            (Change::Unanswered(f.clone()), "unanswered"),
            (Change::End(f.clone()), "end"),
        ];
        for (c, name) in changes {
            let text = lines(&[c]);
            let v: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
            assert_eq!(v["schema"], "tracer.watch/1");
            assert_eq!((&v["type"], &v["change"]), (&"flow".into(), &name.into()));
            assert_eq!(v["flow"]["path"].as_array().unwrap().len(), 4);
            assert_eq!(v["time"], "2026-11-22T05:00:00.005Z");
        }
    }
}
