//! From the kernel side's bytes to events. Pure: any bytes give an event or an error.

mod convert;
pub mod drop_text;
pub mod no_loss;
mod packet;
mod route;

#[cfg(test)]
mod tests;

pub use packet::{Headers, PacketRecord, frame};

use std::sync::Arc;

use tracer_abi::{
    drop::{DROP_HAS_DEV, DROP_HAS_SOCK, DropRecord, IcmpRecord},
    flow::{CHANGE_NEW, CHANGE_OUTER, CHANGE_ROUTE, FlowRecord},
    key::DIR_OUT,
    record::{
        self, KIND_DROP, KIND_FLOW, KIND_ICMP_ERROR, KIND_NEIGH, KIND_PACKET, KIND_ROUTE_FAIL,
        KIND_TCP, KIND_XMIT_ERROR, NeighRecord, RecordHeader, RouteFailRecord, TCP_RECEIVE_RESET,
        TCP_RETRANSMIT, TCP_SEND_RESET, TcpRecord,
    },
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::{
    event::{
        Asked, Body, Change, Counters, DropPlace, DropSample, Event, HopSample, How, IcmpSample,
        Ifindex, KtimeNs, NeighFailure, NetnsId, PacketSample, RouteDecision, RouteFailure,
        TcpNotice, TcpWhat, Why,
    },
    inventory::Names,
};

/// `NUD_FAILED` of `linux/neighbour.h`.
const NUD_FAILED: u32 = 0x20;
/// Symbol of a drop without a location: the driver's return code was not 0.
const XMIT_SYMBOL: &str = "net_dev_xmit";

/// Why bytes are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its kind, or than its own header says.
    #[error("record of kind {kind} is cut off at {len} bytes")]
    Short {
        /// Its kind, 0 when even the header is cut.
        kind: u16,
        /// Bytes behind the header.
        len: usize,
    },
    /// No such kind.
    #[error("record of unknown kind {0}")]
    Kind(u16),
    /// Neither 4 nor 6.
    #[error("impossible address family {0}")]
    Family(u8),
    /// No such encapsulation.
    #[error("unknown encapsulation {0}")]
    Encap(u8),
    /// Neither in nor out.
    #[error("impossible direction {0}")]
    Dir(u8),
    /// A combination of `ROUTE_*` bits that no hook writes.
    #[error("impossible source of a route decision {0:#x}")]
    How(u8),
    /// A combination of `NAT_*` bits that no hook writes.
    #[error("impossible translation {0:#x}")]
    Nat(u8),
    /// No such TCP event.
    #[error("unknown TCP event {0}")]
    Tcp(u8),
}

/// Turns records of the ring buffer and entries of the maps into events.
#[derive(Clone, Debug)]
pub struct Decoder {
    names: Arc<Names>,
}

impl Decoder {
    /// A decoder that names reasons and functions by `names`.
    pub fn new(names: Arc<Names>) -> Self {
        Self { names }
    }

    /// Decodes a record of the ring buffer: a header and its payload. `None` for a record that
    /// says nothing worth telling (a neighbour entry that did not fail).
    pub fn decode(&self, record: &[u8]) -> Result<Option<Event>, DecodeError> {
        let (header, rest) = RecordHeader::read_from_prefix(record)
            .map_err(|_e| DecodeError::Short { kind: 0, len: 0 })?;
        let at = KtimeNs(header.ts_ns);
        let payload = Payload {
            kind: header.kind,
            bytes: rest.get(..header.len as usize),
        };
        match header.kind {
            KIND_FLOW => self.flow(&payload.read(rest)?, at).map(Some),
            KIND_DROP | KIND_XMIT_ERROR => self.drop(&payload.read(rest)?, at).map(Some),
            KIND_ICMP_ERROR => self.icmp(&payload.read(rest)?, at).map(Some),
            KIND_ROUTE_FAIL => self.route_fail(&payload.read(rest)?, at).map(Some),
            KIND_NEIGH => neigh(&payload.read(rest)?, at),
            KIND_TCP => tcp(&payload.read(rest)?, at).map(Some),
            KIND_PACKET => packet(&payload.read(rest)?, at).map(Some),
            kind => Err(DecodeError::Kind(kind)),
        }
    }

