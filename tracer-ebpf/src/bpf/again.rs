//! A second program at each lookup, for those that the first was not called for.
//!
//! The kernel does not call a program that is already running on the CPU (`__bpf_trace_run()`,
//! `kernel/trace/bpf_trace.c`). From Linux 7.0 on tasks that send can be preempted within a
//! tracepoint, where another sender's lookup would be missed then. The second program has a count
//! of its own: it runs, and finds out whether the first did.

use tracer_abi::{counter::Counter, entries};

use super::{
    kmem::forgotten,
    maps::{count, lookup_twice, lookup_work, told},
};

/// Which of two programs at a tracepoint this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    Second,
}

impl Turn {
    /// It is for this program to look at the lookup that asks for what is at `flow`.
    ///
    /// That is on the stack of the task or of the interrupt, so that no two lookups have it there at
    /// the same time, on whatever CPU.
    #[inline(always)]
    pub(super) fn is_here(self, flow: usize, family: u32) -> bool {
        if !lookup_twice() {
            return true;
        }
        let Some(w) = lookup_work(self.memory(family)) else {
            return true;
        };
        let flow = forgotten(flow as u64, &mut w.scratch);
        // a kernel stack has 16 KiB
        let stack = (flow >> 14) as u32;
        let Some(place) = told((stack ^ stack >> 10) & (entries::TOLD - 1)) else {
            return true;
        };
        // SAFETY: an element that others may write to; what it has then is another flow's.
        unsafe {
            if self == Self::First {
                place.write_volatile(flow);
                return true;
            }
            if place.read_volatile() == flow {
                place.write_volatile(0);
                return false;
            }
        }
        count(Counter::LookupsAgain);
        true
    }

    /// Its working memory, one for each family: they may interrupt each other.
    #[inline(always)]
    pub(super) fn memory(self, family: u32) -> u32 {
        family + if self == Self::First { 0 } else { 2 }
    }
}
