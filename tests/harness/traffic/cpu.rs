//! On which CPU a sender runs.

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The first and the last CPU of the calling thread; it may run on all it had again afterwards.
#[derive(Debug, Default)]
pub(super) struct Ends(Option<(usize, usize, CpuSet)>);

impl Ends {
    /// Of those that the calling thread may run on.
    pub(super) fn of_thread() -> Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0)).context("cannot read the CPUs")?;
        let mut allowed = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu) == Ok(true));
        let first = allowed.next().context("no CPU")?;
        Ok(Self(Some((
            first,
            allowed.next_back().unwrap_or(first),
            all,
        ))))
    }

    /// To the first one. Without any, the thread stays where it is.
    pub(super) fn first(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |ends| pin(ends.0))
    }

    /// To the last one.
    pub(super) fn last(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |ends| pin(ends.1))
    }
}

/// The calling thread runs on `cpu` until the value is dropped.
pub(super) fn pinned(cpu: usize) -> Result<Ends> {
    let ends = Ends::of_thread()?;
    pin(cpu)?;
    Ok(ends)
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some((_, _, all)) = &self.0 {
            // a thread that stays on one CPU sends no less
            let _restored = sched_setaffinity(Pid::from_raw(0), all);
        }
    }
}

fn pin(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &one).with_context(|| format!("cannot run on CPU {cpu}"))
}
