//! Each part that runs for a packet, a flow or a picture, by itself.
//!
//! `cargo bench -p tracer --bench parts` prints times. `parts NAME TIMES` does one of them so often and
//! prints nothing: `cargo xtask bench instructions` counts what that takes.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]
#![expect(clippy::unwrap_used, reason = "what it is given is its own")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    io,
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use ratatui::{Terminal, backend::TestBackend};
use tracer::{
    capture::{Header, Reader, Writer},
    decode::Decoder,
    diagnose,
    event::{
        Body, Change, Counters, Dir, Event, HopKey, HopSample, How, Ifindex, KtimeNs, NetnsId,
        PacketPlace, Proto, RawPacket, RouteDecision, RouteKind, Tuple,
    },
    filter::{Filter, FlowFacts},
    inventory::{Inventory, Link, LinkKind, Names, Netns, Role},
    model::{Model, ModelConfig},
    view::{
        WallClock,
        text::Style,
        tui::{Picture, Setup, State},
    },
};
use tracer_abi::{flow, key};

const HOME: NetnsId = NetnsId(1);
const ETH0: Ifindex = Ifindex(2);
const LXC: Ifindex = Ifindex(5);
/// Flows in the model, and in a picture.
const FLOWS: u32 = 1_000;
const FILTER: &str = "udp and net 10.0.0.0/16 and not port 5353 or host 192.0.2.77 and tcp";
const CAPTURE: &[u8] = include_bytes!("../../tests/fixtures/captures/encap-loss.pcapng");

/// Makes what the work needs, and gives the work.
type Part = fn() -> Box<dyn FnMut()>;

const PARTS: [(&str, Part); 9] = [
    ("decode-flow", decode_flow),
    ("model-update", model_update),
    ("snapshot", snapshot),
    ("filter-parse", filter_parse),
    ("filter-match", filter_match),
    ("findings", findings),
    ("capture-write", capture_write),
    ("capture-read", capture_read),
    ("frame", frame),
];

fn main() -> ExitCode {
    // cargo adds --bench
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [name, times] => {
            let found = PARTS.iter().find(|(part, _)| part == name);
            let (Some((_, part)), Ok(times)) = (found, times.parse::<u32>()) else {
                return ExitCode::FAILURE;
            };
            let mut work = part();
            for _ in 0..times {
                work();
            }
        }
        ["--list"] => PARTS.iter().for_each(|(name, _)| println!("{name}")),
        _ => PARTS.iter().for_each(|(name, part)| time(name, *part)),
    }
    ExitCode::SUCCESS
}

/// Prints the median of some rounds, each of some milliseconds.
fn time(name: &str, part: Part) {
    const ROUNDS: usize = 15;
    let mut work = part();
    let begun = Instant::now();
    let mut times = 0_u32;
    while begun.elapsed() < Duration::from_millis(20) {
        work();
        times += 1;
    }
    let mut each: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            (0..times).for_each(|_| work());
            begun.elapsed() / times
        })
        .collect();
    each.sort();
    let (low, median, high) = (each[0], each[ROUNDS / 2], each[ROUNDS - 1]);
    println!("{name:<16} {median:>10.2?}  ({low:.2?}–{high:.2?})");
}

fn decode_flow() -> Box<dyn FnMut()> {
    let decoder = Decoder::new(Arc::new(Names::default()));
    let mut record = flow::FlowRecord::default();
    record.key.tuple.family = key::FAMILY_IPV4;
    record.key.tuple.proto = key::PROTO_UDP;
    record.key.dir = key::DIR_OUT;
    record.key.netns = HOME.0;
    record.key.ifindex = ETH0.0;
    record.value.packets = 5;
    record.value.route.how = tracer_abi::route::ROUTE_DST;
    record.value.route.kind = 1;
    Box::new(move || {
        let event = decoder.flow(black_box(&record), KtimeNs(1));
        assert!(black_box(event).is_ok());
    })
}

fn model_update() -> Box<dyn FnMut()> {
    let mut model = model();
    let mut round = 0;
    Box::new(move || {
        round += 1;
        model.apply(&black_box(hop(round % FLOWS, Dir::In, u64::from(round))));
    })
}

