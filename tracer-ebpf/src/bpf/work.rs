//! Working memory of a hook: too large for the 512 bytes of BPF stack.

use tracer_abi::{
    drop::{DropKey, DropValue, IcmpKey, IcmpValue},
    flow::FlowValue,
    key::FlowKey,
    parse::{Packet, Window},
    route::{FailKey, FailValue, LookupSlot, Route},
};

/// Bytes of `struct sk_buff` from `_skb_refdst` on that one read brings in; user space checks that
/// the members in [`super::skb`] lie within.
pub(super) const SKB_TAIL: usize = 136;

/// Hooks that need working memory; each has its own, because one can interrupt another.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Hook {
    Receive,
    TcEgress,
    KfreeSkb,
}

impl Hook {
    pub(super) const COUNT: u32 = 3;
}

#[repr(C)]
pub(super) struct Work {
    pub(super) window: Window,
    pub(super) packet: Packet,
    pub(super) about: Packet,
    pub(super) skb: [u8; SKB_TAIL],
    pub(super) key: FlowKey,
    pub(super) value: FlowValue,
    pub(super) route: Route,
    pub(super) drop_key: DropKey,
    pub(super) drop: DropValue,
    pub(super) icmp_key: IcmpKey,
    pub(super) icmp: IcmpValue,
}

/// Working memory of a fib hook.
#[repr(C)]
pub(super) struct LookupWork {
    pub(super) slot: LookupSlot,
    pub(super) key: FailKey,
    pub(super) fail: FailValue,
}
