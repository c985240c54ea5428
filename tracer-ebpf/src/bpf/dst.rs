//! The decision in a packet's dst entry: the route really used, also when it was cached.

use tracer_abi::{
    counter::Counter,
    key::{FAMILY_IPV4, FAMILY_IPV6},
    offset::Off,
    route::{
        ABOUT_EARLY, ABOUT_OTHER_NETNS, ROUTE_DST, ROUTE_FAKE, ROUTE_LOOKUP, ROUTE_LWTUNNEL,
        ROUTE_METADATA, ROUTE_NO_DST, ROUTE_OTHER_NEXTHOP, Route,
    },
};

use super::{
    kmem::{read, read_at},
    lookup::same,
    maps::{count, off},
};

/// `DST_METADATA` and `DST_FAKE_RTABLE` of `net/dst.h`.
pub(super) const DST_METADATA: u16 = 0x80;
const DST_FAKE_RTABLE: u16 = 0x10;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `RTF_GATEWAY` of `linux/route.h`.
const RTF_GATEWAY: u32 = 2;
/// Lower bound of kernel addresses: user addresses and small numbers are no pointers.
pub(super) const KERNEL: u64 = 1 << 63;

/// Decodes `skb->_skb_refdst` (flag bits cleared) of a packet in `netns` into `r`.
#[inline(always)]
pub(super) fn decode(dst: u64, netns: u32, r: &mut Route) {
    *r = Route {
        prefix_len: 255,
        ..Route::default()
    };
    if dst < KERNEL {
        r.how = ROUTE_NO_DST;
        return;
    }
    count(Counter::DstDecoded);
    let flags: u16 = read(dst, Off::DstFlags);
    r.dst_flags = flags;
    if flags & DST_METADATA != 0 {
        r.how = ROUTE_METADATA;
        return;
    }
    if flags & DST_FAKE_RTABLE != 0 {
        r.how = ROUTE_FAKE;
        return;
    }
    let ops: u64 = read(dst, Off::DstOps);
    let family: u16 = read(ops, Off::DstOpsFamily);
    if family != AF_INET && family != AF_INET6 {
        r.how = ROUTE_NO_DST;
        return;
    }
    r.how = ROUTE_DST;
    let dev: u64 = read(dst, Off::DstDev);
    r.oif = read(dev, Off::DevIfindex);
    let net: u64 = read(dev, Off::DevNet);
    if read::<u32>(net, Off::NetInum) != netns {
        r.about = ABOUT_OTHER_NETNS;
    }
    // positive for IPv4, negative for IPv6
    let error: i16 = read(dst, Off::DstError);
    r.error = i32::from(error).unsigned_abs();
    lwtunnel(dst, r);
    if family == AF_INET {
        ipv4(dst, r);
    } else {
        ipv6(dst, r);
    }
}

#[inline(always)]
fn ipv4(dst: u64, r: &mut Route) {
    r.kind = read::<u16>(dst, Off::RtType) as u8;
    match u16::from(read::<u8>(dst, Off::RtGwFamily)) {
        AF_INET => {
            let gw: u32 = read(dst, Off::RtGw);
            // SAFETY: four of the sixteen bytes.
            unsafe { r.gateway.as_mut_ptr().cast::<u32>().write_unaligned(gw) };
            r.gw_family = FAMILY_IPV4;
        }
        AF_INET6 => {
            r.gateway = read(dst, Off::RtGw);
            r.gw_family = FAMILY_IPV6;
        }
        _ => {}
    }
}

#[inline(always)]
fn ipv6(dst: u64, r: &mut Route) {
    if read::<u32>(dst, Off::Rt6Flags) & RTF_GATEWAY != 0 {
        r.gateway = read(dst, Off::Rt6Gateway);
        r.gw_family = FAMILY_IPV6;
    }
    let from: u64 = read(dst, Off::Rt6From);
    if from < KERNEL {
        return;
    }
    r.kind = read(from, Off::F6iType);
    let table: u64 = read(from, Off::F6iTable);
    if table < KERNEL {
        // the null entry: no table had a match
        return;
    }
    r.table = read(table, Off::Table6Id);
    r.metric = read(from, Off::F6iMetric);
    r.prefix_len = read::<u32>(from, Off::F6iDstPlen) as u8;
}

/// A lightweight tunnel on the route: `encap ip id …`.
#[inline(always)]
fn lwtunnel(dst: u64, r: &mut Route) {
    let state: u64 = read(dst, Off::DstLwtstate);
    if state < KERNEL {
        return;
    }
    r.how |= ROUTE_LWTUNNEL;
    r.lwt_vni = key_of(state);
}

/// The tunnel key of the lightweight tunnel on a route; 0 for none.
#[inline(always)]
pub(super) fn lwtunnel_key(dst: u64) -> u32 {
    let state: u64 = read(dst, Off::DstLwtstate);
    if state < KERNEL { 0 } else { key_of(state) }
}

#[inline(always)]
fn key_of(state: u64) -> u32 {
    // LWTUNNEL_ENCAP_IP 2, LWTUNNEL_ENCAP_IP6 4: struct ip_tunnel_info follows the state
    let kind: u16 = read(state, Off::LwtType);
    if kind != 2 && kind != 4 {
        return 0;
    }
    let id: u64 = read_at(state + (off(Off::LwtData) + off(Off::TunInfoKeyId)) as u64);
    u64::from_be(id) as u32
}

/// The first decision from a dst entry, where the lookup alone was known: that stays, if this one agrees
/// and has none of its own.
#[inline(always)]
fn known_at_last(old: &mut Route, new: &Route) {
    let agrees = old.how & ROUTE_LOOKUP != 0
        && new.how == ROUTE_DST
        && old.oif == new.oif
        && old.gw_family == new.gw_family
        && same(&old.gateway, &new.gateway);
    if agrees {
        old.how |= ROUTE_DST;
        old.about = new.about;
        old.kind = new.kind;
    } else {
        *old = *new;
    }
}

/// Puts a newly decoded decision in the place of the old one. True when it is another decision.
///
/// Only the first packet of a cached route has a lookup, so a later decode that lacks the lookup
/// but agrees in everything else confirms the old one.
#[inline(always)]
pub(super) fn replace(old: &mut Route, new: &Route) -> bool {
    const HOW: u8 = ROUTE_LOOKUP | ROUTE_OTHER_NEXTHOP;
    if old.about & ABOUT_EARLY != 0 {
        known_at_last(old, new);
        return false;
    }
    let agrees = old.oif == new.oif
        && old.kind == new.kind
        && old.gw_family == new.gw_family
        && old.error == new.error
        && old.lwt_vni == new.lwt_vni
        && old.how & !HOW == new.how & !HOW
        && (old.about ^ new.about) & ABOUT_OTHER_NETNS == 0
        && (old.table == new.table || new.table == 0 || old.table == 0)
        && same(&old.gateway, &new.gateway);
    if agrees {
        if new.how & ROUTE_LOOKUP != 0 || new.about != 0 {
            *old = *new;
        }
        return false;
    }
    *old = *new;
    true
}
