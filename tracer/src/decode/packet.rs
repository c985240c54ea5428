//! Packets with their bytes: from the ring buffer, and from the frames of a capture file.

use tracer_abi::{
    key::FAMILY_IPV6,
    packet::{PacketHead, WHAT_DROP},
    parse::{self, Load, WINDOW, Window},
    record::{KIND_BYTES, RecordHeader},
};
use zerocopy::FromBytes as _;

use super::{DecodeError, Decoder, convert, no_loss};
use crate::event::{DropPlace, Encap, Ifindex, KtimeNs, NetnsId, PacketPlace, RawPacket, Tuple};

/// What a record of the ring buffer is to a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketRecord<'a> {
    /// A packet.
    Packet(RawPacket<'a>),
    /// The ordinary end of a packet.
    NoLoss,
    /// Something else: for [`Decoder::decode`].
    Other,
}

impl Decoder {
    /// A record with packet bytes.
    pub fn packet<'a>(&self, record: &'a [u8]) -> Result<PacketRecord<'a>, DecodeError> {
        let short = |len| DecodeError::Short {
            kind: KIND_BYTES,
            len,
        };
        let (header, rest) =
            RecordHeader::read_from_prefix(record).map_err(|_e| short(record.len()))?;
        if header.kind != KIND_BYTES {
            return Ok(PacketRecord::Other);
        }
        let (head, rest) = PacketHead::read_from_prefix(rest).map_err(|_e| short(record.len()))?;
        let bytes = rest
            .get(..head.captured as usize)
            .ok_or(short(record.len()))?;
        let place = if head.what == WHAT_DROP {
            match self.end(&head)? {
                Some(place) => PacketPlace::Drop(place),
                None => return Ok(PacketRecord::NoLoss),
            }
        } else {
            PacketPlace::Device(convert::dir(head.key.dir)?)
        };
        let known = |n: u32| (n != 0).then_some(n);
        Ok(PacketRecord::Packet(RawPacket {
            at: KtimeNs(header.ts_ns),
            skb: head.skb,
            tuple: convert::tuple_if_read(&head.key.tuple)?,
            encap: convert::encap_key(&head.key.tuple)?,
            netns: known(head.key.netns).map(NetnsId),
            dev: known(head.key.ifindex).map(Ifindex),
            in_dev: known(head.key.iif).map(Ifindex),
            place,
            len: head.len,
            segs: head.segs.max(1),
            gso_size: head.gso_size,
            tcp_flags: head.tcp_flags as u8,
            ip_id: head.ip_id,
            link: head.link,
            vlan_tci: head.vlan_tci,
            ethertype: head.ethertype,
            bytes,
        }))
    }

    /// Where and why it ended; `None` when that is no loss.
    fn end(&self, head: &PacketHead) -> Result<Option<DropPlace>, DecodeError> {
        let tuple = convert::tuple_if_read(&head.key.tuple)?;
        let (reason, symbol) = (
            self.names.reason(head.reason),
            self.names.symbol(head.location),
        );
        let has_dev = head.key.ifindex != 0;
        if !no_loss::is_loss(&reason, &symbol, has_dev, tuple.is_some()) {
            return Ok(None);
        }
        let known = |n: u32| (n != 0).then_some(n);
        Ok(Some(DropPlace {
            reason,
            symbol,
            netns: known(head.key.netns).map(NetnsId),
            dev: known(head.key.ifindex).map(Ifindex),
            in_dev: known(head.key.iif).map(Ifindex),
        }))
    }
}

/// What the headers of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Innermost addresses.
    pub tuple: Tuple,
    /// Outer header.
    pub encap: Option<Encap>,
    /// TCP flags.
    pub tcp_flags: u8,
    /// IP identification of the innermost header.
    pub ip_id: u32,
    /// Length of the innermost IP packet as its header says, bytes.
    pub ip_len: u32,
    /// Of it: up to the transport header.
    pub ip_header: u32,
    /// Where the innermost transport header starts, from the start of the frame, bytes; it may lie
    /// behind the captured bytes.
    pub transport: usize,
}

/// Bytes of a frame behind its link header.
struct Network<'a>(&'a [u8]);

impl Load for Network<'_> {
    fn load(&self, off: u32, window: &mut Window) -> u32 {
        let rest = self.0.get(off as usize..).unwrap_or_default();
        let n = rest.len().min(WINDOW as usize);
        window.bytes[..n].copy_from_slice(&rest[..n]);
        window.bytes[n..].fill(0);
        n as u32
    }
}

/// Ethernet header without a tag.
const ETHERNET: usize = 14;

/// Reads the headers of an Ethernet frame with the kernel side's own parser; `None` when it is not
/// IP or is cut too early.
pub fn frame(bytes: &[u8]) -> Option<Headers> {
    let ethertype = u16::from_be_bytes(bytes.get(12..ETHERNET)?.try_into().ok()?);
    let (mut window, mut out) = (Window::default(), parse::Packet::default());
    let packet = Network(&bytes[ETHERNET..]);
    parse::parse(&packet, ethertype, &mut window, &mut out).ok()?;
    let transport = ETHERNET + out.l4 as usize;
    Some(Headers {
        tuple: convert::tuple(&out.tuple).ok()?,
        encap: convert::encap(&out.tuple, &out.outer).ok()?,
        tcp_flags: out.tcp_flags as u8,
        ip_id: out.ip_id,
        ip_len: out.ip_len,
        ip_header: ip_header(bytes, transport, out.tuple.family),
        transport,
    })
}

/// Length of the IP header in front of a transport header. The version and length of IPv4 are in
/// its first byte; extension headers of IPv6 are not told apart from payload.
fn ip_header(bytes: &[u8], transport: usize, family: u8) -> u32 {
    if family == FAMILY_IPV6 {
        return 40;
    }
    let words = (5..=15).find(|words| {
        let start = transport.checked_sub(words * 4);
        start.and_then(|at| bytes.get(at)) == Some(&(0x40 | *words as u8))
    });
    words.map_or(20, |words| words as u32 * 4)
}
