//! The packet parser. It runs in the kernel and, in unit tests, on the host.
//!
//! Headers are read in windows of 64 bytes, so that a usual packet costs one copy and no bound
//! depends on the packet. Nothing here can panic and every loop is bounded.

mod ip;
mod tunnel;
mod window;

pub use ip::is_echo;
pub use tunnel::is_tunnel_port;
pub use window::{Load, WINDOW, Window};

use crate::{
    flow::Outer,
    key::{PROTO_ICMP, PROTO_ICMPV6, PROTO_UDP, Tuple},
};
use ip::ip;
use tunnel::tunnel;
use window::be16;

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
    /// One of the `FRAGMENT_*` values.
    pub fragment: u32,
    /// Identification of the header that `fragment` is about.
    pub fragment_id: u32,
}

/// `Packet::fragment`: a whole packet.
pub const FRAGMENT_NONE: u32 = 0;
/// `Packet::fragment`: the first fragment of the innermost packet.
pub const FRAGMENT_FIRST: u32 = 1;
/// `Packet::fragment`: a later fragment of the innermost packet that could be read.
pub const FRAGMENT_LATER: u32 = 2;
/// `Packet::fragment`: the first fragment of the outer packet; it has the inner headers.
pub const FRAGMENT_OUTER: u32 = 3;

/// Why a packet has no tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not IPv4 or IPv6, also inside a tunnel.
    NotIp,
    /// The headers are cut or make no sense.
    Unreadable,
}

/// `ETH_P_IP` of `linux/if_ether.h`.
pub const ETH_IPV4: u16 = 0x0800;
/// `ETH_P_IPV6` of `linux/if_ether.h`.
pub const ETH_IPV6: u16 = 0x86dd;
const ETH_VLAN: u16 = 0x8100;
const ETH_QINQ: u16 = 0x88a8;

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
    let (fragment, id) = (out.fragment, out.ip_id);
    ip(load, inner.off, w, out)?;
    if fragment == FRAGMENT_FIRST {
        out.fragment = FRAGMENT_OUTER;
        out.fragment_id = id;
    }
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
    if outer.fragment == FRAGMENT_LATER {
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
        PROTO_ICMPV6 if (1..=4).contains(&kind) => {
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
