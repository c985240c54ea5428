//! Working memory of a hook: too large for the 512 bytes of BPF stack.

use tracer_abi::{
    drop::{DropKey, DropValue, IcmpKey, IcmpValue},
    flow::FlowEntry,
    fragment::{FragmentKey, FragmentValue},
    key::Tuple,
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
    /// It was dropped in a pod.
    pub(super) edge: bool,
    /// What came in by this key has no decision yet, which a lookup may give.
    pub(super) undecided: bool,
    /// Only the flow that this ICMP error complains about is wanted, not the error's own.
    pub(super) error_only: bool,
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
