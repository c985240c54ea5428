//! Encapsulation: VXLAN, Geneve, IP in IP, GRE.

use super::{
    ETH_IPV4, ETH_IPV6, ETH_VLAN, Packet, ParseError,
    window::{Load, Window, be16, be32, byte},
};
use crate::key::{ENCAP_GENEVE, ENCAP_GRE, ENCAP_IP6, ENCAP_IPIP, ENCAP_VXLAN, PROTO_UDP};

/// Transparent Ethernet bridging: an Ethernet frame in GRE or Geneve (RFC 1701).
const ETH_TEB: u16 = 0x6558;
/// VXLAN as Linux and Cilium use it by default, and as IANA assigned it.
const PORT_VXLAN_LINUX: u16 = 8472;
const PORT_VXLAN: u16 = 4789;
const PORT_GENEVE: u16 = 6081;
const ETH_HLEN: u32 = 14;

/// An encapsulated IP packet: where it starts and what is around it.
pub(super) struct Inner {
    pub(super) off: u32,
    pub(super) kind: u8,
    pub(super) vni: u32,
}

/// Packets to this UDP port may have another one in them.
#[inline(always)]
pub fn is_tunnel_port(port: u16) -> bool {
    port == PORT_VXLAN_LINUX || port == PORT_VXLAN || port == PORT_GENEVE
}

/// Looks for an encapsulated packet behind the header just parsed.
#[inline(always)]
pub(super) fn tunnel<L: Load>(
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
            if !is_tunnel_port(port) {
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
