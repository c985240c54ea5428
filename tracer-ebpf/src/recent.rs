//! Flows that a hook has seen moments ago on this CPU: what it counted of them since then, and what it
//! need not find out again.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::KeyWords;

/// A flow at a device, as the headers of its packets have it, and what is counted of it until it is
/// added to its entry in [`crate::map::FLOWS`].
#[repr(C, align(8))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Recent {
    /// [`crate::key::FlowKey`] as words, with the length of the link header in the reserved bytes of the last.
    pub key: KeyWords,
    /// Of its entry, see [`crate::key::digest`].
    pub digest: u64,
    /// `skb->_skb_refdst` without its flag bits: with another one the decision is to be read again.
    pub dst: u64,
    /// `skb->_nfct`: with another one the translation is to be read again.
    pub nfct: u64,
    /// From this time on its packets go the long way again.
    pub until_ns: u64,
    /// Last packet.
    pub last_ns: u64,
    /// Bytes with the link header.
    pub bytes: u64,
    /// Packets as they are on the wire.
    pub packets: u32,
    /// Of these: those that came in one socket buffer with another one.
    pub joined: u32,
    /// Largest packet on the wire without link header, bytes.
    pub max_len: u32,
    /// TCP flags, or-ed.
    pub tcp_flags: u8,
    /// Not 0: a lookup may say that its packets are delivered here.
    pub undecided: u8,
    /// One of the `RECENT_*` values.
    pub state: u16,
}

const _: () = assert!(size_of::<Recent>() == 128);

/// `Recent::state`: the place is free.
pub const RECENT_FREE: u16 = 0;
/// `Recent::state`: its packets are counted.
pub const RECENT_COUNTED: u16 = 1;
/// `Recent::state`: the filter does not want it.
pub const RECENT_UNWANTED: u16 = 2;

/// What a CPU says of its places.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Places {
    /// How many are taken.
    pub taken: u32,
    /// The last round in which they were emptied.
    pub round: u32,
}
