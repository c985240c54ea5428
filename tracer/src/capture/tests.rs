use std::{net::IpAddr, sync::Arc};

use super::*;
use crate::{
    event::{
        Body, Counters, Dir, DropPlace, Event, HopKey, HopSample, How, Ifindex, KtimeNs, NetnsId,
        PacketPlace, Proto, RawPacket, RouteDecision, RouteKind, Tuple,
    },
    inventory::Inventory,
    model::Loss,
};

const HOME: NetnsId = NetnsId(4_026_532_201);
const LXC: Ifindex = Ifindex(5);
const ETH0: Ifindex = Ifindex(2);

fn tuple() -> Tuple {
    let ip = |s: &str| -> IpAddr { s.parse().unwrap() };
    Tuple {
        proto: Proto::UDP,
        src: ip("10.244.1.10"),
        dst: ip("10.244.2.20"),
        sport: 40_000,
        dport: 7,
        later_fragment: false,
    }
}

/// Ethernet, IPv4, UDP, four bytes.
fn frame() -> Vec<u8> {
    let mut f = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    f.extend([0x45, 0, 0, 32, 0, 9, 0, 0, 64, 17, 0, 0]);
    f.extend([10, 244, 1, 10, 10, 244, 2, 20]);
    f.extend([0x9c, 0x40, 0, 7, 0, 12, 0, 0]);
    f.extend(b"abcd");
    f
}

fn packet(bytes: &[u8], at: u64, dev: Ifindex, dir: Dir) -> RawPacket<'_> {
    RawPacket {
        at: KtimeNs(at),
        skb: 0xffff_8881_0000_0000,
        tuple: Some(tuple()),
        encap: None,
        netns: Some(HOME),
        dev: Some(dev),
        in_dev: (dir == Dir::Out).then_some(LXC),
        place: PacketPlace::Device(dir),
        len: bytes.len() as u32,
        segs: 1,
        gso_size: 0,
        tcp_flags: 0,
        ip_id: 9,
        link: 14,
        vlan_tci: 0,
        ethertype: 0x0800,
        bytes,
    }
}

fn dropped(bytes: &[u8]) -> RawPacket<'_> {
    RawPacket {
        place: PacketPlace::Drop(DropPlace {
            reason: "IP_OUTNOROUTES".into(),
            symbol: "ip_forward".into(),
            netns: Some(HOME),
            dev: Some(LXC),
            in_dev: Some(LXC),
        }),
        link: 0,
        ..packet(bytes, 30, LXC, Dir::In)
    }
}

fn hop() -> Event {
    let key = HopKey {
        tuple: tuple(),
        encap: None,
        netns: HOME,
        dev: ETH0,
        dir: Dir::Out,
        in_dev: Some(LXC),
        tunnel_key: None,
    };
    let route = RouteDecision {
        kind: RouteKind::Unicast,
        table: Some(254),
        gateway: Some("10.0.0.2".parse().unwrap()),
        dev: Some(ETH0),
        ..RouteDecision::unknown(How::Lookup)
    };
    let body = Body::Hop(HopSample {
        nat: None,
        key,
        counters: Counters::default(),
        route: Some(route),
        encap: None,
        mark: 0,
        max_len: 0,
        tcp_flags: 0,
        vlan: 0,
        route_changes: 0,
        outer_changes: 0,
        change: crate::event::Change::default(),
    });
    Event {
        at: KtimeNs(20),
        body,
    }
}

fn tick(at: u64) -> Tick {
    Tick {
        at: KtimeNs(at),
        loss: Loss {
            events: 3,
            ..Loss::default()
        },
        packets_lost: 2,
    }
}

