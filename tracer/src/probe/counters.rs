//! The kernel side's own counters.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use tracer_abi::counter::{COUNTERS, Counter};

use super::{ProbeError, table::recursion_misses};

/// Sums over all CPUs, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters([u64; COUNTERS as usize]);

impl KernelCounters {
    /// Reads them.
    pub(super) fn read(map: &PerCpuArray<MapData, u64>) -> Result<Self, ProbeError> {
        let mut sums = [0; COUNTERS as usize];
        for (i, sum) in sums.iter_mut().enumerate() {
            let per_cpu = map.get(&(i as u32), 0).map_err(|e| ProbeError::Map {
                name: tracer_abi::map::COUNTERS,
                source: Box::new(e),
            })?;
            *sum = per_cpu.iter().sum();
        }
        Ok(Self(sums))
    }

    /// One of them.
    pub fn get(&self, c: Counter) -> u64 {
        self.0[c as usize]
    }
}

/// The programs at route lookups, and those that run as well.
const LOOKUPS: [&str; 2] = ["tracer_fib4", "tracer_fib6"];
const AGAIN: [&str; 2] = ["tracer_fib4_again", "tracer_fib6_again"];

/// How often the kernel skipped programs that were already running on that CPU, since they were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// At route lookups, in any namespace; of these [`Counter::LookupsAgain`] were seen nevertheless.
    pub lookups: u64,
    /// At packets.
    pub packets: u64,
}

impl Skipped {
    /// Reads it; 0 where the kernel does not count (before 5.12).
    pub(super) fn read(ebpf: &Ebpf) -> Self {
        let mut skipped = Self::default();
        let programs = ebpf.programs().filter(|(name, _)| !AGAIN.contains(name));
        for (name, program) in programs {
            let misses = program
                .fd()
                .map(|fd| recursion_misses(fd.as_fd()).unwrap_or(0));
            let sum = if LOOKUPS.contains(&name) {
                &mut skipped.lookups
            } else {
                &mut skipped.packets
            };
            *sum += misses.unwrap_or(0);
        }
        skipped
    }
}
