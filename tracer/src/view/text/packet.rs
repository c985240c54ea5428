//! One packet as one line, as `tcpdump -i any` prints it.

use super::{Text, Tone};
use crate::{
    event::{Dir, KtimeNs, PacketSample, Proto},
    view::{flow_name, icmp},
};

/// `12:00:00.000001 eth0  Out IP6 fd00::1.40000 > fd00::2.53: udp, length 42`, with a line feed.
/// The length is that of the packet with its link header.
pub fn packet(t: &Text<'_>, at: KtimeNs, p: &PacketSample) -> String {
    let dir = match p.key.dir {
        Dir::In => "In ",
        Dir::Out => "Out",
    };
    line(t, at, p, dir, "")
}

/// The same for a packet that ended: `eth0 End IP …, length 42, dropped: NO_SOCKET at udp_rcv`.
pub fn packet_end(
    t: &Text<'_>,
    at: KtimeNs,
    p: &PacketSample,
    (reason, symbol): (&str, &str),
) -> String {
    let why = format!("dropped: {reason} at {symbol}");
    let why = t.style.paint(Tone::Bad, &t.style.sentence(&why));
    line(t, at, p, "End", &format!(", {why}"))
}

fn line(t: &Text<'_>, at: KtimeNs, p: &PacketSample, dir: &str, tail: &str) -> String {
    let (key, tuple) = (&p.key, &p.key.tuple);
    let time = t.style.paint(Tone::Dim, &t.cx.clock.time_of_day(at));
    let family = if tuple.is_ipv6() { "IP6" } else { "IP" };
    let ports = tuple.proto.has_ports() && !tuple.later_fragment;
    let end = |address: std::net::IpAddr, port| {
        if ports {
            format!("{address}.{port}")
        } else {
            address.to_string()
        }
    };
    let (src, dst) = (end(tuple.src, tuple.sport), end(tuple.dst, tuple.dport));
    let what = match tuple.proto {
        _ if tuple.later_fragment => format!("{} fragment, id {}", tuple.proto, p.ip_id),
        Proto::TCP => format!("Flags [{}]", flags(p.tcp_flags)),
        proto if proto.is_icmp() => {
            format!("{proto} {}", message(&flow_name(tuple), icmp::name(tuple)))
        }
        proto => proto.to_string(),
    };
    let gso = if p.segs > 1 {
        format!(", {} segments", p.segs)
    } else {
        String::new()
    };
    let encap = match key.encap {
        Some(e) => match e.vni {
            Some(vni) => format!("{} {vni} ", e.kind),
            None => format!("{} ", e.kind),
        },
        None => String::new(),
    };
    let dev = t.device(key.netns, key.dev);
    let who = t.named(t.cx.who_sent(p));
    format!(
        "{time} {dev:<8} {dir} {encap}{family} {src} > {dst}: {what}, length {}{gso}{who}{tail}\n",
        p.len
    )
}

/// An echo is told apart by its identifier.
fn message(name: &str, words: std::borrow::Cow<'_, str>) -> String {
    match name.split_once(" id ") {
        Some((_, id)) => format!("{words}, id {id}"),
        None => words.into_owned(),
    }
}

/// As tcpdump writes them; `none` when there is none.
fn flags(bits: u8) -> String {
    // the order of tcpdump's own output
    let letters = [
        (1, 'F'),
        (2, 'S'),
        (4, 'R'),
        (8, 'P'),
        (16, '.'),
        (32, 'U'),
        (64, 'E'),
        (128, 'W'),
    ];
    let text: String = letters
        .iter()
        .filter(|(b, _)| bits & b != 0)
        .map(|(_, c)| *c)
        .collect();
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}
