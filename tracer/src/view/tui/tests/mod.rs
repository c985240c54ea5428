//! Screens of the interface, drawn into memory.

mod hostile;
mod journeys;
mod kinds;
mod messages;
mod panes;

use std::{fmt::Write as _, sync::Arc};

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::*;
use crate::{
    diagnose::{Finding, Severity},
    event::{Dir, Proto},
    inventory::{Attached, Inventory, Nexthop, Prefix, Route, Rule, RuleAction, TcHook, TcProgram},
    model::{Direction, Flow, FlowId, Outcome, Scope, Snapshot, Step},
    view::{
        Limit, Question,
        fixture::{self, ETH0, ETH1, HOME, LXC},
        text::Style,
    },
};

fn setup() -> Setup {
    Setup {
        style: Style::default(),
        numeric: false,
        clock: fixture::clock(),
        meaning: |reason, _, _| match reason {
            "IP_OUTNOROUTES" => "no route to destination".into(),
            _ => "refused".into(),
        },
        filter: String::new(),
        replay: None,
    }
}

/// A state that has seen a picture.
fn state(size: (u16, u16), picture: Picture) -> State {
    let mut state = State::new(setup(), size);
    assert!(state.update(Action::Picture(picture)).is_empty());
    state
}

fn buffer(state: &State) -> Buffer {
    let (width, height) = state.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| state.draw(frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// The screen as text; rows that are selected end with `<`.
fn screen(state: &State) -> String {
    let buffer = buffer(state);
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let cells: Vec<_> = (0..buffer.area.width).map(|x| &buffer[(x, y)]).collect();
        let row: String = cells.iter().map(|c| c.symbol()).collect();
        let selected = cells[0]
            .modifier
            .contains(ratatui::style::Modifier::REVERSED);
        let mark = if selected && y > 2 { "<" } else { "" };
        writeln!(out, "{}{mark}", row.trim_end()).unwrap();
    }
    out
}

fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for c in keys.chars() {
        let key = match c {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            '\u{1b}' => Key::Esc,
            c => Key::Char(c),
        };
        effects.extend(state.input(Input::Key(key)));
    }
    effects
}

/// A lost flow, an unanswered IPv6 one, one whose answers take another way, one that is fine.
fn flows() -> Vec<Flow> {
    let mut lost = fixture::dropped();
    lost.id.tuple.sport = 41_000;
    lost.id.tuple.dst = fixture::ip("10.244.9.9");
    let mut silent = fixture::routed(Outcome::Unanswered(ETH0));
    silent.id.tuple = fixture::tuple(
        Proto::UDP,
        "2001:db8:44:1::10",
        53_130,
        "2001:db8:44:2::20",
        7,
    );
    let mut skewed = fixture::routed(Outcome::Forwarded(ETH1));
    skewed.id.tuple.sport = 42_000;
    skewed.reply = answer(ETH0);
    let mut fine = fixture::tunnelled(Outcome::Forwarded(ETH0));
    fine.reply = answer(ETH0);
    vec![lost, silent, skewed, fine]
}

fn answer(dev: crate::event::Ifindex) -> Direction {
    let path = vec![
        Step::Hop(fixture::hop(dev, Dir::In, 3, 300)),
        Step::Route(fixture::decision(Some(254), Some(LXC)).into()),
        Step::Hop(fixture::hop(LXC, Dir::Out, 3, 300)),
    ];
    fixture::direction(path, Outcome::Forwarded(LXC), 3, 300)
}

