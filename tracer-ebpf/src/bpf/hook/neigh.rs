//! `neigh_timer_handler`: a next hop that does not answer ARP or ND.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::{
    key::{FAMILY_IPV4, FAMILY_IPV6},
    offset::Off,
    record::{KIND_NEIGH, NeighRecord},
};

use crate::bpf::{
    emit::{WAKE, emit},
    kmem::{ld, read_at},
    maps::{netns_full, off},
    skb::place,
};

/// `NUD_FAILED` of `linux/neighbour.h`.
const NUD_FAILED: u8 = 0x20;

#[btf_tracepoint(function = "neigh_timer_handler")]
fn tracer_neigh(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the first argument is the `neighbour` on every kernel.
    unsafe {
        let neigh = ctx.arg::<*const u8>(0) as usize;
        let state: u8 = ld(neigh, Off::NeighState);
        if state & NUD_FAILED == 0 {
            return 0;
        }
        let dev: usize = ld(neigh, Off::NeighDev);
        let at = place(dev);
        if !netns_full(at.netns) {
            return 0;
        }
        let table: usize = ld(neigh, Off::NeighTable);
        let family: i32 = ld(table, Off::NeighTableFamily);
        let key = neigh as u64 + off(Off::NeighKey) as u64;
        let queued: u32 = ld(neigh, Off::NeighQueueLen);
        emit::<NeighRecord>(KIND_NEIGH, WAKE, |p| {
            (*p).address = [0; 16];
            if family == 2 {
                let a: [u8; 4] = read_at(key);
                (*p).address[0] = a[0];
                (*p).address[1] = a[1];
                (*p).address[2] = a[2];
                (*p).address[3] = a[3];
                (*p).family = FAMILY_IPV4;
            } else {
                (*p).address = read_at(key);
                (*p).family = FAMILY_IPV6;
            }
            (*p).netns = at.netns;
            (*p).ifindex = at.ifindex;
            (*p).state = u32::from(state);
            (*p).queued = queued;
            (*p).reserved = [0; 3];
        });
    }
    0
}
