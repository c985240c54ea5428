//! The kernel side's own counters.

use aya::maps::{MapData, PerCpuArray};
use tracer_abi::counter::{COUNTERS, Counter};

use super::ProbeError;

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
