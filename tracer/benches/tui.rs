//! The interactive view with very many flows: how long a frame and an update take.
//!
//! `cargo bench -p tracer --bench tui`. Ends with an error when a figure is beyond its budget.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use ratatui::{Terminal, backend::TestBackend};
use tracer::{
    diagnose,
    event::{
        Body, Change, Counters, Dir, DropPlace, DropSample, Event, HopKey, HopSample, How, Ifindex,
        KtimeNs, NetnsId, Proto, RouteDecision, RouteKind, Tuple,
    },
    inventory::{Inventory, Link, LinkKind, Netns, Role},
    model::{Model, ModelConfig},
    view::{
        WallClock,
        text::Style,
        tui::{Action, Column, Input, Key, Picture, Setup, State},
    },
};

const FLOWS: u32 = 100_000;
/// A frame on a large terminal.
const FRAME: Duration = Duration::from_millis(16);
/// Taking a new picture in.
const UPDATE: Duration = Duration::from_millis(50);
const SIZE: (u16, u16) = (160, 48);
const ROUNDS: u32 = 20;

const HOME: NetnsId = NetnsId(1);
const ETH0: Ifindex = Ifindex(2);
const LXC: Ifindex = Ifindex(5);

fn main() -> ExitCode {
    let inventory = Arc::new(inventory());
    let mut model = Model::new(ModelConfig::default());
    model.set_inventory(inventory.clone());
    let mut pictures = Pictures {
        inventory,
        model,
        round: 0,
    };
    let mut report = Report { over: false };

    let mut state = State::new(setup(), SIZE);
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    println!("{FLOWS} flows, all of which had packets since the last picture");
    let (mut models, mut updates, mut frames) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS / 2 {
        if round == 1 {
            // what is new is made once
            (models, updates, frames) = (vec![], vec![], vec![]);
        }
        let picture = time(&mut models, || pictures.next());
        time(&mut updates, || state.update(Action::Picture(picture)));
        // on another thread
        drop(state.discarded());
        time(&mut frames, || {
            terminal.draw(|f| state.draw(f)).map(drop).unwrap();
        });
    }
    report.row("picture (not on this thread)", &mut models, None);
    report.row("update", &mut updates, Some(UPDATE));
    report.row("frame after an update", &mut frames, Some(FRAME));

    for (name, key) in [
        ("page down, frame", Key::PageDown),
        ("to the end, frame", Key::End),
        ("row up, frame", Key::Up),
        ("details, frame", Key::Enter),
        ("help, frame", Key::Char('?')),
    ] {
        let mut times = vec![];
        for _ in 0..ROUNDS {
            time(&mut times, || {
                state.input(Input::Key(key));
                terminal.draw(|f| state.draw(f)).map(drop).unwrap();
            });
        }
        report.row(name, &mut times, Some(FRAME));
        state.input(Input::Key(Key::Esc));
    }
    for column in Column::ALL {
        let mut times = vec![];
        for _ in 0..2 {
            time(&mut times, || state.update(Action::SortBy(column)));
        }
        report.row(&format!("sort by {}", column.order()), &mut times, None);
    }
    for (name, keys) in [
        (
            "filter: udp and net 10.1.0.0/16",
            "/udp and net 10.1.0.0/16\n",
        ),
        ("update while filtered", ""),
        ("group by source", "b"),
    ] {
        let picture = pictures.next();
        let mut times = vec![];
        for c in keys.chars().filter(|c| *c != '\n') {
            state.input(Input::Key(Key::Char(c)));
        }
        time(&mut times, || {
            if keys.is_empty() {
                state.update(Action::Picture(picture));
            } else {
                state.input(Input::Key(Key::Enter));
            }
        });
        report.row(name, &mut times, None);
    }
    ExitCode::from(u8::from(report.over))
}

/// Prints a line for each measurement.
struct Report {
    /// A median was over its budget.
    over: bool,
}

impl Report {
    fn row(&mut self, name: &str, times: &mut [Duration], budget: Option<Duration>) {
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        let beyond = budget.is_some_and(|b| median > b);
        self.over |= beyond;
        let budget = budget.map_or_else(String::new, |b| format!("  budget {b:?}"));
        let verdict = if beyond { "  TOO SLOW" } else { "" };
        println!("{name:<34} median {median:>10.2?}  worst {worst:>10.2?}{budget}{verdict}");
    }
}

