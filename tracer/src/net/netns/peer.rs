//! Which namespace a link's far end is in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::fd::AsRawFd as _,
};

use super::Found;
use crate::{
    event::NetnsId,
    net::{
        NetError,
        socket::{Connection, request_with},
        wire::{Attrs, Defects, u32_at},
    },
};

const RTM_GETNSID: u16 = 90;
/// Size of `struct rtgenmsg`, rounded up.
const RTGENMSG: usize = 4;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// The namespaces behind the numbers (`IFLA_LINK_NETNSID`) that the connection's one uses.
/// Candidates are asked about in their order, until all numbers are known.
pub(in crate::net) fn peers(
    connection: &mut Connection,
    wanted: &BTreeSet<i32>,
    candidates: &[&Found],
) -> Result<BTreeMap<i32, NetnsId>, NetError> {
    let mut known = BTreeMap::new();
    for candidate in candidates {
        if known.len() == wanted.len() {
            break;
        }
        // it ended meanwhile, or may not be read
        let Ok(file) = File::open(&candidate.path) else {
            continue;
        };
        if let Some(nsid) = number_of(connection, &file)?.filter(|n| wanted.contains(n)) {
            known.insert(nsid, candidate.id);
        }
    }
    Ok(known)
}

/// The number that the connection's namespace gives to another one.
fn number_of(connection: &mut Connection, file: &File) -> Result<Option<i32>, NetError> {
    let fd = file.as_raw_fd().cast_unsigned();
    let body = request_with(0, RTGENMSG, NETNSA_FD, fd);
    let Some(answer) = connection.ask("namespace numbers", RTM_GETNSID, &body)? else {
        return Ok(None);
    };
    let defects = Defects::default();
    let mut attrs = Attrs::new(answer.get(RTGENMSG..).unwrap_or(&[]), &defects);
    let nsid = attrs.find(|a| a.kind == NETNSA_NSID);
    let nsid = nsid.and_then(|a| u32_at(a.data, 0)).map(u32::cast_signed);
    Ok(nsid.filter(|n| *n >= 0))
}
