//! IP and transport headers.

use super::{
    FRAGMENT_FIRST, FRAGMENT_LATER, FRAGMENT_NONE, Packet, ParseError,
    window::{Load, Window, address4, address6, be16, be32, byte},
};
use crate::key::{
    FAMILY_IPV4, FAMILY_IPV6, PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP, Tuple,
    put_words,
};

/// IPv6 extension headers that are followed before giving up.
const MAX_EXTENSIONS: u32 = 6;

/// Reads an IP header at `off` and the transport header behind it.
#[inline(always)]
pub(super) fn ip<L: Load>(
    load: &L,
    off: u32,
    w: &mut Window,
    out: &mut Packet,
) -> Result<(), ParseError> {
    let n = load.load(off, w);
    if n < 20 {
        return Err(ParseError::Unreadable);
    }
    let version = byte(w, 0) >> 4;
    let t = &mut out.tuple;
    t.encap = 0;
    t.vni = 0;
    t.sport = 0;
    t.dport = 0;
    t.later_fragment = 0;
    out.tcp_flags = 0;
    out.fragment = FRAGMENT_NONE;
    if version == 4 {
        let ihl = u32::from(byte(w, 0) & 15) * 4;
        if ihl < 20 {
            return Err(ParseError::Unreadable);
        }
        let frag = be16(w, 6);
        t.family = FAMILY_IPV4;
        t.proto = byte(w, 9);
        put(t, address4(w, 12), address4(w, 16));
        t.later_fragment = u8::from(frag & 0x1fff != 0);
        out.df = u32::from(frag & 0x4000 != 0);
        out.ip_id = u32::from(be16(w, 4));
        out.ip_len = u32::from(be16(w, 2));
        out.l4 = off + ihl;
        // more fragments, or an offset (RFC 791 §3.1)
        if frag & 0x3fff != 0 {
            out.fragment_id = out.ip_id;
            if t.later_fragment != 0 {
                out.fragment = FRAGMENT_LATER;
                return Ok(());
            }
            out.fragment = FRAGMENT_FIRST;
        }
        if ihl == 20 {
            return transport(w, 20, n, out);
        }
        let n = load.load(off + ihl, w);
        return transport(w, 0, n, out);
    }
    if version != 6 || n < 40 {
        return Err(ParseError::Unreadable);
    }
    t.family = FAMILY_IPV6;
    t.proto = byte(w, 6);
    put(t, address6(w, 8), address6(w, 24));
    out.df = 1;
    out.ip_id = 0;
    out.ip_len = u32::from(be16(w, 4)) + 40;
    out.l4 = off + 40;
    if !is_extension(t.proto) {
        return transport(w, 40, n, out);
    }
    extensions(load, w, out)
}

#[inline(always)]
fn put(t: &mut Tuple, source: [u32; 4], destination: [u32; 4]) {
    // SAFETY: the addresses of a tuple lie on multiples of four.
    unsafe {
        put_words(&mut t.saddr, source);
        put_words(&mut t.daddr, destination);
    }
}

/// Hop-by-hop, routing, fragment, authentication, destination options (RFC 8200 §4).
#[inline(always)]
fn is_extension(proto: u8) -> bool {
    matches!(proto, 0 | 43 | 44 | 51 | 60)
}

/// Walks the IPv6 extension headers from `out.l4` on.
#[inline(always)]
fn extensions<L: Load>(load: &L, w: &mut Window, out: &mut Packet) -> Result<(), ParseError> {
    let mut n = 0;
    for _ in 0..=MAX_EXTENSIONS {
        n = load.load(out.l4, w);
        let proto = out.tuple.proto;
        if !is_extension(proto) {
            return transport(w, 0, n, out);
        }
        if n < 8 {
            return Err(ParseError::Unreadable);
        }
        out.tuple.proto = byte(w, 0);
        let units = u32::from(byte(w, 1));
        out.l4 += match proto {
            44 => {
                out.ip_id = be32(w, 4);
                out.fragment_id = out.ip_id;
                let frag = be16(w, 2);
                // more fragments (RFC 8200 §4.5); neither is an atomic fragment (RFC 6946)
                if frag & 1 != 0 {
                    out.fragment = FRAGMENT_FIRST;
                }
                if frag & 0xfff8 != 0 {
                    out.fragment = FRAGMENT_LATER;
                    out.tuple.later_fragment = 1;
                    out.l4 += 8;
                    return Ok(());
                }
                8
            }
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
    }
    let _ = n;
    Err(ParseError::Unreadable)
}

/// Reads ports, or ICMP type and identifier, at byte `base` of the window, which holds `n` bytes.
#[inline(always)]
fn transport(w: &Window, base: u32, n: u32, out: &mut Packet) -> Result<(), ParseError> {
    let t = &mut out.tuple;
    match t.proto {
        PROTO_TCP | PROTO_UDP | PROTO_SCTP => {
            if n < base + 4 {
                return Err(ParseError::Unreadable);
            }
            t.sport = be16(w, base);
            t.dport = be16(w, base + 2);
            if t.proto == PROTO_TCP && n >= base + 14 {
                out.tcp_flags = u32::from(byte(w, base + 13));
            }
        }
        PROTO_ICMP | PROTO_ICMPV6 => {
            if n < base + 8 {
                return Err(ParseError::Unreadable);
            }
            t.dport = be16(w, base);
            out.icmp_word = be32(w, base + 4);
            if is_echo(t.proto, byte(w, base)) {
                t.sport = (out.icmp_word >> 16) as u16;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Echo request and reply, whose identifier tells flows apart (RFC 792, RFC 4443).
#[inline(always)]
pub fn is_echo(proto: u8, icmp_type: u8) -> bool {
    (proto == PROTO_ICMP && (icmp_type == 8 || icmp_type == 0))
        || (proto == PROTO_ICMPV6 && (icmp_type == 128 || icmp_type == 129))
}
