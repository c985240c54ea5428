//! What each CPU did last: the packet that it received, the lookup that it made, the time that it read.

use aya_ebpf::{
    helpers::{bpf_jiffies64, bpf_ktime_get_ns},
    macros::map,
    maps::PerCpuArray,
};
use tracer_abi::{entries, route::LookupSlot};

use super::maps::{lookup_slot, snaplen};

#[map]
static LAST: PerCpuArray<Last> = PerCpuArray::with_max_entries(1, 0);

/// In `Last::lookup`: the place is one of `TASK_LOOKUPS`.
const OF_TASK: u32 = 1 << 31;
/// [`clock`]: under load the time is more exact than a tick, and where ticks come late.
const CLOCK_CALLS: u64 = 64;

/// What this CPU did last.
#[repr(C)]
struct Last {
    /// Namespace of the last packet received: the only way to tell where an input lookup of IPv4
    /// that found nothing belongs (the tracepoint has neither device nor namespace then).
    netns: u32,
    /// Place of the last lookup since then, plus one; 0 for none.
    lookup: u32,
    /// Table that the last walk of source validation with ports began with.
    reversed_from: u32,
    /// [`clock`].
    now: u64,
    /// Jiffies when the clock was read.
    jiffies: u64,
    /// How often [`clock`] was asked since.
    asked: u64,
    /// Jiffies when the table of flows was last found full.
    full: u64,
}

/// A packet was received; lookups of earlier ones are over.
#[inline(always)]
pub(super) fn set_last_rx(netns: u32) {
    if let Some(p) = LAST.get_ptr_mut(0) {
        // SAFETY: this CPU's own element.
        unsafe {
            (*p).netns = netns;
            (*p).lookup = 0;
        }
    }
}

/// The time, at most a tick (1–10 ms) or so many calls old, and later with each call on a CPU. For what
/// is known already nobody asks for more, and reading the clock takes as long as counting a packet. A
/// recording has the time itself of each packet.
#[inline(always)]
pub(super) fn clock() -> u64 {
    if snaplen() != 0 {
        return set_clock();
    }
    let Some(p) = LAST.get_ptr_mut(0) else {
        return set_clock();
    };
    // SAFETY: this CPU's own element; the helper is a load of `jiffies`.
    unsafe {
        (*p).asked += 1;
        if (*p).jiffies != bpf_jiffies64() || (*p).asked > CLOCK_CALLS {
            return set_clock();
        }
        (*p).now += 1;
        (*p).now
    }
}

/// The table of flows was full within this tick. To ask for a free entry again for each packet of flows that
/// have none costs several times as much as counting it, and user space makes room a few times a second.
#[inline(always)]
pub(super) fn flows_are_full() -> bool {
    // SAFETY: this CPU's own element; the helper is a load of `jiffies`.
    LAST.get_ptr(0)
        .is_some_and(|p| unsafe { (*p).full == bpf_jiffies64() })
}

#[inline(always)]
pub(super) fn set_flows_full() {
    if let Some(p) = LAST.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { (*p).full = bpf_jiffies64() };
    }
}

/// The time itself, which [`clock`] goes on from.
#[inline(always)]
pub(super) fn set_clock() -> u64 {
    // SAFETY: helpers without arguments; this CPU's own element.
    unsafe {
        let now = bpf_ktime_get_ns();
        if let Some(p) = LAST.get_ptr_mut(0) {
            (*p).now = now;
            (*p).jiffies = bpf_jiffies64();
            (*p).asked = 0;
        }
        now
    }
}

#[inline(always)]
pub(super) fn last_rx() -> u32 {
    // SAFETY: this CPU's own element.
    LAST.get_ptr(0).map_or(0, |p| unsafe { (*p).netns })
}

#[inline(always)]
pub(super) fn set_last_lookup(of_task: bool, place: u32) {
    if let Some(p) = LAST.get_ptr_mut(0) {
        let place = (place & (entries::TASK_LOOKUPS - 1)) + 1;
        // SAFETY: this CPU's own element.
        unsafe { (*p).lookup = if of_task { place | OF_TASK } else { place } };
    }
}

/// Where to keep the table that a walk of source validation began with.
#[inline(always)]
pub(super) fn reversed_from() -> Option<*mut u32> {
    // SAFETY: this CPU's own element.
    LAST.get_ptr_mut(0)
        .map(|p| unsafe { &raw mut (*p).reversed_from })
}

/// The last lookup on this CPU since a packet was received.
#[inline(always)]
pub(super) fn last_lookup() -> Option<&'static LookupSlot> {
    // SAFETY: this CPU's own element, and a place that is only read.
    unsafe {
        match (*LAST.get_ptr(0)?).lookup {
            0 => None,
            place => {
                let at = (place & !OF_TASK).wrapping_sub(1);
                lookup_slot(place & OF_TASK != 0, at).map(|p| &*p)
            }
        }
    }
}
