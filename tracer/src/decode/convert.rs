//! Keys and headers as the kernel side writes them, in the terms of the field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tracer_abi::{
    flow::Outer,
    key::{
        self, DIR_IN, DIR_OUT, ENCAP_GENEVE, ENCAP_GRE, ENCAP_IP6, ENCAP_IPIP, ENCAP_KEY,
        ENCAP_NONE, ENCAP_VXLAN, FAMILY_IPV4, FAMILY_IPV6, FlowKey,
    },
    nat::{self, NAT_ORIGINAL, NAT_RELATED, NAT_REPLY},
};

use super::DecodeError;
use crate::event::{Dir, Encap, EncapKey, EncapKind, HopKey, Ifindex, Nat, NetnsId, Proto, Tuple};

/// An address: IPv4 is in the first four bytes.
pub(super) fn address(family: u8, bytes: &[u8; 16]) -> Result<IpAddr, DecodeError> {
    match family {
        FAMILY_IPV4 => {
            let [a, b, c, d, ..] = *bytes;
            Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        FAMILY_IPV6 => Ok(IpAddr::V6(Ipv6Addr::from(*bytes))),
        other => Err(DecodeError::Family(other)),
    }
}

pub(super) fn tuple(raw: &key::Tuple) -> Result<Tuple, DecodeError> {
    Ok(Tuple {
        proto: Proto(raw.proto),
        src: address(raw.family, &raw.saddr)?,
        dst: address(raw.family, &raw.daddr)?,
        sport: raw.sport,
        dport: raw.dport,
        later_fragment: raw.later_fragment != 0,
    })
}

/// The same for hooks where packets that are not IP are counted too (family 0).
pub(super) fn tuple_if_read(raw: &key::Tuple) -> Result<Option<Tuple>, DecodeError> {
    if raw.family == 0 {
        Ok(None)
    } else {
        tuple(raw).map(Some)
    }
}

pub(super) fn dir(raw: u8) -> Result<Dir, DecodeError> {
    match raw {
        DIR_IN => Ok(Dir::In),
        DIR_OUT => Ok(Dir::Out),
        other => Err(DecodeError::Dir(other)),
    }
}

pub(super) fn hop_key(raw: &FlowKey) -> Result<HopKey, DecodeError> {
    let dir = dir(raw.dir)?;
    Ok(HopKey {
        tuple: tuple(&raw.tuple)?,
        encap: encap_key(&raw.tuple)?,
        netns: NetnsId(raw.netns),
        dev: Ifindex(raw.ifindex),
        dir,
        in_dev: (dir == Dir::Out && raw.iif != 0).then_some(Ifindex(raw.iif)),
        tunnel_key: (raw.tuple.encap == ENCAP_KEY).then_some(raw.tuple.vni),
    })
}

pub(super) fn encap_key(raw: &key::Tuple) -> Result<Option<EncapKey>, DecodeError> {
    let kind = match raw.encap {
        ENCAP_NONE | ENCAP_KEY => return Ok(None),
        ENCAP_VXLAN => EncapKind::Vxlan,
        ENCAP_GENEVE => EncapKind::Geneve,
        ENCAP_IPIP => EncapKind::Ipip,
        ENCAP_IP6 => EncapKind::Ip6,
        ENCAP_GRE => EncapKind::Gre,
        other => return Err(DecodeError::Encap(other)),
    };
    let vni = match kind {
        EncapKind::Vxlan | EncapKind::Geneve => Some(raw.vni),
        // without a key and with key 0 look the same
        EncapKind::Gre => (raw.vni != 0).then_some(raw.vni),
        EncapKind::Ipip | EncapKind::Ip6 => None,
    };
    Ok(Some(EncapKey { kind, vni }))
}

/// Outer header around a packet; `None` without encapsulation or when no outer header was seen.
pub(super) fn encap(raw: &key::Tuple, outer: &Outer) -> Result<Option<Encap>, DecodeError> {
    let Some(key) = encap_key(raw)? else {
        return Ok(None);
    };
    if outer.family == 0 {
        return Ok(None);
    }
    Ok(Some(Encap {
        key,
        src: address(outer.family, &outer.saddr)?,
        dst: address(outer.family, &outer.daddr)?,
        sport: outer.sport,
        dport: outer.dport,
        df: outer.df != 0,
    }))
}

/// The tuple on the other side of the translation.
fn beyond(wire: &Tuple, raw: &nat::Nat) -> Result<Tuple, DecodeError> {
    let family = if wire.is_ipv6() {
        FAMILY_IPV6
    } else {
        FAMILY_IPV4
    };
    Ok(Tuple {
        src: address(family, &raw.saddr)?,
        dst: address(family, &raw.daddr)?,
        sport: if wire.later_fragment { 0 } else { raw.sport },
        dport: if wire.later_fragment { 0 } else { raw.dport },
        ..*wire
    })
}

/// The connection of packets that leave as `wire` and came in as `raw` says; `None` when nothing
/// is translated.
pub(super) fn nat(wire: &Tuple, raw: &nat::Nat) -> Result<Option<Nat>, DecodeError> {
    let reply = match raw.flags {
        0 => return Ok(None),
        // an ICMP error has no answer: each is its own opening direction
        NAT_ORIGINAL | NAT_RELATED => false,
        NAT_REPLY => true,
        other => return Err(DecodeError::Nat(other)),
    };
    let came = beyond(wire, raw)?;
    let nat = if reply {
        Nat {
            original: back(wire),
            translated: back(&came),
        }
    } else {
        Nat {
            original: came,
            translated: *wire,
        }
    };
    Ok((nat.original != nat.translated).then_some(nat))
}

/// The direction of a dropped packet as the client knows it; `raw` is the original tuple of its
/// connection.
pub(super) fn original(wire: &Tuple, raw: &nat::Nat) -> Result<Option<Tuple>, DecodeError> {
    match raw.flags {
        0 => Ok(None),
        NAT_ORIGINAL => beyond(wire, raw).map(Some),
        NAT_REPLY => Ok(Some(back(&beyond(wire, raw)?))),
        other => Err(DecodeError::Nat(other)),
    }
}

/// The tuple of the answer; later fragments have only addresses to exchange.
fn back(t: &Tuple) -> Tuple {
    if t.later_fragment {
        Tuple {
            src: t.dst,
            dst: t.src,
            ..*t
        }
    } else {
        t.reversed()
    }
}
