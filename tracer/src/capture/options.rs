//! Options of a pcapng block: those that each packet has, and how they are read.

use super::block::{EPB_FLAGS, EPB_PACKETID, OPT_PLACE};
use crate::event::RawPacket;

/// Bytes of flags, packet id, place and the end of the options.
const ALWAYS: usize = 8 + 12 + 16 + 4;

/// The options that each packet has, and the end of its options, in one piece.
pub(super) fn always(flags: u32, id: u64, p: &RawPacket<'_>) -> [u8; ALWAYS] {
    let mut out = [0; ALWAYS];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let head = |code: u16, len: u16| {
        let (code, len) = (u32::from(code), u32::from(len));
        (len << 16 | code).to_le_bytes()
    };
    put(&head(EPB_FLAGS, 4));
    put(&flags.to_le_bytes());
    put(&head(EPB_PACKETID, 8));
    put(&id.to_le_bytes());
    put(&head(OPT_PLACE, 12));
    put(&p.segs.to_le_bytes());
    put(&p.in_dev.unwrap_or_default().0.to_le_bytes());
    put(&p.gso_size.to_le_bytes());
    // the remaining four bytes are the end of the options
    out
}

/// Walks options; ends at the end of them, or where they make no sense.
pub(super) struct Options<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = u16_at(self.0, 0)?;
        let len = usize::from(u16_at(self.0, 2)?);
        if code == 0 {
            self.0 = &[];
            return None;
        }
        let value = self.0.get(4..4 + len)?;
        self.0 = self
            .0
            .get(4 + len.next_multiple_of(4)..)
            .unwrap_or_default();
        Some((code, value))
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let b = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(b.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let b = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(b.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let b = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(b.try_into().ok()?))
}
