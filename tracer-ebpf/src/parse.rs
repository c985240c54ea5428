//! The packet parser. It runs in the kernel and, in unit tests, on the host.
//!
//! Headers are read in windows of 64 bytes, so that a usual packet costs one copy and no bound
//! depends on the packet. Nothing here can panic and every loop is bounded.

use crate::{
    flow::Outer,
    key::{
        ENCAP_GENEVE, ENCAP_GRE, ENCAP_IP6, ENCAP_IPIP, ENCAP_VXLAN, FAMILY_IPV4, FAMILY_IPV6,
        PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP, Tuple,
    },
};

/// Bytes that one [`Load::load`] copies at most.
pub const WINDOW: u32 = 64;

/// A piece of the packet. The bytes behind the valid ones are zeros or stale, never out of bounds.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Window {
    /// [`WINDOW`] bytes and room for a read that starts in the last of them.
    pub bytes: [u8; WINDOW as usize + 16],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            bytes: [0; WINDOW as usize + 16],
        }
    }
}

/// Where packet bytes come from.
pub trait Load {
    /// Copies up to [`WINDOW`] bytes that start `off` bytes behind the network header and returns
    /// how many are valid; 0 when nothing could be read.
    fn load(&self, off: u32, window: &mut Window) -> u32;
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Packet {
    /// Innermost addresses.
    pub tuple: Tuple,
    /// Outer header, family 0 when there is none.
    pub outer: Outer,
    /// TCP flags of the innermost header.
    pub tcp_flags: u32,
    /// IPv4 identification, or that of the IPv6 fragment header.
    pub ip_id: u32,
    /// Length of the innermost IP packet as its header says, bytes.
    pub ip_len: u32,
    /// Where the transport header starts, behind the network header of the whole packet.
    pub l4: u32,
    /// Word behind type, code and checksum of an ICMP message, host byte order.
    pub icmp_word: u32,
    /// 1 when the don't-fragment bit of the innermost IPv4 header is set.
    pub df: u32,
}

/// Why a packet has no tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not IPv4 or IPv6, also inside a tunnel.
    NotIp,
    /// The headers are cut or make no sense.
    Unreadable,
}

const ETH_IPV4: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;
const ETH_VLAN: u16 = 0x8100;
const ETH_QINQ: u16 = 0x88a8;
/// Transparent Ethernet bridging: an Ethernet frame in GRE or Geneve (RFC 1701).
const ETH_TEB: u16 = 0x6558;
/// VXLAN as Linux and Cilium use it by default, and as IANA assigned it.
const PORT_VXLAN_LINUX: u16 = 8472;
const PORT_VXLAN: u16 = 4789;
const PORT_GENEVE: u16 = 6081;
/// IPv6 extension headers that are followed before giving up.
const MAX_EXTENSIONS: u32 = 6;
const ETH_HLEN: u32 = 14;

#[inline(always)]
fn byte(w: &Window, at: u32) -> u8 {
    // SAFETY: the index is masked to 0..=63 and the window is 80 bytes long.
    unsafe { *w.bytes.as_ptr().add((at & 63) as usize) }
}

#[inline(always)]
fn be16(w: &Window, at: u32) -> u16 {
    // SAFETY: at most byte 64 of 80 is read.
    u16::from_be(unsafe {
        w.bytes
            .as_ptr()
            .add((at & 63) as usize)
            .cast::<u16>()
            .read_unaligned()
    })
}

#[inline(always)]
fn be32(w: &Window, at: u32) -> u32 {
    // SAFETY: at most byte 66 of 80 is read.
    u32::from_be(unsafe {
        w.bytes
            .as_ptr()
            .add((at & 63) as usize)
            .cast::<u32>()
            .read_unaligned()
    })
}

#[inline(always)]
fn address4(w: &Window, at: u32) -> [u8; 16] {
    let mut a = [0u8; 16];
    // SAFETY: at most byte 66 of 80 is read and four bytes of `a` are written.
    unsafe {
        a.as_mut_ptr().cast::<u32>().write_unaligned(
            w.bytes
                .as_ptr()
                .add((at & 63) as usize)
                .cast::<u32>()
                .read_unaligned(),
        );
    }
    a
}

