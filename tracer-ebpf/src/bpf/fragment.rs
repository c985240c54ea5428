//! Later fragments get the ports of the first one.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_ktime_get_ns};
use tracer_abi::{
    filter::outer_proto,
    fragment::{FragmentKey, FragmentValue},
    parse::{FRAGMENT_LATER, FRAGMENT_NONE, FRAGMENT_OUTER, Packet},
};

use super::{maps::FRAGMENTS, work::Work};

/// A first fragment older than this is of another packet with the same identification: the kernel
/// waits as long for the rest (`ipfrag_time`, 30 s).
const MAX_AGE_NS: u64 = 30_000_000_000;

#[inline(always)]
fn fill(key: &mut FragmentKey, p: &Packet, netns: u32) {
    let t = &p.tuple;
    if p.fragment == FRAGMENT_OUTER {
        key.saddr = p.outer.saddr;
        key.daddr = p.outer.daddr;
        key.family = p.outer.family;
        key.proto = outer_proto(t.encap);
        key.encap = 0;
        key.vni = 0;
    } else {
        key.saddr = t.saddr;
        key.daddr = t.daddr;
        key.family = t.family;
        key.proto = t.proto;
        key.encap = t.encap;
        key.vni = t.vni;
    }
    key.id = p.fragment_id;
    key.netns = netns;
    key.reserved = 0;
}

/// Gives a later fragment the addresses and ports that the first one had. When the first one was
/// not seen before it, the fragment stays without ports.
#[inline(always)]
pub(super) fn resolve(w: &mut Work, netns: u32) {
    if w.packet.fragment != FRAGMENT_LATER {
        return;
    }
    fill(&mut w.fragment, &w.packet, netns);
    if let Some(first) = FRAGMENTS.get_ptr(&w.fragment) {
        // SAFETY: a map value; another CPU may replace it by the first fragment of another packet
        // of the same ends and identification, which the kernel would mix up as well.
        let first = unsafe { &*first };
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        if now.wrapping_sub(first.ts_ns) < MAX_AGE_NS {
            w.packet.tuple = first.tuple;
            w.packet.outer = first.outer;
        }
    }
}

/// The packet is one of several fragments.
#[inline(always)]
pub(super) fn is_one(p: &Packet) -> bool {
    p.fragment != FRAGMENT_NONE
}

/// Remembers the first fragment of a packet for the later ones.
#[inline(always)]
pub(super) fn remember(w: &mut Work, netns: u32) {
    if w.packet.fragment == FRAGMENT_NONE || w.packet.fragment == FRAGMENT_LATER {
        return;
    }
    fill(&mut w.fragment, &w.packet, netns);
    w.first = FragmentValue {
        // SAFETY: a helper without arguments.
        ts_ns: unsafe { bpf_ktime_get_ns() },
        tuple: w.packet.tuple,
        outer: w.packet.outer,
        reserved: [0; 4],
    };
    // an LRU map: without a place the later fragments only lack their ports
    let _full = FRAGMENTS.insert(&w.fragment, &w.first, u64::from(BPF_ANY));
}
