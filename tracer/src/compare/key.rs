//! What of a packet is the same on both nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    decode::Headers,
    event::{Proto, Tuple},
};

/// Bytes of the payload that take part: few enough to be in every snapshot.
const PAYLOAD: usize = 16;

/// What no router changes of a packet. Packets that are equal in all of it (a repeated datagram) are
/// told apart by their order alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) tuple: Tuple,
    ip_id: u32,
    /// Bytes behind the transport header, as the IP header says.
    payload: u32,
    /// Sequence, acknowledgement and flags of TCP.
    tcp: Option<(u32, u32, u8)>,
    /// The beginning of the payload.
    begin: [u8; PAYLOAD],
}

impl Key {
    /// The same for all names that the packet's flow may have.
    pub(super) fn without_addresses(&self) -> Self {
        let nowhere = match self.tuple.src {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let icmp = self.tuple.proto.is_icmp();
        Self {
            tuple: Tuple {
                src: nowhere,
                dst: nowhere,
                sport: 0,
                // type and code
                dport: if icmp { self.tuple.dport } else { 0 },
                ..self.tuple
            },
            ..*self
        }
    }
}

/// A packet's own part of a [`Key`]: of the observation that shows most of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    payload: u32,
    tcp: Option<(u32, u32, u8)>,
    begin: [u8; PAYLOAD],
    /// How much of the transport header and payload was there.
    pub(super) seen: usize,
}

impl Body {
    pub(super) fn of(headers: &Headers, bytes: &[u8]) -> Self {
        let transport = bytes.get(headers.transport..).unwrap_or_default();
        let word = |at: usize| -> Option<u32> {
            let b = transport.get(at..at + 4)?;
            Some(u32::from_be_bytes(b.try_into().ok()?))
        };
        let is_tcp = headers.tuple.proto == Proto::TCP && !headers.tuple.later_fragment;
        let tcp = if is_tcp {
            word(4)
                .zip(word(8))
                .map(|(seq, ack)| (seq, ack, headers.tcp_flags))
        } else {
            None
        };
        let header = match headers.tuple.proto {
            _ if headers.tuple.later_fragment => 0,
            Proto::TCP => usize::from(transport.get(12).copied().unwrap_or(0x50) >> 4) * 4,
            Proto::UDP | Proto::ICMP | Proto::ICMPV6 => 8,
            _ => 0,
        };
        let whole = headers.ip_len.saturating_sub(headers.ip_header);
        let mut begin = [0; PAYLOAD];
        // an echo's sequence number stands where others have their payload
        let from = if headers.tuple.is_echo() { 6 } else { header };
        // TCP is told apart by its numbers, and its payload is divided anew on the way
        if !is_tcp {
            let there = transport.get(from..).unwrap_or_default();
            let n = there
                .len()
                .min(PAYLOAD)
                .min(whole.saturating_sub(from as u32) as usize);
            begin[..n].copy_from_slice(&there[..n]);
        }
        Self {
            payload: whole.saturating_sub(header as u32),
            tcp,
            begin,
            seen: transport.len().min(header + PAYLOAD),
        }
    }

    /// The keys of the packet's wire segments. `gso` is the payload of one, 0 when it is whole.
    pub(super) fn keys(&self, tuple: Tuple, ip_id: u32, gso: u32, mut each: impl FnMut(Key)) {
        let whole = Key {
            tuple,
            ip_id,
            payload: self.payload,
            tcp: self.tcp,
            begin: self.begin,
        };
        let Some((seq, ack, flags)) = self.tcp.filter(|_| self.payload > 0) else {
            each(whole);
            return;
        };
        // offload divides and joins segments; PSH, CWR and the identification follow no fixed rule then
        let flags = flags & !(PSH | CWR);
        let size = if gso == 0 { self.payload } else { gso };
        let mut at = 0;
        while at < self.payload {
            let payload = size.min(self.payload - at);
            let last = at + payload >= self.payload;
            each(Key {
                ip_id: 0,
                payload,
                tcp: Some((
                    seq.wrapping_add(at),
                    ack,
                    if last { flags } else { flags & !FIN },
                )),
                ..whole
            });
            at += payload;
        }
    }
}

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;