#[inline(always)]
fn address6(w: &Window, at: u32) -> [u8; 16] {
    // SAFETY: at most byte 78 of 80 is read.
    unsafe {
        w.bytes
            .as_ptr()
            .add((at & 63) as usize)
            .cast::<[u8; 16]>()
            .read_unaligned()
    }
}

/// Parses the packet behind `load`, whose network header is of type `ethertype` (host byte
/// order), into `out`.
#[inline(always)]
pub fn parse<L: Load>(
    load: &L,
    ethertype: u16,
    w: &mut Window,
    out: &mut Packet,
) -> Result<(), ParseError> {
    let (mut ethertype, mut off) = (ethertype, 0u32);
    // at most two tags (802.1ad); further ones are "not IP"
    for _ in 0..2 {
        if ethertype == ETH_VLAN || ethertype == ETH_QINQ {
            if load.load(off, w) < 4 {
                return Err(ParseError::Unreadable);
            }
            ethertype = be16(w, 2);
            off += 4;
        }
    }
    if ethertype != ETH_IPV4 && ethertype != ETH_IPV6 {
        return Err(ParseError::NotIp);
    }
    ip(load, off, w, out)?;
    let Some(inner) = tunnel(load, w, out)? else {
        return Ok(());
    };
    out.outer = Outer {
        saddr: out.tuple.saddr,
        daddr: out.tuple.daddr,
        sport: if out.tuple.proto == PROTO_UDP {
            out.tuple.sport
        } else {
            0
        },
        dport: if out.tuple.proto == PROTO_UDP {
            out.tuple.dport
        } else {
            0
        },
        family: out.tuple.family,
        df: out.df as u8,
        reserved: [0; 2],
    };
    ip(load, inner.off, w, out)?;
    out.tuple.encap = inner.kind;
    out.tuple.vni = inner.vni;
    Ok(())
}

/// Parses the packet that an ICMP error complains about; `None` when `outer` is no ICMP error.
///
/// Returns the ICMP type, code and the MTU that it announces (0 for none). The embedded packet may
/// be cut behind its ports (RFC 792), which is enough.
#[inline(always)]
pub fn icmp_about<L: Load>(
    load: &L,
    outer: &Packet,
    w: &mut Window,
    about: &mut Packet,
) -> Option<(u8, u8, u32)> {
    let (kind, code) = ((outer.tuple.dport >> 8) as u8, outer.tuple.dport as u8);
    if outer.tuple.later_fragment != 0 {
        return None;
    }
    let mtu = match outer.tuple.proto {
        // 3 unreachable, 11 time exceeded, 12 parameter problem (RFC 792); MTU: RFC 1191
        PROTO_ICMP if kind == 3 || kind == 11 || kind == 12 => {
            if kind == 3 && code == 4 {
                outer.icmp_word & 0xffff
            } else {
                0
            }
        }
        // 1 unreachable, 2 too big, 3 time exceeded, 4 parameter problem (RFC 4443)
        PROTO_ICMPV6 if kind >= 1 && kind <= 4 => {
            if kind == 2 {
                outer.icmp_word
            } else {
                0
            }
        }
        _ => return None,
    };
    ip(load, outer.l4 + 8, w, about).ok()?;
    Some((kind, code, mtu))
}

