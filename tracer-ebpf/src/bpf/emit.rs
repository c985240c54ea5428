//! Records into the ring buffer. A full buffer is counted, never waited for.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use tracer_abi::{counter::Counter, record::RecordHeader};

use super::maps::{EVENTS, count};

/// Header and payload as they lie in the ring buffer.
#[repr(C)]
struct Framed<T> {
    header: RecordHeader,
    payload: T,
}

/// Wakes the reader at once; otherwise it looks by itself several times a second.
pub(super) const WAKE: u64 = 2; // BPF_RB_FORCE_WAKEUP
/// Leaves the reader asleep.
pub(super) const QUIET: u64 = 1; // BPF_RB_NO_WAKEUP

/// Sends one record. `fill` writes the payload in place.
#[inline(always)]
pub(super) fn emit<T: 'static>(kind: u16, flags: u64, fill: impl FnOnce(*mut T)) {
    let Some(mut entry) = EVENTS.reserve::<Framed<T>>(0) else {
        count(Counter::RingFull);
        return;
    };
    let p = entry.as_mut_ptr();
    // SAFETY: `p` is a reserved record of this type; both parts are written before it is sent.
    unsafe {
        (*p).header = RecordHeader {
            ts_ns: bpf_ktime_get_ns(),
            kind,
            cpu: bpf_get_smp_processor_id() as u16,
            len: size_of::<T>() as u32,
        };
        fill(&raw mut (*p).payload);
    }
    entry.submit(flags);
}