fn snapshot() -> Box<dyn FnMut()> {
    let mut model = model();
    let mut round = 0;
    Box::new(move || {
        round += 1;
        for i in 0..FLOWS {
            model.apply(&hop(i, Dir::In, round));
        }
        black_box(model.snapshot());
    })
}

fn filter_parse() -> Box<dyn FnMut()> {
    Box::new(|| assert!(black_box(Filter::parse(black_box(FILTER))).is_ok()))
}

fn filter_match() -> Box<dyn FnMut()> {
    let filter = Filter::parse(FILTER).unwrap();
    let inventory = inventory();
    let tuple = tuple(77);
    Box::new(move || {
        black_box(filter.matches_flow(black_box(&FlowFacts::new(&tuple)), &inventory));
    })
}

fn findings() -> Box<dyn FnMut()> {
    let (snapshot, inventory) = (model().snapshot(), inventory());
    Box::new(move || {
        let context = diagnose::Context::new(&snapshot, &inventory);
        black_box(diagnose::run(&context));
    })
}

fn capture_write() -> Box<dyn FnMut()> {
    let header = Header {
        snaplen: 128,
        ..Header::default()
    };
    let mut writer = Writer::new(io::sink(), header, Arc::new(inventory()), false).unwrap();
    let bytes = [0x5a; 64];
    let mut round = 0;
    Box::new(move || {
        round += 1;
        let packet = RawPacket {
            at: KtimeNs(u64::from(round)),
            skb: u64::from(round % 256) << 8,
            tuple: Some(tuple(round % FLOWS)),
            encap: None,
            netns: Some(HOME),
            dev: Some(ETH0),
            in_dev: None,
            place: PacketPlace::Device(Dir::In),
            len: 64,
            segs: 1,
            gso_size: 0,
            tcp_flags: 0,
            ip_id: round,
            link: 14,
            vlan_tci: 0,
            ethertype: 0x0800,
            bytes: &bytes,
        };
        writer.packet(black_box(&packet)).unwrap();
    })
}

fn capture_read() -> Box<dyn FnMut()> {
    Box::new(|| {
        let mut reader = Reader::new(black_box(CAPTURE)).unwrap();
        while let Some(block) = reader.next_block().unwrap() {
            black_box(block);
        }
    })
}

fn frame() -> Box<dyn FnMut()> {
    let inventory = Arc::new(inventory());
    let mut state = State::new(
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
        },
        (160, 48),
    );
    let snapshot = Arc::new(model().snapshot());
    let findings = diagnose::run(&diagnose::Context::new(&snapshot, &inventory));
    let picture = Picture::new(inventory, snapshot, findings.into(), Arc::from([]));
    state.update(tracer::view::tui::Action::Picture(picture));
    let mut terminal = Terminal::new(TestBackend::new(160, 48)).unwrap();
    Box::new(move || terminal.draw(|f| state.draw(f)).map(drop).unwrap())
}

fn tuple(i: u32) -> Tuple {
    Tuple {
        proto: Proto::UDP,
        src: IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + i)),
        dst: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        sport: 40_000,
        dport: 53,
        later_fragment: false,
    }
}

/// A model with flows that come in by one device and leave by another.
fn model() -> Model {
    let mut model = Model::new(ModelConfig::default());
    model.set_inventory(Arc::new(inventory()));
    for i in 0..FLOWS {
        model.apply(&hop(i, Dir::In, 1));
        model.apply(&hop(i, Dir::Out, 1));
    }
    model
}

fn hop(i: u32, dir: Dir, round: u64) -> Event {
    let (dev, other) = match dir {
        Dir::In => (LXC, ETH0),
        Dir::Out => (ETH0, LXC),
    };
    let route = RouteDecision {
        kind: RouteKind::Unicast,
        table: Some(254),
        dev: Some(dev),
        ..RouteDecision::unknown(How::Lookup)
    };
    let now = KtimeNs(6_000_000_000 + round);
    let sample = HopSample {
        nat: None,
        key: HopKey {
            tuple: tuple(i),
            encap: None,
            netns: HOME,
            dev,
            dir,
            in_dev: (dir == Dir::Out).then_some(other),
            tunnel_key: None,
        },
        counters: Counters {
            packets: 3 * round,
            bytes: 300 * round,
            skbs: 3 * round,
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
    Event {
        at: now,
        body: Body::Hop(sample),
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