    /// A flow at a device. From a scan of the map, `change` is 0.
    pub fn flow(&self, record: &FlowRecord, at: KtimeNs) -> Result<Event, DecodeError> {
        let value = &record.value;
        let key = convert::hop_key(&record.key)?;
        let route = match record.key.dir {
            DIR_OUT => route::of_sent(&value.route)?.map(|decision| RouteDecision {
                changed: (value.changed_ns != 0).then_some(KtimeNs(value.changed_ns)),
                ..decision
            }),
            // a lookup said that it stays on this node
            _ => route::decision(&value.route)?,
        };
        let body = Body::Hop(HopSample {
            nat: convert::nat(&key.tuple, &value.nat)?,
            key,
            counters: Counters {
                packets: value.packets,
                bytes: value.bytes,
                skbs: value.skbs(),
                first: KtimeNs(value.first_ns),
                last: KtimeNs(value.last_ns),
            },
            route,
            encap: convert::encap(&record.key.tuple, &value.outer)?,
            mark: value.mark,
            max_len: value.max_len,
            tcp_flags: value.tcp_flags as u8,
            vlan: (value.vlan & 0x0fff) as u16,
            route_changes: value.route_changes,
            outer_changes: value.outer_changes,
            change: Change {
                new: record.change & CHANGE_NEW != 0,
                route: record.change & CHANGE_ROUTE != 0,
                outer: record.change & CHANGE_OUTER != 0,
            },
        });
        Ok(Event { at, body })
    }

    /// Packets of a flow that ended at one place.
    pub fn drop(&self, record: &DropRecord, at: KtimeNs) -> Result<Event, DecodeError> {
        let (key, value) = (&record.key, &record.value);
        let has_dev = value.flags & DROP_HAS_DEV != 0;
        let tuple = convert::tuple_if_read(&key.flow.tuple)?;
        let (reason, symbol) = if key.location == 0 {
            (Arc::from("NOT_SPECIFIED"), Arc::from(XMIT_SYMBOL))
        } else {
            (
                self.names.reason(key.reason),
                self.names.symbol(key.location),
            )
        };
        let loss = no_loss::is_loss(&reason, &symbol, has_dev, tuple.is_some());
        let original = match &tuple {
            Some(wire) => convert::original(wire, &value.nat)?,
            None => None,
        };
        let ipv6 = tuple.is_some_and(|t| t.is_ipv6());
        let route = route::decision(&value.route)?.map(|route| ended(route, ipv6, &symbol));
        let body = Body::Drop(DropSample {
            tuple,
            original,
            encap: match tuple {
                Some(_) => convert::encap(&key.flow.tuple, &value.outer)?,
                None => None,
            },
            place: DropPlace {
                reason,
                symbol,
                netns: (key.flow.netns != 0).then_some(NetnsId(key.flow.netns)),
                dev: (has_dev && key.flow.ifindex != 0).then_some(Ifindex(key.flow.ifindex)),
                in_dev: (key.flow.iif != 0).then_some(Ifindex(key.flow.iif)),
            },
            count: value.count,
            bytes: value.bytes,
            first: KtimeNs(value.first_ns),
            last: KtimeNs(value.last_ns),
            route,
            mtu: (value.mtu != 0).then_some(value.mtu),
            max_len: value.max_len,
            mark: value.mark,
            has_sock: value.flags & DROP_HAS_SOCK != 0,
            loss,
        });
        Ok(Event { at, body })
    }

    /// ICMP errors about a flow.
    pub fn icmp(&self, record: &IcmpRecord, at: KtimeNs) -> Result<Event, DecodeError> {
        let (key, value) = (&record.key, &record.value);
        let body = Body::Icmp(IcmpSample {
            about: convert::tuple(&key.about)?,
            // an error is of the family of the packet that it complains about
            from: convert::address(key.about.family, &key.from)?,
            netns: NetnsId(key.netns),
            dev: Ifindex(key.ifindex),
            dir: convert::dir(key.dir)?,
            icmp_type: key.icmp_type,
            code: key.code,
            mtu: (value.mtu != 0).then_some(value.mtu),
            local: key.local != 0,
            count: value.count,
            first: KtimeNs(value.first_ns),
            last: KtimeNs(value.last_ns),
        });
        Ok(Event { at, body })
    }

