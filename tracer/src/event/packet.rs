//! One packet with its bytes, as a recording keeps it.

use super::{Dir, DropPlace, EncapKey, HopKey, Ifindex, KtimeNs, NetnsId, Tuple};

/// Where a packet was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketPlace {
    /// Passing a device.
    Device(Dir),
    /// Ending.
    Drop(DropPlace),
}

/// One packet at one place, with its first bytes. Borrowed from the record that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPacket<'a> {
    /// When.
    pub at: KtimeNs,
    /// Address of the socket buffer, to tell which observations are of the same packet.
    pub skb: u64,
    /// Innermost addresses; `None` when they could not be read.
    pub tuple: Option<Tuple>,
    /// Encapsulation around them.
    pub encap: Option<EncapKey>,
    /// Namespace; `None` when a dropped packet carried none.
    pub netns: Option<NetnsId>,
    /// Device.
    pub dev: Option<Ifindex>,
    /// Device it came in by, for what leaves or ends.
    pub in_dev: Option<Ifindex>,
    /// Device or end.
    pub place: PacketPlace,
    /// Bytes of the whole packet, with the link header where there is one.
    pub len: u32,
    /// Wire segments.
    pub segs: u32,
    /// Payload bytes of each segment but the last; 0 for a whole packet.
    pub gso_size: u32,
    /// TCP flags.
    pub tcp_flags: u8,
    /// IPv4 identification or IPv6 fragment identification.
    pub ip_id: u32,
    /// Bytes of the link header in `bytes`; 0 for none.
    pub link: u16,
    /// VLAN tag that the device took out of the packet; 0 for none.
    pub vlan_tci: u16,
    /// `EtherType` of the network header.
    pub ethertype: u16,
    /// The first bytes.
    pub bytes: &'a [u8],
}

impl RawPacket<'_> {
    /// The key under which the flow is counted at this device; `None` for an end.
    pub fn hop_key(&self) -> Option<HopKey> {
        let PacketPlace::Device(dir) = self.place else {
            return None;
        };
        Some(HopKey {
            tuple: self.tuple?,
            encap: self.encap,
            netns: self.netns?,
            dev: self.dev?,
            dir,
            in_dev: self.in_dev.filter(|_| dir == Dir::Out),
            tunnel_key: None,
        })
    }
}