/// A small capture with everything in it.
fn capture() -> Vec<u8> {
    let header = Header {
        wall_offset_ns: 1_700_000_000_000_000_000,
        snaplen: 128,
        ..Header::default()
    };
    let inventory = Arc::new(Inventory {
        node: "n1".into(),
        home: HOME,
        ..Inventory::default()
    });
    let mut w = Writer::new(Vec::new(), header, inventory, false).unwrap();
    let bytes = frame();
    w.packet(&packet(&bytes, 10, LXC, Dir::In)).unwrap();
    w.event(&hop()).unwrap();
    w.packet(&packet(&bytes, 20, ETH0, Dir::Out)).unwrap();
    w.packet(&dropped(&bytes[14..])).unwrap();
    w.total(&hop()).unwrap();
    w.tick(tick(2_000_000_000)).unwrap();
    w.finish(tick(3_000_000_000)).unwrap()
}

/// Where, when, number, comment, bytes.
type Owned = (Interface, u64, u64, Option<String>, Vec<u8>);

#[derive(Debug, Default, PartialEq)]
struct Contents {
    lines: Vec<Line>,
    packets: Vec<Owned>,
    ending: Ending,
    unreadable: u64,
}

fn read(bytes: &[u8]) -> Result<Contents, ReadError> {
    let mut reader = Reader::new(bytes)?;
    let mut c = Contents::default();
    while let Some(block) = reader.next_block()? {
        match block {
            Block::Lines(lines) => c.lines.extend(lines),
            Block::Packet(p) => c.packets.push((
                p.interface,
                p.wall_ns,
                p.id,
                p.comment.map(str::to_owned),
                p.bytes.to_vec(),
            )),
        }
    }
    c.ending = reader.ending().clone();
    c.unreadable = reader.unreadable();
    Ok(c)
}

#[test]
fn what_is_written_is_read() {
    let c = read(&capture()).unwrap();
    assert_eq!((&c.ending, c.unreadable), (&Ending::Whole, 0));
    let kinds: Vec<&str> = c
        .lines
        .iter()
        .map(|l| match l {
            Line::Header(h) => {
                assert_eq!(h.schema, SCHEMA);
                "header"
            }
            Line::Inventory(i) => {
                assert_eq!(i.node, "n1");
                "inventory"
            }
            Line::Event(e) => {
                assert_eq!(**e, hop());
                "event"
            }
            Line::Tick(_) => "tick",
            Line::End(e) => {
                assert_eq!((e.packets, e.tick), (3, tick(3_000_000_000)));
                "end"
            }
            _ => "?",
        })
        .collect();
    assert_eq!(
        kinds,
        ["header", "inventory", "event", "event", "tick", "end"]
    );
    let [
        (a, at, id_a, none, bytes),
        (b, _, id_b, route, _),
        (d, _, id_d, why, end),
    ] = c.packets.as_slice()
    else {
        panic!("{:?}", c.packets)
    };
    assert_eq!(
        (a.dev, a.what, *at),
        (LXC, What::In, 1_700_000_000_000_000_010)
    );
    assert_eq!((none, bytes), (&None, &frame()));
    assert_eq!((b.dev, b.what), (ETH0, What::Out));
    assert_eq!(
        route.as_deref(),
        Some("route: table main via 10.0.0.2 dev if2 (lookup)")
    );
    assert_eq!((d.dev, d.what), (LXC, What::Drop));
    assert_eq!(
        why.as_deref(),
        Some("dropped: IP_OUTNOROUTES at ip_forward")
    );
    // one packet; its end has a link header of zeros
    assert_eq!((id_a, id_b), (id_b, id_d));
    assert_eq!(end[..12], [0; 12]);
    assert_eq!(end[12..], frame()[12..]);
}

#[test]
fn a_tag_is_put_back_behind_the_addresses() {
    let inventory = Arc::<Inventory>::default();
    let mut w = Writer::new(Vec::new(), Header::default(), inventory, false).unwrap();
    let bytes = frame();
    let tagged = RawPacket {
        vlan_tci: 42,
        ..packet(&bytes, 10, LXC, Dir::In)
    };
    w.packet(&tagged).unwrap();
    let c = read(&w.finish(tick(1)).unwrap()).unwrap();
    let bytes = &c.packets[0].4;
    assert_eq!(bytes[12..18], [0x81, 0, 0, 42, 8, 0]);
    assert_eq!(bytes.len(), frame().len() + 4);
    assert_eq!(crate::decode::frame(bytes).unwrap().tuple, tuple());
}

