//! The last fib lookups of this CPU, to be joined to the packet that they were made for.

use tracer_abi::{
    key::Tuple,
    route::{
        ABOUT_OUTPUT, LookupSlot, ROUTE_DST, ROUTE_LOOKUP, ROUTE_OTHER_NEXTHOP, ROUTE_REVERSED,
        Route,
    },
};

use super::maps::lookup_slot;

/// A lookup older than this belongs to another packet: batches are done within microseconds.
const MAX_AGE_NS: u64 = 100_000_000;
/// `LOOPBACK_IFINDEX`: the in-device of lookups for output.
const OUTPUT: u32 = 1;
/// `RT_TABLE_LOCAL`.
const TABLE_LOCAL: u32 = 255;

#[inline(always)]
fn words(a: &[u8; 16]) -> [u32; 4] {
    // SAFETY: sixteen bytes are four words; unaligned is allowed here.
    unsafe { a.as_ptr().cast::<[u32; 4]>().read_unaligned() }
}

#[inline(always)]
pub(super) fn same(a: &[u8; 16], b: &[u8; 16]) -> bool {
    let (a, b) = (words(a), words(b));
    ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0
}

/// Slot of a pair of addresses.
#[inline(always)]
pub(super) fn index(saddr: &[u8; 16], daddr: &[u8; 16]) -> u32 {
    let (s, d) = (words(saddr), words(daddr));
    let s = s[0] ^ s[1] ^ s[2] ^ s[3];
    let d = d[0] ^ d[1] ^ d[2] ^ d[3];
    (s.wrapping_mul(0x9e37_79b1) ^ d.wrapping_mul(0x85eb_ca6b)) >> 20
}

/// The lookup for exactly these addresses; `None` when it is another's or too old.
#[inline(always)]
fn find(saddr: &[u8; 16], daddr: &[u8; 16], netns: u32, now: u64) -> Option<&'static LookupSlot> {
    // SAFETY: this CPU's own element; it is only read here.
    let slot = unsafe { &*lookup_slot(index(saddr, daddr))? };
    let fresh = now.wrapping_sub(slot.ts_ns) < MAX_AGE_NS;
    if fresh && slot.netns == netns && same(&slot.saddr, saddr) && same(&slot.daddr, daddr) {
        Some(slot)
    } else {
        None
    }
}

/// Adds what the lookup of this packet says to the decision read from its dst entry.
///
/// `iif` is the device it came in by, 0 for local output (whose lookup says 1, loopback, and may
/// have left the source open).
#[inline(always)]
pub(super) fn join(route: &mut Route, t: &Tuple, netns: u32, iif: u32, now: u64) {
    let lookup_iif = if iif == 0 { OUTPUT } else { iif };
    let mut slot = find(&t.saddr, &t.daddr, netns, now);
    if slot.is_none() && iif == 0 {
        slot = find(&[0; 16], &t.daddr, netns, now);
    }
    let Some(slot) = slot else { return };
    if slot.family != t.family {
        return;
    }
    if slot.iif != lookup_iif {
        if slot.by_program == 0 {
            return;
        }
        route.about |= ABOUT_OUTPUT;
    }
    if slot.errno == 0 && route.how & ROUTE_DST != 0 && slot.oif != route.oif {
        // one of several next hops: the event always names the first one
        route.how |= ROUTE_OTHER_NEXTHOP;
    }
    route.how |= ROUTE_LOOKUP;
    // Local and main share one trie until the first rule is added, so that the event for a local
    // route says 254 then.
    route.table = if route.kind == 2 && slot.table == 254 {
        TABLE_LOCAL
    } else {
        slot.table
    };
    if route.kind == 0 {
        route.kind = slot.kind;
    }
    if route.error == 0 {
        route.error = slot.errno;
    }
    if route.metric == 0 {
        route.metric = slot.metric;
    }
    if route.oif == 0 {
        route.oif = slot.oif;
    }
}

/// The reversed lookup that source validation made for this packet: the device that `rp_filter`
/// expected it on.
#[inline(always)]
pub(super) fn reverse(route: &mut Route, t: &Tuple, netns: u32, now: u64) {
    let Some(slot) = find(&t.daddr, &t.saddr, netns, now) else {
        return;
    };
    route.how |= ROUTE_LOOKUP | ROUTE_REVERSED;
    route.table = slot.table;
    route.oif = slot.oif;
    route.error = slot.errno;
}
