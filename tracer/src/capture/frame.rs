//! A packet as an Ethernet frame, which is what all interfaces of a capture say that they have.

use crate::event::RawPacket;

/// Bytes that a frame can have more than what was captured of its packet.
pub(super) const FRAME_MORE: u32 = ETHERNET as u32 + TAG as u32;

const ETHERNET: usize = 14;
const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// The captured bytes with what is put before or between them.
pub(super) struct Frame<'a> {
    before: &'a [u8],
    added: [u8; ETHERNET],
    added_len: usize,
    behind: &'a [u8],
}

impl<'a> Frame<'a> {
    /// A packet with an Ethernet header is kept, and its tag put back behind the addresses when the
    /// device took it out. Any other link header is replaced by one of zeros with the `EtherType`.
    pub(super) fn of(p: &RawPacket<'a>) -> Self {
        let mut added = [0; ETHERNET];
        // plain, or with one or two tags
        if matches!(p.link, 14 | 18 | 22) {
            if p.vlan_tci == 0 || p.bytes.len() < ADDRESSES {
                return Self {
                    before: &[],
                    added,
                    added_len: 0,
                    behind: p.bytes,
                };
            }
            let (before, behind) = p.bytes.split_at(ADDRESSES);
            added[..2].copy_from_slice(&0x8100u16.to_be_bytes());
            added[2..TAG].copy_from_slice(&p.vlan_tci.to_be_bytes());
            return Self {
                before,
                added,
                added_len: TAG,
                behind,
            };
        }
        added[ADDRESSES..].copy_from_slice(&p.ethertype.to_be_bytes());
        let link = usize::from(p.link).min(p.bytes.len());
        Self {
            before: &[],
            added,
            added_len: ETHERNET,
            behind: &p.bytes[link..],
        }
    }

    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [self.before, &self.added[..self.added_len], self.behind]
    }

    pub(super) fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}