fn inventory() -> Inventory {
    let mut inventory = fixture::inventory();
    let home = inventory.netns.get_mut(&HOME).unwrap();
    let route = |dst: &str, len, table, gateway: Option<&str>, dev| Route {
        dst: Prefix::new(fixture::ip(dst), len),
        table,
        kind: crate::event::RouteKind::Unicast,
        protocol: 3,
        metric: 0,
        prefsrc: None,
        scope: 0,
        nexthops: vec![Nexthop {
            gateway: gateway.map(fixture::ip),
            dev: Some(dev),
            weight: 1,
            onlink: false,
            dead: false,
            encap: None,
        }],
        mtu: None,
        nhid: None,
    };
    home.routes = vec![
        route("0.0.0.0", 0, 254, Some("10.0.0.1"), ETH0),
        route("0.0.0.0", 0, 6, Some("10.0.0.1"), ETH1),
        route("10.244.1.10", 32, 254, None, LXC),
    ];
    let rule = |preference, table, text: &str| Rule {
        ipv6: false,
        preference,
        from: None,
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
        text: text.into(),
    };
    let program = |hook, id, name: &str| TcProgram {
        hook,
        id,
        name: name.into(),
    };
    home.programs.insert(
        LXC,
        vec![
            program(TcHook::Egress, Some(8), ""),
            program(TcHook::Ingress, Some(7), "cil_from_contai"),
        ],
    );
    home.rules = vec![
        rule(1536, 6, "from 10.244.1.10 lookup 6"),
        rule(32_766, 254, "from all lookup main"),
    ];
    inventory
}

fn findings(flows: &[Flow]) -> Vec<Finding> {
    let mut first = fixture::finding(&flows[0]);
    first.summary = "10.244.9.9 has no route on n1: table main has no match for it, and there is \
                     no default route that could take it."
        .into();
    let mut second = fixture::finding(&flows[1]);
    (second.id, second.severity) = ("left-unanswered", Severity::Warning);
    second.summary = "nothing comes back from 2001:db8:44:2::20.".into();
    vec![first, second]
}

fn picture(flows: Vec<Flow>, findings: Vec<Finding>) -> Picture {
    let picture = Picture::new(
        Arc::new(inventory()),
        Arc::new(fixture::snapshot(flows)),
        findings.into(),
        Arc::from([]),
    );
    Picture {
        attached: Some(Arc::new(Attached {
            clsact: false,
            devices: [LXC, ETH0].into(),
        })),
        ..picture
    }
}

/// Everything at once.
fn usual() -> Picture {
    let flows = flows();
    let findings = findings(&flows);
    picture(flows, findings)
}

fn nothing() -> Picture {
    picture(Vec::new(), Vec::new())
}

/// As many flows as the model keeps, all of one kind but the last, which is lost.
fn many(n: u32) -> Picture {
    let template = flows();
    let mut flows: Vec<Arc<Flow>> = (1..n)
        .map(|i| {
            let mut f = template[3].clone();
            f.id.tuple.src = std::net::Ipv4Addr::from_bits(0x0A00_0000 | i).into();
            Arc::new(f)
        })
        .collect();
    flows.push(Arc::new(template[0].clone()));
    let mut picture = picture(Vec::new(), vec![fixture::finding(&template[0])]);
    Arc::make_mut(&mut picture.snapshot).flows = flows;
    again(&picture)
}

/// The same, later, with more packets in every flow.
fn later(p: &Picture, seconds: u64, packets: u64) -> Picture {
    let mut snapshot = Snapshot::clone(&p.snapshot);
    snapshot.at.0 += seconds * 1_000_000_000;
    for flow in &mut snapshot.flows {
        let flow = Arc::make_mut(flow);
        flow.forward.packets += packets;
        flow.forward.last.0 += seconds * 1_000_000_000;
    }
    again(&Picture {
        snapshot: Arc::new(snapshot),
        ..p.clone()
    })
}

/// A picture of what was changed in one.
fn again(p: &Picture) -> Picture {
    p.next(p.snapshot.clone(), p.findings.clone())
}

fn limit() -> Limit {
    Limit {
        text: "eth9 could not be attached".into(),
        hides: Question::Path,
    }
}

fn other_scope(mut f: Flow, vni: u32) -> Flow {
    f.id = FlowId {
        scope: Scope {
            vni: Some(vni),
            ..f.id.scope
        },
        ..f.id
    };
    f
}