    /// A local sender's failed lookups.
    pub fn route_fail(&self, record: &RouteFailRecord, at: KtimeNs) -> Result<Event, DecodeError> {
        let (key, value) = (&record.key, &record.value);
        let comm = value.comm.split(|b| *b == 0).next().unwrap_or_default();
        let body = Body::RouteFailure(RouteFailure {
            tuple: convert::tuple(&key.tuple)?,
            netns: NetnsId(key.netns),
            table: value.table,
            errno: value.errno,
            asked: Asked {
                mark: value.mark,
                uid: value.uid,
                oif: (value.bound != 0).then_some(Ifindex(value.bound)),
                tos: value.tos as u8,
                any_source: key.tuple.saddr == [0; 16],
            },
            by_rule: false,
            count: value.count,
            first: KtimeNs(value.first_ns),
            last: KtimeNs(value.last_ns),
            pid: value.pid,
            comm: String::from_utf8_lossy(comm).into_owned(),
        });
        Ok(Event { at, body })
    }
}

/// A packet that ended without a dst entry was not routed yet, unless IPv6 has taken the route from it
/// (`ip6_pkt_drop()` in a VRF). IPv6 validates no source: what was looked up the reverse way then is
/// the route of the error message about the packet.
fn ended(decision: RouteDecision, ipv6: bool, symbol: &str) -> RouteDecision {
    let without = decision.how == How::Inferred && !decision.bridged;
    if !(without || decision.source_check && ipv6) {
        return decision;
    }
    let refused = ipv6
        && matches!(
            symbol,
            "ip6_pkt_discard" | "ip6_pkt_prohibit" | "ip6_pkt_drop"
        );
    RouteDecision {
        why: Some(if refused {
            Why::RouteTaken
        } else {
            Why::EndedBefore
        }),
        ..RouteDecision::unknown(How::Unknown)
    }
}

fn neigh(record: &NeighRecord, at: KtimeNs) -> Result<Option<Event>, DecodeError> {
    let address = convert::address(record.family, &record.address)?;
    if record.state & NUD_FAILED == 0 {
        return Ok(None);
    }
    let body = Body::Neigh(NeighFailure {
        address,
        netns: NetnsId(record.netns),
        dev: Ifindex(record.ifindex),
        queued: record.queued,
    });
    Ok(Some(Event { at, body }))
}

fn tcp(record: &TcpRecord, at: KtimeNs) -> Result<Event, DecodeError> {
    let what = match record.what {
        TCP_RETRANSMIT => TcpWhat::Retransmit,
        TCP_SEND_RESET => TcpWhat::SendReset,
        TCP_RECEIVE_RESET => TcpWhat::ReceiveReset,
        other => return Err(DecodeError::Tcp(other)),
    };
    let tuple = convert::tuple(&record.tuple)?;
    Ok(Event {
        at,
        body: Body::Tcp(TcpNotice {
            tuple,
            netns: NetnsId(record.netns),
            what,
        }),
    })
}

fn packet(record: &record::PacketRecord, at: KtimeNs) -> Result<Event, DecodeError> {
    let body = Body::Packet(PacketSample {
        key: convert::hop_key(&record.key)?,
        len: record.len,
        segs: record.segs,
        tcp_flags: record.tcp_flags as u8,
        ip_id: record.ip_id,
    });
    Ok(Event { at, body })
}

/// What stands behind a header, as long as the header says.
struct Payload<'a> {
    kind: u16,
    bytes: Option<&'a [u8]>,
}

impl Payload<'_> {
    fn read<T: FromBytes + KnownLayout + Immutable>(&self, rest: &[u8]) -> Result<T, DecodeError> {
        let short = DecodeError::Short {
            kind: self.kind,
            len: rest.len(),
        };
        let (value, _) = T::read_from_prefix(self.bytes.ok_or(short)?).map_err(|_e| short)?;
        Ok(value)
    }
}
