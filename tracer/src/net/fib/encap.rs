//! Lightweight tunnels, in the words of `ip route`. Numbers are those of `linux/lwtunnel.h`.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::net::wire::{Attr, u32_at};

const MPLS: u16 = 1;
const IP: u16 = 2;
const IP6: u16 = 4;
/// Flags of an `ip` encapsulation (`TUNNEL_*`, big-endian).
const FLAGS: [(u16, &str); 3] = [(0x04, " key"), (0x01, " csum"), (0x08, " seq")];

/// What follows `encap` in `ip route`: `ip id 7 src 0.0.0.0 dst 10.0.0.2 ttl 64 tos 0`. Of kinds
/// that do not name a tunnel end only the name.
pub(super) fn text(kind: u16, encap: &Attr<'_>) -> String {
    match kind {
        IP => tunnel("ip", ["ttl", "tos"], Ipv4Addr::UNSPECIFIED.into(), encap),
        IP6 => tunnel(
            "ip6",
            ["hoplimit", "tc"],
            Ipv6Addr::UNSPECIFIED.into(),
            encap,
        ),
        MPLS => mpls(encap),
        3 => "ila".into(),
        5 => "seg6".into(),
        6 => "bpf".into(),
        7 => "seg6local".into(),
        8 => "rpl".into(),
        9 => "ioam6".into(),
        10 => "xfrm".into(),
        n => format!("type {n}"),
    }
}

fn tunnel(name: &str, [ttl_word, tos_word]: [&str; 2], any: IpAddr, encap: &Attr<'_>) -> String {
    let (mut id, mut dst, mut src, mut ttl, mut tos, mut flags) = (0, any, any, 0, 0, 0);
    for attr in encap.nested() {
        match attr.kind {
            1 => id = attr.be64().unwrap_or(0),
            2 => dst = attr.ip().unwrap_or(any),
            3 => src = attr.ip().unwrap_or(any),
            4 => ttl = attr.u8().unwrap_or(0),
            5 => tos = attr.u8().unwrap_or(0),
            6 => flags = attr.be16().unwrap_or(0),
            _ => {}
        }
    }
    let mut text = format!("{name} id {id} src {src} dst {dst} {ttl_word} {ttl} {tos_word} {tos}");
    for (bit, word) in FLAGS {
        if flags & bit != 0 {
            text.push_str(word);
        }
    }
    text
}

/// A label stack: 20 bits of label above 12 bits of class, bottom flag and TTL.
fn mpls(encap: &Attr<'_>) -> String {
    const MPLS_IPTUNNEL_DST: u16 = 1;
    let mut text = String::from("mpls");
    let stack = encap.nested().find(|a| a.kind == MPLS_IPTUNNEL_DST);
    let labels = stack.map_or(&[][..], |a| a.data).chunks_exact(4);
    for (i, label) in labels.enumerate() {
        let label = u32_at(label, 0).map_or(0, u32::from_be) >> 12;
        let separator = if i == 0 { " " } else { "/" };
        // writing to a string cannot fail
        _ = write!(text, "{separator}{label}");
    }
    text
}