#[test]
fn a_buffer_that_is_used_again_is_another_packet() {
    let inventory = Arc::<Inventory>::default();
    let mut w = Writer::new(Vec::new(), Header::default(), inventory, false).unwrap();
    let bytes = frame();
    for at in [10, 20] {
        w.packet(&packet(&bytes, at, LXC, Dir::In)).unwrap();
        w.packet(&packet(&bytes, at + 1, ETH0, Dir::Out)).unwrap();
    }
    // a copy goes on in another buffer
    w.packet(&packet(&bytes, 30, LXC, Dir::In)).unwrap();
    let copy = RawPacket {
        skb: 1,
        ..packet(&bytes, 31, ETH0, Dir::Out)
    };
    w.packet(&copy).unwrap();
    let c = read(&w.finish(tick(40)).unwrap()).unwrap();
    let ids: Vec<u64> = c.packets.iter().map(|p| p.2).collect();
    assert_eq!(ids, [1, 1, 2, 2, 3, 3]);
}

#[test]
fn a_cut_is_told_wherever_it_is() {
    let whole = capture();
    let end = whole.len();
    for at in 0..end {
        match read(&whole[..at]) {
            Ok(c) => {
                let ended = c.lines.iter().any(|l| matches!(l, Line::End(_)));
                assert_eq!(ended, c.ending == Ending::Whole, "cut at {at}");
                if let Ending::Cut(said) = c.ending {
                    assert_eq!(said, at as u64);
                }
            }
            Err(ReadError::NotPcapng | ReadError::NoHeader) => {}
            Err(e) => panic!("cut at {at}: {e}"),
        }
    }
}

#[test]
fn what_is_no_capture_is_told_apart() {
    assert!(matches!(read(b""), Err(ReadError::NotPcapng)));
    assert!(matches!(read(b"hello, world"), Err(ReadError::NotPcapng)));
    let mut newer = capture();
    let at = newer
        .windows(16)
        .position(|w| w == b"tracer.capture/1")
        .unwrap();
    newer[at + 15] = b'2';
    assert!(matches!(read(&newer), Err(ReadError::Newer(2))));
    // a plain pcapng file: its second block is an interface
    let plain = &capture()[..60];
    assert!(matches!(read(plain), Err(ReadError::NoHeader)));
}

#[test]
fn a_line_that_makes_no_sense_is_left_out() {
    let mut bytes = capture();
    let at = bytes.windows(7).position(|w| w == b"\"event\"").unwrap();
    bytes[at + 1] = b'X';
    let c = read(&bytes).unwrap();
    assert_eq!((c.ending, c.unreadable), (Ending::Whole, 1));
    assert_eq!(c.packets.len(), 3);
}

mod any_bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn give_a_message(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _said = read(&bytes);
        }

        #[test]
        fn in_a_capture_give_a_message(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16)) {
            let mut bytes = capture();
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            if let Ok(c) = read(&bytes) {
                prop_assert!(c.packets.len() <= 3);
            }
        }
    }
}

/// A rotation writes all totals again: they must not be collected in memory first.
#[test]
fn many_totals_take_no_memory_of_their_own() {
    /// Counts the bytes, and the most that came at once.
    #[derive(Debug, Default)]
    struct Sink(usize, usize);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            self.1 = self.1.max(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let inventory = Arc::new(Inventory::default());
    let mut writer = Writer::new(Sink::default(), Header::default(), inventory, true).unwrap();
    for port in 0..5_000 {
        let mut event = hop();
        if let Body::Hop(hop) = &mut event.body {
            hop.key.tuple.sport = port;
        }
        writer.total(&event).unwrap();
    }
    let first = writer.next_file(Sink::default()).unwrap();
    let second = writer.finish(tick(1)).unwrap();
    for Sink(bytes, most) in [first, second] {
        assert!(bytes > 2 << 20, "{bytes} bytes for 5,000 totals");
        assert!(most < 512 << 10, "{most} bytes at once");
    }
}
