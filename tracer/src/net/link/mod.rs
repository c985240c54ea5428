//! Links and their addresses.

mod kind;
#[cfg(test)]
mod tests;

use super::{
    NetError,
    socket::{Connection, Message, request, request_with},
    wire::{Attrs, Defects, u16_at, u32_at},
};
use crate::{
    event::Ifindex,
    inventory::{Address, Link, LinkKind, Role},
};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// Size of `struct ifinfomsg`.
pub(super) const IFINFOMSG: usize = 16;
/// Size of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
/// Leave the counters out of the dump.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
pub(super) const IFF_UP: u32 = 1;
const IFF_LOWER_UP: u32 = 0x1_0000;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// A link, with the number that its namespace gives to the one of its far end.
#[derive(Clone, Debug)]
pub(super) struct FoundLink {
    /// The link; without addresses, role and namespace of the far end.
    pub(super) link: Link,
    /// `IFLA_LINK_NETNSID`; `None` for this namespace, negative for one without number.
    pub(super) link_nsid: Option<i32>,
}

/// All links of the namespace.
pub(super) fn links(
    connection: &mut Connection,
    defects: &Defects,
) -> Result<Vec<FoundLink>, NetError> {
    let body = request_with(0, IFINFOMSG, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    connection.dump("links", (RTM_GETLINK, &body), |m| {
        (m.kind == RTM_NEWLINK)
            .then(|| found_link(&m, defects))
            .flatten()
    })
}

fn found_link(message: &Message<'_>, defects: &Defects) -> Option<FoundLink> {
    let found = parse_link(message.body, defects);
    if found.is_none() {
        defects.add();
    }
    found
}

/// `None` when the message has no name or is too short.
fn parse_link(body: &[u8], defects: &Defects) -> Option<FoundLink> {
    let device_type = u16_at(body, 2)?;
    let ifindex = Ifindex(u32_at(body, 4)?);
    let flags = u32_at(body, 8)?;
    let attributes = body.get(IFINFOMSG..)?;
    let mut link = Link {
        ifindex,
        name: String::new(),
        kind: LinkKind::Physical,
        role: Role::Other,
        mtu: 0,
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        mac: String::new(),
        master: None,
        lower: None,
        peer: None,
        peer_netns: None,
        addresses: Vec::new(),
    };
    let (mut linked, mut link_nsid, mut info) = (None, None, kind::Info::default());
    for attr in Attrs::new(attributes, defects) {
        match attr.kind {
            IFLA_IFNAME => link.name = attr.text(),
            IFLA_MTU => link.mtu = attr.u32().unwrap_or(0),
            IFLA_MASTER => link.master = kind::device(&attr),
            IFLA_LINK => linked = kind::device(&attr),
            IFLA_LINK_NETNSID => link_nsid = attr.u32().map(u32::cast_signed),
            // that of a tunnel without Ethernet is its local IP address
            IFLA_ADDRESS if matches!(device_type, ARPHRD_ETHER | ARPHRD_LOOPBACK) => {
                link.mac = hex(attr.data);
            }
            IFLA_LINKINFO => info = kind::Info::parse(&attr),
            _ => {}
        }
    }
    if link.name.is_empty() {
        return None;
    }
    let lower_of_tunnel = info.lower;
    link.kind = match info.kind {
        None if device_type == ARPHRD_LOOPBACK => LinkKind::Loopback,
        None => LinkKind::Physical,
        Some(kind) => kind,
    };
    if matches!(link.kind, LinkKind::Veth | LinkKind::Netkit) {
        link.peer = linked;
    } else if link_nsid.is_none() {
        link.lower = linked.or(lower_of_tunnel).filter(|l| *l != ifindex);
    }
    Some(FoundLink { link, link_nsid })
}

/// Bytes as `02:00:00:00:00:01`.
pub(super) fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    pairs.join(":")
}

/// All addresses of the namespace, with the device that they are on.
pub(super) fn addresses(
    connection: &mut Connection,
    defects: &Defects,
) -> Result<Vec<(Ifindex, Address)>, NetError> {
    let body = request(0, IFADDRMSG);
    connection.dump("addresses", (RTM_GETADDR, &body), |m| {
        (m.kind == RTM_NEWADDR)
            .then(|| parse_address(m.body, defects))
            .flatten()
    })
}

/// `None` for families other than IP.
fn parse_address(body: &[u8], defects: &Defects) -> Option<(Ifindex, Address)> {
    let (prefix_len, scope) = (*body.get(1)?, *body.get(3)?);
    let dev = Ifindex(u32_at(body, 4)?);
    let (mut address, mut local) = (None, None);
    for attr in Attrs::new(body.get(IFADDRMSG..)?, defects) {
        match attr.kind {
            IFA_ADDRESS => address = attr.ip(),
            IFA_LOCAL => local = attr.ip(),
            _ => {}
        }
    }
    // on a point-to-point link the prefix is that of the peer's address
    let own = local.or(address)?;
    let prefix_len = match address {
        Some(peer) if peer != own => 32 + 96 * u8::from(own.is_ipv6()),
        _ => prefix_len,
    };
    let address = Address {
        address: own,
        prefix_len,
        scope,
    };
    Some((dev, address))
}
