//! `tracer.compare/1`.

use std::net::IpAddr;

use serde::Serialize;

use super::{Captures, exit_code};
use crate::{
    compare::{Compared, Node, Side, Totals as Counted},
    event::Tuple,
    view::{json, schema},
};

/// `schema` of a comparison.
const COMPARE: &str = "tracer.compare/1";

/// Two captures joined.
#[derive(Clone, Debug, Serialize)]
pub struct Compare<'a> {
    schema: &'static str,
    a: Capture<'a>,
    b: Capture<'a>,
    clock_offset_ns: Option<i64>,
    clock_both_ways: Option<bool>,
    flows: Vec<Flow<'a>>,
    totals: Totals,
    loss: Loss,
    open: &'a [String],
    exit_code: u8,
}

#[derive(Clone, Debug, Serialize)]
struct Capture<'a> {
    node: &'a str,
    file: &'a str,
}

#[derive(Clone, Debug, Serialize)]
struct Flow<'a> {
    proto: String,
    src: IpAddr,
    sport: Option<u16>,
    dst: IpAddr,
    dport: Option<u16>,
    from: &'static str,
    names: Option<schema::Names>,
    arrives_as: Option<Name>,
    before: Option<Name>,
    after: Option<Name>,
    #[serde(flatten)]
    totals: Totals,
    last_seen: LastSeen<'a>,
    delay_ns: Option<Delay>,
    dropped: Vec<Dropped<'a>>,
}

/// Another name of a flow.
#[derive(Clone, Copy, Debug, Serialize)]
struct Name {
    src: IpAddr,
    sport: Option<u16>,
    dst: IpAddr,
    dport: Option<u16>,
}

#[derive(Clone, Debug, Serialize)]
struct LastSeen<'a> {
    node: &'a str,
    dev: &'a str,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Totals {
    sent: u64,
    received: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    outside: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Delay {
    min: i64,
    p50: i64,
    p95: i64,
    max: i64,
}

#[derive(Clone, Debug, Serialize)]
struct Dropped<'a> {
    reason: &'a str,
    symbol: &'a str,
    count: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Loss {
    a: Lost,
    b: Lost,
}

#[derive(Clone, Debug, Serialize)]
struct Lost {
    packets: u64,
    #[serde(flatten)]
    loss: schema::Loss,
}

/// The object of a comparison.
pub fn object<'a>(files: &Captures<'a>, c: &'a Compared) -> Compare<'a> {
    Compare {
        schema: COMPARE,
        a: Capture {
            node: files.node(Node::A),
            file: files.a.1,
        },
        b: Capture {
            node: files.node(Node::B),
            file: files.b.1,
        },
        clock_offset_ns: c.clocks.map(|c| c.offset_ns),
        clock_both_ways: c.clocks.map(|c| c.both_ways),
        flows: c.flows.iter().map(|f| flow(files, f)).collect(),
        totals: totals(&c.totals),
        loss: Loss {
            a: lost(files.a.0),
            b: lost(files.b.0),
        },
        open: &c.open,
        exit_code: exit_code(c),
    }
}

fn flow<'a>(files: &Captures<'a>, f: &'a crate::compare::FlowCompared) -> Flow<'a> {
    let t = &f.tuple;
    let Name {
        src,
        sport,
        dst,
        dport,
    } = name(t);
    // a lost packet was last seen where it left; one that arrived, on the other node
    let node = if f.totals.lost > 0 {
        files.node(f.from)
    } else {
        files.other(f.from)
    };
    Flow {
        proto: t.proto.to_string(),
        src,
        sport,
        dst,
        dport,
        from: match f.from {
            Node::A => "a",
            Node::B => "b",
        },
        names: schema::Names::new(&files.who(f)),
        arrives_as: f.arrives_as.as_ref().map(name),
        before: f.before.as_ref().map(name),
        after: f.after.as_ref().map(name),
        totals: totals(&f.totals),
        last_seen: LastSeen {
            node,
            dev: &f.left_by,
        },
        delay_ns: f.delays.map(|d| Delay {
            min: d.min,
            p50: d.p50,
            p95: d.p95,
            max: d.max,
        }),
        dropped: f
            .dropped
            .iter()
            .map(|(reason, symbol, count)| Dropped {
                reason,
                symbol,
                count: *count,
            })
            .collect(),
    }
}

fn name(t: &Tuple) -> Name {
    let ports = (t.proto.has_ports() || t.is_echo()) && !t.later_fragment;
    Name {
        src: t.src,
        sport: ports.then_some(t.sport),
        dst: t.dst,
        dport: (ports && t.proto.has_ports()).then_some(t.dport),
    }
}

fn totals(t: &Counted) -> Totals {
    Totals {
        sent: t.sent,
        received: t.received,
        lost: t.lost,
        duplicated: t.duplicated,
        reordered: t.reordered,
        outside: t.outside,
    }
}

fn lost(side: &Side) -> Lost {
    Lost {
        packets: side.packets_lost,
        loss: json::loss(side.loss),
    }
}
