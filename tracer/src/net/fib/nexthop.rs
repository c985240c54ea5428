//! Nexthop objects (`ip nexthop`): the gateways behind the `nhid` of a route. Numbers are those of
//! `linux/nexthop.h`.

use std::collections::BTreeMap;

use super::{
    super::{
        NetError,
        socket::{Connection, request},
        wire::{Attr, Attrs, Defects, u16_at, u32_at},
    },
    encap,
};
use crate::{event::Ifindex, inventory::Nexthop};

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_GETNEXTHOP: u16 = 106;
/// Size of `struct nhmsg`.
const NHMSG: usize = 8;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
/// Size of `struct nexthop_grp`.
const NEXTHOP_GRP: usize = 8;

const RTNH_F_DEAD: u32 = 1;
const RTNH_F_ONLINK: u32 = 4;
const RTNH_F_LINKDOWN: u32 = 16;

/// A nexthop object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Object {
    One(Nexthop),
    /// Ids and weights.
    Group(Vec<(u32, u32)>),
}

/// The nexthop objects of a namespace by id.
#[derive(Clone, Debug, Default)]
pub(in crate::net) struct NexthopObjects(BTreeMap<u32, Object>);

impl NexthopObjects {
    /// The next hops of an object. Empty for a blackhole and for an unknown id.
    pub(super) fn resolve(&self, id: u32) -> Vec<Nexthop> {
        match self.0.get(&id) {
            None => Vec::new(),
            Some(Object::One(hop)) => vec![hop.clone()],
            Some(Object::Group(members)) => {
                let hops = members
                    .iter()
                    .filter_map(|(id, weight)| match self.0.get(id) {
                        Some(Object::One(hop)) => Some(Nexthop {
                            weight: *weight,
                            ..hop.clone()
                        }),
                        _ => None,
                    });
                hops.collect()
            }
        }
    }
}

/// All nexthop objects of the namespace; none on a kernel without them.
pub(in crate::net) fn nexthops(
    connection: &mut Connection,
    defects: &Defects,
) -> Result<NexthopObjects, NetError> {
    let body = request(0, NHMSG);
    let found = connection.dump("nexthop objects", (RTM_GETNEXTHOP, &body), |m| {
        (m.kind == RTM_NEWNEXTHOP)
            .then(|| parse(m.body, defects))
            .flatten()
    });
    match found {
        Ok(objects) => Ok(NexthopObjects(objects.into_iter().collect())),
        Err(NetError::Refused { source, .. })
            if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
        {
            Ok(NexthopObjects::default())
        }
        Err(error) => Err(error),
    }
}

fn parse(body: &[u8], defects: &Defects) -> Option<(u32, Object)> {
    let flags = u32_at(body, 4)?;
    let mut hop = Nexthop {
        gateway: None,
        dev: None,
        weight: 1,
        onlink: flags & RTNH_F_ONLINK != 0,
        dead: flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0,
        encap: None,
    };
    let (mut id, mut group, mut encap_type, mut encap) = (None, None, 0, None);
    for attr in Attrs::new(body.get(NHMSG..)?, defects) {
        match attr.kind {
            NHA_ID => id = attr.u32(),
            NHA_GROUP => group = Some(members(&attr)),
            NHA_OIF => hop.dev = attr.u32().filter(|n| *n != 0).map(Ifindex),
            NHA_GATEWAY => hop.gateway = attr.some_ip(),
            NHA_ENCAP_TYPE => encap_type = attr.u16().unwrap_or(0),
            NHA_ENCAP => encap = Some(attr),
            _ => {}
        }
    }
    hop.encap = encap.map(|e| encap::text(encap_type, &e));
    let object = match group {
        Some(members) => Object::Group(members),
        None if hop.dev.is_none() => Object::Group(Vec::new()),
        None => Object::One(hop),
    };
    Some((id?, object))
}

/// Ids and weights of a group. A weight is sent as one less, its upper byte (since Linux 6.12) in
/// what was padding.
fn members(group: &Attr<'_>) -> Vec<(u32, u32)> {
    let members = group.data.chunks_exact(NEXTHOP_GRP).filter_map(|m| {
        let weight = u16_at(m, 4).map(u16::to_ne_bytes)?;
        Some((u32_at(m, 0)?, u32::from(u16::from_le_bytes(weight)) + 1))
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::wire::push_attr;

    fn object(id: u32, attrs: &[(u16, &[u8])]) -> (u32, Object) {
        let mut body = request(2, NHMSG);
        push_attr(&mut body, NHA_ID, &id.to_ne_bytes());
        for (kind, data) in attrs {
            push_attr(&mut body, *kind, data);
        }
        parse(&body, &Defects::default()).unwrap()
    }

    #[test]
    fn a_group_resolves_to_its_members_with_their_weights() {
        let mut group = Vec::new();
        for (id, weight) in [(1u32, 4u8), (2, 0), (9, 0)] {
            group.extend_from_slice(&id.to_ne_bytes());
            group.extend_from_slice(&[weight, 0, 0, 0]);
        }
        let one = |id: u32, last: u8| {
            let gateway: &[u8] = &[10, 0, 0, last];
            let dev = &7u32.to_ne_bytes();
            object(id, &[(NHA_GATEWAY, gateway), (NHA_OIF, dev)])
        };
        let objects = [one(1, 1), one(2, 2), object(3, &[(NHA_GROUP, &group)])];
        let objects = NexthopObjects(objects.into());
        let hops = objects.resolve(3);
        let hops: Vec<_> = hops
            .iter()
            .map(|h| (h.gateway.unwrap(), h.weight))
            .collect();
        let gateway = |last| std::net::IpAddr::from([10, 0, 0, last]);
        assert_eq!(hops, [(gateway(1), 5), (gateway(2), 1)]);
        assert_eq!(objects.resolve(1)[0].dev, Some(Ifindex(7)));
        assert!(objects.resolve(42).is_empty());
    }

    #[test]
    fn a_blackhole_has_no_next_hop() {
        const NHA_BLACKHOLE: u16 = 4;
        let objects = NexthopObjects([object(3, &[(NHA_BLACKHOLE, &[])])].into());
        assert!(objects.resolve(3).is_empty());
    }
}
