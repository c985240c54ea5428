//! Run by user space before it reads the tables, on each CPU that counted packets of flows in places of
//! its own: adds these counts to the flows' entries and frees the places.
//!
//! Attached to nothing; `BPF_PROG_TEST_RUN` runs it, on another CPU in an interrupt.

use aya_ebpf::{
    helpers::bpf_get_smp_processor_id, macros::raw_tracepoint, programs::RawTracePointContext,
};
use tracer_abi::{entries, recent::RECENT_FREE};

use crate::bpf::{
    maps::{places, recent, work},
    recent::tracer_settle_one,
    work::Hook,
};

/// Arguments: the CPU whose places to empty, this one or one that is offline, and the number of the round,
/// which is left in `PLACES` when that was done.
#[raw_tracepoint]
fn tracer_settle(ctx: RawTracePointContext) -> i32 {
    let (cpu, round) = (ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) as u32);
    // SAFETY: a helper without arguments.
    if unsafe { bpf_get_smp_processor_id() } != cpu {
        tracer_settle_all(cpu);
        return 0;
    }
    let (Some(a), Some(b)) = (work(Hook::Receive), work(Hook::TcEgress)) else {
        return 0;
    };
    // interrupted by us: what it does with its places is not complete
    if a.is_busy() || b.is_busy() {
        return 0;
    }
    a.close(true);
    b.close(true);
    tracer_settle_all(cpu);
    if let Some(places) = places() {
        (places.taken, places.round) = (0, round);
    }
    a.close(false);
    b.close(false);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_settle_all(cpu: u32) -> u32 {
    let first = cpu.wrapping_mul(entries::RECENT);
    for i in 0..entries::RECENT {
        let i = first.wrapping_add(i);
        if recent(i).is_some_and(|p| p.state != RECENT_FREE) {
            tracer_settle_one(i);
        }
    }
    1
}