/// Reads an IP header at `off` and the transport header behind it.
#[inline(always)]
fn ip<L: Load>(load: &L, off: u32, w: &mut Window, out: &mut Packet) -> Result<(), ParseError> {
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
    if version == 4 {
        let ihl = u32::from(byte(w, 0) & 15) * 4;
        if ihl < 20 {
            return Err(ParseError::Unreadable);
        }
        let frag = be16(w, 6);
        t.family = FAMILY_IPV4;
        t.proto = byte(w, 9);
        t.saddr = address4(w, 12);
        t.daddr = address4(w, 16);
        t.later_fragment = u8::from(frag & 0x1fff != 0);
        out.df = u32::from(frag & 0x4000 != 0);
        out.ip_id = u32::from(be16(w, 4));
        out.ip_len = u32::from(be16(w, 2));
        out.l4 = off + ihl;
        if t.later_fragment != 0 {
            return Ok(());
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
    t.saddr = address6(w, 8);
    t.daddr = address6(w, 24);
    out.df = 1;
    out.ip_id = 0;
    out.ip_len = u32::from(be16(w, 4)) + 40;
    out.l4 = off + 40;
    if !is_extension(t.proto) {
        return transport(w, 40, n, out);
    }
    extensions(load, w, out)
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
                if be16(w, 2) & 0xfff8 != 0 {
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

/// An encapsulated IP packet: where it starts and what is around it.
struct Inner {
    off: u32,
    kind: u8,
    vni: u32,
}

/// Looks for an encapsulated packet behind the header just parsed.
#[inline(always)]
fn tunnel<L: Load>(
    load: &L,
    w: &mut Window,
    out: &mut Packet,
) -> Result<Option<Inner>, ParseError> {
    if out.tuple.later_fragment != 0 {
        return Ok(None);
    }
    match out.tuple.proto {
        4 => Ok(Some(Inner {
            off: out.l4,
            kind: ENCAP_IPIP,
            vni: 0,
        })),
        41 => Ok(Some(Inner {
            off: out.l4,
            kind: ENCAP_IP6,
            vni: 0,
        })),
        47 => gre(load, w, out.l4),
        PROTO_UDP => {
            let port = out.tuple.dport;
            if port != PORT_VXLAN_LINUX && port != PORT_VXLAN && port != PORT_GENEVE {
                return Ok(None);
            }
            let base = out.l4 + 8;
            if load.load(base, w) < 8 {
                return Ok(None);
            }
            let vni = be32(w, 4) >> 8;
            if port != PORT_GENEVE {
                // the I flag (RFC 7348 §5): without it this is no VXLAN
                if byte(w, 0) & 0x08 == 0 {
                    return Ok(None);
                }
                return ethernet(load, w, base + 8, ENCAP_VXLAN, vni);
            }
            if byte(w, 0) >> 6 != 0 {
                return Ok(None);
            }
            let options = u32::from(byte(w, 0) & 0x3f) * 4;
            let off = base + 8 + options;
            match be16(w, 2) {
                ETH_TEB => ethernet(load, w, off, ENCAP_GENEVE, vni),
                ETH_IPV4 | ETH_IPV6 => Ok(Some(Inner {
                    off,
                    kind: ENCAP_GENEVE,
                    vni,
                })),
                _ => Err(ParseError::NotIp),
            }
        }
        _ => Ok(None),
    }
}

/// GRE (RFC 2784) with the optional checksum, key and sequence number (RFC 2890).
#[inline(always)]
fn gre<L: Load>(load: &L, w: &mut Window, l4: u32) -> Result<Option<Inner>, ParseError> {
    if load.load(l4, w) < 4 {
        return Ok(None);
    }
    let (flags, proto) = (be16(w, 0), be16(w, 2));
    // version 0 only: version 1 is PPTP
    if flags & 0x7 != 0 {
        return Ok(None);
    }
    let mut len = 4;
    if flags & 0x8000 != 0 {
        len += 4;
    }
    let mut vni = 0;
    if flags & 0x2000 != 0 {
        vni = if len == 8 { be32(w, 8) } else { be32(w, 4) };
        len += 4;
    }
    if flags & 0x1000 != 0 {
        len += 4;
    }
    match proto {
        ETH_IPV4 | ETH_IPV6 => Ok(Some(Inner {
            off: l4 + len,
            kind: ENCAP_GRE,
            vni,
        })),
        ETH_TEB => ethernet(load, w, l4 + len, ENCAP_GRE, vni),
        _ => Err(ParseError::NotIp),
    }
}

/// The IP packet in an inner Ethernet frame at `off`, behind at most one VLAN tag.
#[inline(always)]
fn ethernet<L: Load>(
    load: &L,
    w: &mut Window,
    off: u32,
    kind: u8,
    vni: u32,
) -> Result<Option<Inner>, ParseError> {
    if load.load(off, w) < ETH_HLEN + 4 {
        return Err(ParseError::Unreadable);
    }
    let (mut ethertype, mut len) = (be16(w, 12), ETH_HLEN);
    if ethertype == ETH_VLAN {
        ethertype = be16(w, 16);
        len += 4;
    }
    if ethertype != ETH_IPV4 && ethertype != ETH_IPV6 {
        return Err(ParseError::NotIp);
    }
    Ok(Some(Inner {
        off: off + len,
        kind,
        vni,
    }))
}
