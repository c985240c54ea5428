//! Neighbour (ARP, ND) entries.

use super::{
    super::{
        NetError,
        link::hex,
        socket::{Connection, request},
        wire::{Attrs, Defects, u16_at, u32_at},
    },
    FAMILIES,
};
use crate::{event::Ifindex, inventory::Neighbour};

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
/// Size of `struct ndmsg`.
const NDMSG: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// Answered for somebody else: no neighbour.
const NTF_PROXY: u8 = 8;
/// `NUD_*` of `linux/neighbour.h`, as `ip neigh` prints them.
const STATES: [(u16, &str); 8] = [
    (0x01, "INCOMPLETE"),
    (0x02, "REACHABLE"),
    (0x04, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (0x40, "NOARP"),
    (0x80, "PERMANENT"),
];

/// The unicast neighbours of the namespace, IPv4 first.
pub(in crate::net) fn neighbours(
    connection: &mut Connection,
    defects: &Defects,
) -> Result<Vec<Neighbour>, NetError> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let body = request(family, NDMSG);
        all.extend(connection.dump("neighbours", (RTM_GETNEIGH, &body), |m| {
            let ours = m.kind == RTM_NEWNEIGH && m.body.first() == Some(&family);
            ours.then(|| parse(m.body, defects)).flatten()
        })?);
    }
    Ok(all)
}

/// `None` for proxies, entries without state, and multicast addresses, which every device has.
pub(super) fn parse(body: &[u8], defects: &Defects) -> Option<Neighbour> {
    let dev = Ifindex(u32_at(body, 4)?);
    let (state, flags) = (u16_at(body, 8)?, *body.get(10)?);
    let (mut address, mut mac) = (None, None);
    for attr in Attrs::new(body.get(NDMSG..)?, defects) {
        match attr.kind {
            NDA_DST => address = attr.ip(),
            NDA_LLADDR => mac = Some(hex(attr.data)).filter(|m| !m.is_empty()),
            _ => {}
        }
    }
    let address = address.filter(|a| !a.is_multicast())?;
    let (_, state) = STATES.iter().find(|(bit, _)| state & bit != 0)?;
    (flags & NTF_PROXY == 0).then(|| Neighbour {
        address,
        dev,
        mac,
        state: (*state).into(),
    })
}
