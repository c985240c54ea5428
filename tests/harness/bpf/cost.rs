//! What BPF programs cost, as the kernel counts it while `kernel.bpf_stats_enabled` is set. Its own
//! measuring is in the numbers: about 55 ns for each run of a program.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

use super::programs;

const SETTING: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Turns the counting on, and back to what it was when dropped.
#[derive(Debug)]
pub struct Counting(String);

impl Counting {
    /// From now on runs are counted.
    pub fn on() -> Result<Self> {
        let before = fs::read_to_string(SETTING).context(SETTING)?;
        fs::write(SETTING, "1").context(SETTING)?;
        Ok(Self(before))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // nothing can be done about a failure here; the setting costs and breaks nothing
        drop(fs::write(SETTING, self.0.trim()));
    }
}

/// What one program did since it was loaded, as far as that was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often it ran.
    pub runs: u64,
    /// How long that took in all, nanoseconds.
    pub ns: u64,
}

/// The programs that a process holds, by name.
pub fn of_process(pid: u32) -> Result<BTreeMap<String, Runs>> {
    let names: BTreeMap<u64, String> = programs()?
        .into_iter()
        .map(|program| (u64::from(program.id), program.name))
        .collect();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // a descriptor that was closed meanwhile is no program
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let number = |key: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        if let (Some(id), Some(ns), Some(runs)) =
            (number("prog_id"), number("run_time_ns"), number("run_cnt"))
        {
            let name = names.get(&id).cloned().unwrap_or_else(|| id.to_string());
            found.insert(name, Runs { runs, ns });
        }
    }
    Ok(found)
}
