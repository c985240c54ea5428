//! Has each CPU add what it counted in places of its own to the flows' entries.

use std::cell::Cell;

use aya::{
    TestRun as _,
    maps::{MapData, MapError, PerCpuArray},
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions},
    sys::SyscallError,
};
use tracer_abi::{map, recent::Places};
use zerocopy::FromBytes as _;

use super::{Probe, ProbeError};

/// The program that does it.
pub(super) const SETTLE: &str = "tracer_settle";
/// A CPU that is found in the middle of a packet is asked again. A packet takes less than a microsecond, so
/// that even one that does nothing else is found outside of it soon.
const TRIES: u32 = 10_000;

/// What is known of the CPUs' places.
pub(super) struct Recent {
    // as large as `Places`, for which this library cannot read it
    places: PerCpuArray<MapData, u64>,
    round: Cell<u32>,
}

impl Recent {
    pub(super) fn new(places: PerCpuArray<MapData, u64>) -> Self {
        Self {
            places,
            round: Cell::new(0),
        }
    }

    /// What each possible CPU says.
    fn read(&self) -> Result<Vec<Places>, ProbeError> {
        let error = |e: MapError| ProbeError::Map {
            name: map::PLACES,
            source: Box::new(e),
        };
        let all = self.places.get(&0, 0).map_err(error)?;
        let places = |word: &u64| Places::read_from_bytes(&word.to_ne_bytes()).unwrap_or_default();
        Ok(all.iter().map(places).collect())
    }
}

impl Probe {
    /// Has the table of flows be complete: what CPUs counted beside it since the last time is in it then.
    ///
    /// A CPU begins to count beside it only after the first time, so that nothing is where this is not
    /// possible.
    pub fn settle(&self) -> Result<(), ProbeError> {
        let program: Option<&RawTracePoint> = self
            .ebpf
            .program(SETTLE)
            .and_then(|p| p.try_into().ok())
            .filter(|p: &&RawTracePoint| p.fd().is_ok());
        let Some(program) = program else {
            return Ok(());
        };
        let round = self.recent.round.get().wrapping_add(1).max(1);
        self.recent.round.set(round);
        let all = (0..).zip(self.recent.read()?);
        let mut waiting: Vec<(u32, Places)> =
            all.filter(|(_, p)| p.taken != 0 || p.round == 0).collect();
        for _ in 0..TRIES {
            waiting.retain(|(cpu, p)| run(program, (*cpu, p.taken != 0), round));
            if waiting.is_empty() {
                return Ok(());
            }
            let now = self.recent.read()?;
            let is_left = |cpu: u32| now.get(cpu as usize).is_some_and(|p| p.round != round);
            waiting.retain(|(cpu, _)| is_left(*cpu));
        }
        let cpus: Vec<u32> = waiting.iter().map(|(cpu, _)| *cpu).collect();
        tracing::warn!("what CPUs {cpus:?} counted is late: they were always in a packet");
        Ok(())
    }
}

/// Runs the program for the places of a CPU. False when there is no point in looking whether it was done.
fn run(program: &RawTracePoint, (cpu, taken): (u32, bool), round: u32) -> bool {
    let mut args = [0; 12];
    (args[0], args[1]) = (u64::from(cpu), u64::from(round));
    let on = |cpu| program.test_run(RawTracePointRunOptions { args, cpu });
    match on(Some(cpu)) {
        Ok(_) => true,
        // it is offline, and nobody uses its places
        Err(ProgramError::SyscallError(SyscallError { io_error, .. }))
            if io_error.raw_os_error() == Some(libc::ENXIO) =>
        {
            if taken && let Err(e) = on(None) {
                tracing::debug!("cannot settle the counts of CPU {cpu}, which is offline: {e}");
            }
            false
        }
        Err(e) => {
            tracing::debug!("cannot settle the counts of CPU {cpu}: {e}");
            false
        }
    }
}
