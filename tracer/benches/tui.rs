//! The interactive view with very many flows: how long a frame and an update take.
//!
//! `cargo xtask bench tui`. Ends with an error when a figure is beyond its budget.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
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
/// A picture, on the session's thread. The next one is begun after as long again, so that what is
/// shown is three times as old at most.
const PICTURE: Duration = Duration::from_millis(700);
/// Taking a new picture in.
const UPDATE: Duration = Duration::from_millis(50);
const SIZE: (u16, u16) = (160, 48);
const ROUNDS: u32 = 3;

const HOME: NetnsId = NetnsId(1);
const ETH0: Ifindex = Ifindex(2);
const LXC: Ifindex = Ifindex(5);

fn main() -> ExitCode {
    let mut report = Report { over: false };
    println!("{FLOWS} flows, all of which had packets since the last picture, on {SIZE:?}.");
    println!("CPU time, which is the time that passes when the machine does nothing else.\n");
    println!("| | median | least | most | budget |\n|---|---|---|---|---|");
    for (kind, lost) in [("", Lost::Some), ("all lost: ", Lost::All)] {
        let mut pictures = Pictures::new(lost);
        let mut parts = [const { Vec::new() }; 4];
        let three = [(); 3].map(|()| pictures.next(&mut parts, 1));
        report.picture(kind, &mut parts);
        let mut parts = [const { Vec::new() }; 4];
        for _ in 0..3 {
            drop(pictures.next(&mut parts, 10));
        }
        report.picture(&format!("{kind}one in ten goes on: "), &mut parts);
        let mut view = View::new(&three);
        view.measure(kind, &mut report);
        if lost == Lost::Some {
            view.keys(&mut report);
        }
    }
    ExitCode::from(u8::from(report.over))
}

/// The view, and three pictures that it is shown one after the other.
struct View<'a> {
    state: State,
    terminal: Terminal<TestBackend>,
    pictures: &'a [Picture; 3],
}

impl<'a> View<'a> {
    fn new(pictures: &'a [Picture; 3]) -> Self {
        Self {
            state: State::new(setup(), SIZE),
            terminal: Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap(),
            pictures,
        }
    }

    fn draw(&mut self) {
        let state = &self.state;
        self.terminal.draw(|f| state.draw(f)).map(drop).unwrap();
    }

    fn press(&mut self, keys: &str) {
        for c in keys.chars() {
            let key = match c {
                '\n' => Key::Enter,
                '\u{1b}' => Key::Esc,
                c => Key::Char(c),
            };
            self.state.input(Input::Key(key));
        }
    }

    /// Times to take the second and the third picture in, and the frames after them. The first is
    /// a step back in time and not measured.
    fn updates(&mut self) -> [Vec<Duration>; 2] {
        let (mut updates, mut frames) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            for (i, picture) in self.pictures.iter().enumerate() {
                let picture = picture.clone();
                let (mut update, mut frame) = (vec![], vec![]);
                time(&mut update, || self.state.update(Action::Picture(picture)));
                // on another thread
                drop(self.state.discarded());
                time(&mut frame, || self.draw());
                if i > 0 {
                    updates.extend(update);
                    frames.extend(frame);
                }
            }
        }
        [updates, frames]
    }

    /// Taking pictures in, in each order, with filters, and in groups.
    fn measure(&mut self, kind: &str, report: &mut Report) {
        let [mut updates, mut frames] = self.updates();
        report.row(&format!("{kind}update"), &mut updates, Some(UPDATE));
        report.row(&format!("{kind}frame after it"), &mut frames, Some(FRAME));
        for column in Column::ALL {
            let name = column.order();
            let mut key = vec![];
            for _ in 0..ROUNDS {
                self.state.update(Action::SortBy(Column::Mark));
                time(&mut key, || self.state.update(Action::SortBy(column)));
            }
            report.row(&format!("{kind}sort by {name}"), &mut key, Some(UPDATE));
            let [mut updates, _] = self.updates();
            let name = format!("{kind}update, sorted by {name}");
            report.row(&name, &mut updates, Some(UPDATE));
        }
        self.state.update(Action::SortBy(Column::Mark));
        for filter in [
            "udp and net 10.0.0.0/15",
            "src host 192.0.2.1",
            "dev eth0",
            "drop",
        ] {
            let mut key = vec![];
            for _ in 0..ROUNDS {
                self.press("\u{1b}\u{1b}/");
                self.press(filter);
                time(&mut key, || self.press("\n"));
            }
            report.row(&format!("{kind}filter {filter}"), &mut key, Some(UPDATE));
            let [mut updates, _] = self.updates();
            let name = format!("{kind}update, filter {filter}");
            report.row(&name, &mut updates, Some(UPDATE));
        }
        self.press("\u{1b}\u{1b}");
        for by in ["source", "destination", "device", "drop reason", "scope"] {
            let mut key = vec![];
            time(&mut key, || self.press("b"));
            report.row(&format!("{kind}group by {by}"), &mut key, Some(UPDATE));
            let [mut updates, _] = self.updates();
            let name = format!("{kind}update, grouped by {by}");
            report.row(&name, &mut updates, Some(UPDATE));
        }
        self.press("b");
        for (pane, name) in ["2", "3", "4", "5"]
            .iter()
            .zip(["findings", "drops", "devices", "routes"])
        {
            self.press(pane);
            let [mut updates, _] = self.updates();
            report.row(
                &format!("{kind}update, {name} shown"),
                &mut updates,
                Some(UPDATE),
            );
        }
        self.press("1");
    }

    /// What follows a key at once.
    fn keys(&mut self, report: &mut Report) {
        for (name, key) in [
            ("page down", Key::PageDown),
            ("to the end", Key::End),
            ("row up", Key::Up),
            ("details", Key::Enter),
            ("help", Key::Char('?')),
        ] {
            let mut times = vec![];
            for _ in 0..4 * ROUNDS {
                time(&mut times, || {
                    self.state.input(Input::Key(key));
                    self.draw();
                });
            }
            report.row(&format!("{name} with its frame"), &mut times, Some(FRAME));
            self.state.input(Input::Key(Key::Esc));
        }
    }
}

