//! Forwarding entries of VXLAN devices.

use super::super::{
    NetError,
    link::hex,
    socket::{Connection, request},
    wire::{Attrs, Defects, u32_at},
};
use crate::{event::Ifindex, inventory::FdbEntry};

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
/// Size of `struct ndmsg`, and of `struct ifinfomsg`, which a dump of this family is asked with.
const NDMSG: usize = 12;
const IFINFOMSG: usize = 16;
const AF_BRIDGE: u8 = 7;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_VNI: u16 = 7;
const NDA_NH_ID: u16 = 13;

/// The entries of the namespace that name a tunnel endpoint; those of bridges do not.
pub(in crate::net) fn fdb(
    connection: &mut Connection,
    defects: &Defects,
) -> Result<Vec<FdbEntry>, NetError> {
    let body = request(AF_BRIDGE, IFINFOMSG);
    connection.dump("forwarding entries", (RTM_GETNEIGH, &body), |m| {
        let ours = m.kind == RTM_NEWNEIGH && m.body.first() == Some(&AF_BRIDGE);
        ours.then(|| parse(m.body, defects)).flatten()
    })
}

/// `None` for an entry without endpoint: that of a bridge port or of a multicast filter.
pub(super) fn parse(body: &[u8], defects: &Defects) -> Option<FdbEntry> {
    let dev = Ifindex(u32_at(body, 4)?);
    let (mut mac, mut dst, mut vni, mut group) = (None, None, None, false);
    for attr in Attrs::new(body.get(NDMSG..)?, defects) {
        match attr.kind {
            NDA_DST => dst = attr.ip(),
            NDA_LLADDR => mac = Some(hex(attr.data)).filter(|m| !m.is_empty()),
            NDA_VNI => vni = attr.u32(),
            NDA_NH_ID => group = true,
            _ => {}
        }
    }
    let mac = mac.filter(|_| dst.is_some() || group)?;
    Some(FdbEntry { dev, mac, dst, vni })
}
