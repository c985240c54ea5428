//! Working memory of a hook: too large for the 512 bytes of BPF stack.

use tracer_abi::{
    drop::{DropKey, DropValue, IcmpKey, IcmpValue},
    flow::FlowEntry,
    fragment::{FragmentKey, FragmentValue},
    key::{KeyWords, Tuple},
    nat::{Nat, WantedKey},
    parse::{Packet, WINDOW, Window},
    route::{FailKey, FailValue, LookupSlot, Route},
};

use super::{conntrack::Tuples, kmem::Linear};

/// Bytes of `struct sk_buff` from `_skb_refdst` on that one read brings in; user space checks that
/// the members in [`super::skb`] lie within.
pub(super) const SKB_TAIL: usize = 136;

/// Memory for them.
#[repr(C, align(8))]
pub(super) struct SkbTail(pub(super) [u8; SKB_TAIL]);

/// Bytes that are copied of a packet whose headers are in pages: an Ethernet header in a tunnel of IPv6
/// with options and what is in it.
pub(super) const PAGED: usize = 256;

/// Hooks that need working memory; each has its own, because one can interrupt another.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Hook {
    Receive,
    TcEgress,
    KfreeSkb,
    Queue,
}

impl Hook {
    pub(super) const COUNT: u32 = 4;
}

#[repr(C)]
pub(super) struct Work {
    pub(super) window: Window,
    pub(super) packet: Packet,
    pub(super) about: Packet,
    pub(super) skb: SkbTail,
    /// See [`super::kmem::forgotten`].
    pub(super) scratch: u64,
    /// The tunnel key that the packet carries, 0 for none. Here and not in a register: what the
    /// verifier knows of it would double the paths through everything that follows.
    pub(super) tunnel_key: u32,
    pub(super) entry: FlowEntry,
    pub(super) digest: u64,
    /// The key of the packet as the first words of its headers have it.
    pub(super) glimpse: KeyWords,
    /// The free place for its flow, plus one; 0 for none.
    pub(super) place: u32,
    /// The place that the last packet was counted in, plus one; 0 when it went the long way.
    pub(super) hit: u32,
    /// Not 0 while the hook runs.
    busy: u32,
    /// Not 0 while its places are emptied.
    closed: u32,
    pub(super) route: Route,
    /// The decision as the dst entry has it.
    pub(super) before: Route,
    pub(super) drop_key: DropKey,
    pub(super) drop: DropValue,
    pub(super) icmp_key: IcmpKey,
    pub(super) icmp: IcmpValue,
    pub(super) ct: Tuples,
    pub(super) nat: Nat,
    /// The packet's tuple as something else than its headers has it.
    pub(super) view: Tuple,
    /// Where the packet's bytes are.
    pub(super) linear: Linear,
    /// The first bytes of a packet whose headers are in pages, and room for a window behind them.
    pub(super) paged: [u8; PAGED + WINDOW as usize],
    /// What an ICMP error says: type, code and MTU.
    pub(super) error: (u8, u8, u32),
    pub(super) wanted: WantedKey,
    pub(super) fragment: FragmentKey,
    pub(super) first: FragmentValue,
    /// Time of the packet.
    pub(super) now: u64,
    /// `skb->mark`.
    pub(super) mark: u32,
    /// Namespace of a packet that leaves.
    pub(super) netns: u32,
    /// As many bytes of a packet that comes in are in the window already.
    pub(super) ready: u32,
    /// It was dropped in a pod.
    pub(super) edge: bool,
    /// What came in by this key has no decision yet, which a lookup may give.
    pub(super) undecided: bool,
    /// Only the flow that this ICMP error complains about is wanted, not the error's own.
    pub(super) error_only: bool,
}

impl Work {
    /// The hook begins.
    #[inline(always)]
    pub(super) fn begin(&mut self) {
        (self.place, self.hit) = (0, 0);
        set(&mut self.busy, 1);
    }

    /// The hook ends, whichever way.
    #[inline(always)]
    pub(super) fn end(&mut self) {
        set(&mut self.busy, 0);
    }

    /// The hook was interrupted.
    #[inline(always)]
    pub(super) fn is_busy(&self) -> bool {
        get(&self.busy)
    }

    /// Its places are emptied, or that is over.
    #[inline(always)]
    pub(super) fn close(&mut self, closed: bool) {
        set(&mut self.closed, u32::from(closed));
    }

    /// The hook interrupted who empties its places.
    #[inline(always)]
    pub(super) fn is_closed(&self) -> bool {
        get(&self.closed)
    }
}

/// Volatile: one of the two that look at it interrupts the other.
#[inline(always)]
fn set(flag: &mut u32, to: u32) {
    // SAFETY: a reference.
    unsafe { core::ptr::write_volatile(flag, to) };
}

#[inline(always)]
fn get(flag: &u32) -> bool {
    // SAFETY: a reference.
    unsafe { core::ptr::read_volatile(flag) != 0 }
}

/// Working memory of a fib hook.
#[repr(C)]
pub(super) struct LookupWork {
    pub(super) slot: LookupSlot,
    pub(super) key: FailKey,
    pub(super) fail: FailValue,
    /// See [`super::kmem::forgotten`].
    pub(super) scratch: u64,
}