/// Prints a row for each measurement.
struct Report {
    /// A median was over its budget.
    over: bool,
}

impl Report {
    /// The parts of a picture, and all of it. The first is left out: what is new is made once.
    fn picture(&mut self, kind: &str, parts: &mut [Vec<Duration>; 4]) {
        let mut all = vec![Duration::ZERO; parts[0].len() - 1];
        for (name, times) in ["events", "flows", "findings", "facts"].iter().zip(parts) {
            times.remove(0);
            all.iter_mut().zip(&*times).for_each(|(sum, t)| *sum += *t);
            self.row(&format!("{kind}picture: {name}"), times, None);
        }
        self.row(&format!("{kind}picture"), &mut all, Some(PICTURE));
    }

    fn row(&mut self, name: &str, times: &mut [Duration], budget: Option<Duration>) {
        times.sort();
        let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        let beyond = budget.is_some_and(|b| median > b);
        self.over |= beyond;
        let budget = budget.map_or_else(String::new, |b| format!("{b:?}"));
        let verdict = if beyond { " TOO SLOW" } else { "" };
        println!("| {name} | {median:.1?} | {least:.1?} | {most:.1?} | {budget}{verdict} |");
    }
}

fn time<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begun = cpu_time();
    let done = work();
    times.push(cpu_time().saturating_sub(begun));
    done
}

/// CPU time of this thread: what is measured neither waits nor has other threads, and other programs
/// of the machine may not decide whether a budget is kept.
fn cpu_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to `now`, which outlives the call
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(result, 0, "every Linux has this clock");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
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

/// How many flows lose their packets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// One in a hundred; one in ten gets no answer.
    Some,
    /// All.
    All,
}

/// Pictures of a node whose flows all go on.
struct Pictures {
    inventory: Arc<Inventory>,
    model: Model,
    round: u64,
    lost: Lost,
    last: Option<Picture>,
}

impl Pictures {
    fn new(lost: Lost) -> Self {
        let inventory = Arc::new(inventory());
        let mut model = Model::new(ModelConfig::default());
        model.set_inventory(inventory.clone());
        Self {
            inventory,
            model,
            round: 0,
            lost,
            last: None,
        }
    }

    /// What the session does for one: events, flows, findings, facts; and how long each takes.
    /// One flow in `every` goes on.
    fn next(
        &mut self,
        [events, flows, findings, facts]: &mut [Vec<Duration>; 4],
        every: u32,
    ) -> Picture {
        self.round += 1;
        let now = KtimeNs((10 + self.round) * 1_000_000_000);
        time(events, || self.events(now, every));
        let snapshot = time(flows, || Arc::new(self.model.snapshot()));
        let found = time(findings, || {
            diagnose::run(&diagnose::Context::new(&snapshot, &self.inventory))
        });
        let picture = time(facts, || match &self.last {
            Some(last) => last.next(snapshot, found.into()),
            None => Picture::new(
                self.inventory.clone(),
                snapshot,
                found.into(),
                Arc::from([]),
            ),
        });
        self.last = Some(picture.clone());
        picture
    }

    fn events(&mut self, now: KtimeNs, every: u32) {
        for i in (0..FLOWS).filter(|i| i / 10 % every == 0) {
            let tuple = Tuple {
                proto: Proto::UDP,
                src: IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + i)),
                dst: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
                sport: 40_000,
                dport: 53,
                later_fragment: false,
            };
            self.hop(tuple, Dir::In, LXC, now);
            if i % 100 == 0 || self.lost == Lost::All {
                self.dropped(tuple, now);
                continue;
            }
            self.hop(tuple, Dir::Out, ETH0, now);
            if i % 10 != 0 {
                self.hop(tuple.reversed(), Dir::In, ETH0, now);
                self.hop(tuple.reversed(), Dir::Out, LXC, now);
            }
        }
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
