//! Routes of all tables.

use std::net::IpAddr;

use super::{
    super::{
        NetError,
        socket::{Connection, Message, request},
        wire::{Attr, Attrs, Defects, ip, u16_at, u32_at},
    },
    FAMILIES, any, encap,
    nexthop::NexthopObjects,
};
use crate::{
    event::{Ifindex, RouteKind},
    inventory::{Nexthop, Prefix, Route},
};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// Size of `struct rtmsg`.
const RTMSG: usize = 12;
/// Size of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;
/// An entry of the route cache.
const RTM_F_CLONED: u32 = 0x200;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;

const RTNH_F_DEAD: u32 = 1;
const RTNH_F_ONLINK: u32 = 4;
const RTNH_F_LINKDOWN: u32 = 16;

/// All routes of the namespace, IPv4 first.
pub(in crate::net) fn routes(
    connection: &mut Connection,
    objects: &NexthopObjects,
    defects: &Defects,
) -> Result<Vec<Route>, NetError> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let body = request(family, RTMSG);
        all.extend(connection.dump("routes", (RTM_GETROUTE, &body), |m| {
            wanted(&m)
                .then(|| parse(m.body, objects, defects))
                .flatten()
        })?);
    }
    Ok(all)
}

/// A route that is configured, of one of the two families.
fn wanted(message: &Message<'_>) -> bool {
    let family = message.body.first().copied().unwrap_or(0);
    let flags = u32_at(message.body, 8).unwrap_or(0);
    message.kind == RTM_NEWROUTE && FAMILIES.contains(&family) && flags & RTM_F_CLONED == 0
}

pub(super) fn parse(body: &[u8], objects: &NexthopObjects, defects: &Defects) -> Option<Route> {
    let header: &[u8; RTMSG] = body.first_chunk()?;
    let [
        family,
        dst_len,
        _src_len,
        _tos,
        table,
        protocol,
        scope,
        kind,
        ..,
    ] = *header;
    let mut dst = any(family);
    let mut route = Route {
        dst: Prefix::new(dst, dst_len),
        table: u32::from(table),
        kind: RouteKind::from_rtn(kind),
        protocol,
        metric: 0,
        prefsrc: None,
        scope,
        nexthops: Vec::new(),
        mtu: None,
        nhid: None,
    };
    let mut hop = Hop::new(u32_at(body, 8)?);
    for attr in Attrs::new(body.get(RTMSG..)?, defects) {
        match attr.kind {
            RTA_DST => dst = attr.ip()?,
            RTA_PRIORITY => route.metric = attr.u32().unwrap_or(0),
            RTA_PREFSRC => route.prefsrc = attr.ip(),
            RTA_TABLE => route.table = attr.u32().unwrap_or(route.table),
            RTA_NH_ID => route.nhid = attr.u32().filter(|id| *id != 0),
            RTA_METRICS => route.mtu = mtu(&attr),
            RTA_MULTIPATH => route.nexthops = multipath(attr.data, defects),
            _ => hop.take(&attr),
        }
    }
    route.dst = Prefix::new(dst, dst_len);
    if route.nexthops.is_empty() {
        route.nexthops.extend(hop.nexthop());
    }
    // with nexthop_compat_mode=0 the message names the object only
    if let Some(id) = route.nhid
        && route.nexthops.is_empty()
    {
        route.nexthops = objects.resolve(id);
    }
    // the kernel hangs reject routes on lo; no packet goes there
    if matches!(
        route.kind,
        RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw
    ) {
        route.nexthops.clear();
    }
    Some(route)
}

fn mtu(metrics: &Attr<'_>) -> Option<u32> {
    let mut mtu = metrics.nested().filter(|m| m.kind == RTAX_MTU);
    mtu.find_map(|m| m.u32())
}

/// The hops of a `RTA_MULTIPATH`; ends at the first impossible length.
fn multipath(mut data: &[u8], defects: &Defects) -> Vec<Nexthop> {
    let mut hops = Vec::new();
    while data.len() >= RTNEXTHOP {
        let len = u16_at(data, 0).map_or(0, usize::from);
        let Some(attributes) = data.get(RTNEXTHOP..len) else {
            defects.add();
            break;
        };
        let (flags, weight) = (data.get(2), data.get(3));
        let mut hop = Hop::new(flags.copied().map_or(0, u32::from));
        hop.dev = u32_at(data, 4).filter(|n| *n != 0).map(Ifindex);
        for attr in Attrs::new(attributes, defects) {
            hop.take(&attr);
        }
        hops.extend(hop.nexthop().map(|n| Nexthop {
            weight: weight.copied().map_or(1, |w| u32::from(w) + 1),
            ..n
        }));
        data = data.get(super::super::wire::align(len)..).unwrap_or(&[]);
    }
    hops
}

/// A next hop while its attributes are read.
struct Hop<'a> {
    flags: u32,
    gateway: Option<IpAddr>,
    dev: Option<Ifindex>,
    encap_type: u16,
    encap: Option<Attr<'a>>,
}

impl<'a> Hop<'a> {
    fn new(flags: u32) -> Self {
        Self {
            flags,
            gateway: None,
            dev: None,
            encap_type: 0,
            encap: None,
        }
    }

    fn take(&mut self, attr: &Attr<'a>) {
        match attr.kind {
            RTA_OIF => self.dev = attr.u32().filter(|n| *n != 0).map(Ifindex),
            RTA_GATEWAY => self.gateway = attr.some_ip(),
            // a gateway of another family follows its family
            RTA_VIA => self.gateway = attr.data.get(2..).and_then(ip),
            RTA_ENCAP_TYPE => self.encap_type = attr.u16().unwrap_or(0),
            RTA_ENCAP => self.encap = Some(*attr),
            _ => {}
        }
    }

    fn nexthop(&self) -> Option<Nexthop> {
        if self.gateway.is_none() && self.dev.is_none() {
            return None;
        }
        let encap = self.encap.as_ref();
        Some(Nexthop {
            gateway: self.gateway,
            dev: self.dev,
            weight: 1,
            onlink: self.flags & RTNH_F_ONLINK != 0,
            dead: self.flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0,
            encap: encap.map(|e| encap::text(self.encap_type, e)),
        })
    }
}