fn time<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    times.push(begun.elapsed());
    done
}

fn setup() -> Setup {
    Setup {
        style: Style {
            color: true,
            ..Style::default()
        },
        numeric: false,
        clock: WallClock::default(),
        meaning: |_, _, _| "refused".into(),
        filter: String::new(),
        replay: None,
    }
}

fn inventory() -> Inventory {
    let link = |ifindex, name: &str, role| Link {
        ifindex,
        name: name.into(),
        kind: LinkKind::Veth,
        role,
        mtu: 1500,
        up: true,
        carrier: true,
        mac: String::new(),
        master: None,
        lower: None,
        peer: None,
        peer_netns: None,
        addresses: vec![],
    };
    let links = [
        link(ETH0, "eth0", Role::Uplink),
        link(LXC, "lxc-p1", Role::Pod),
    ];
    let home = Netns {
        id: HOME,
        links: links.into_iter().map(|l| (l.ifindex, l)).collect(),
        ..Netns::default()
    };
    Inventory {
        node: "n1".into(),
        kernel: "6.18".into(),
        home: HOME,
        netns: BTreeMap::from([(HOME, home)]),
        ..Inventory::default()
    }
}

/// Pictures of a node whose flows all go on.
struct Pictures {
    inventory: Arc<Inventory>,
    model: Model,
    round: u64,
}

impl Pictures {
    /// What the session does for one: events, flows, findings.
    fn next(&mut self) -> Picture {
        self.round += 1;
        let now = KtimeNs((10 + self.round) * 1_000_000_000);
        for i in 0..FLOWS {
            let tuple = Tuple {
                proto: Proto::UDP,
                src: IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + i)),
                dst: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
                sport: 40_000,
                dport: 53,
                later_fragment: false,
            };
            // one in ten gets no answer, one in a hundred is dropped
            self.hop(tuple, Dir::In, LXC, now);
            if i % 100 == 0 {
                self.dropped(tuple, now);
                continue;
            }
            self.hop(tuple, Dir::Out, ETH0, now);
            if i % 10 != 0 {
                self.hop(tuple.reversed(), Dir::In, ETH0, now);
                self.hop(tuple.reversed(), Dir::Out, LXC, now);
            }
        }
        let snapshot = Arc::new(self.model.snapshot());
        let findings = diagnose::run(&diagnose::Context::new(&snapshot, &self.inventory));
        Picture::new(
            self.inventory.clone(),
            snapshot,
            findings.into(),
            Arc::from([]),
        )
    }

    fn hop(&mut self, tuple: Tuple, dir: Dir, dev: Ifindex, now: KtimeNs) {
        let other = if dev == LXC { ETH0 } else { LXC };
        let route = RouteDecision {
            kind: RouteKind::Unicast,
            table: Some(254),
            dev: Some(dev),
            ..RouteDecision::unknown(How::Lookup)
        };
        let sample = HopSample {
            nat: None,
            key: HopKey {
                tuple,
                encap: None,
                netns: HOME,
                dev,
                dir,
                in_dev: (dir == Dir::Out).then_some(other),
                tunnel_key: None,
            },
            counters: Counters {
                packets: 3 * self.round,
                bytes: 300 * self.round,
                skbs: 3 * self.round,
                first: KtimeNs(5_000_000_000),
                last: now,
            },
            route: (dir == Dir::Out).then_some(route),
            encap: None,
            mark: 0,
            max_len: 100,
            tcp_flags: 0,
            vlan: 0,
            route_changes: 0,
            outer_changes: 0,
            change: Change::default(),
        };
        self.model.apply(&Event {
            at: now,
            body: Body::Hop(sample),
        });
    }

    fn dropped(&mut self, tuple: Tuple, now: KtimeNs) {
        let sample = DropSample {
            original: None,
            tuple: Some(tuple),
            encap: None,
            place: DropPlace {
                reason: "NETFILTER_DROP".into(),
                symbol: "nft_do_chain".into(),
                netns: Some(HOME),
                dev: Some(LXC),
                in_dev: None,
            },
            count: 3 * self.round,
            bytes: 300 * self.round,
            first: KtimeNs(5_000_000_000),
            last: now,
            loss: true,
            route: None,
            mtu: None,
            max_len: 100,
            mark: 0,
            has_sock: false,
        };
        self.model.apply(&Event {
            at: now,
            body: Body::Drop(sample),
        });
    }
}
