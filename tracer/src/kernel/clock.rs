//! The time: the only place that reads a clock.

use std::{
    fs,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::event::KtimeNs;

/// How far `CLOCK_MONOTONIC` of this process is ahead of the kernel's own (`time_namespaces(7)`; a
/// container that was moved from another machine has such an offset). It cannot change while a
/// process runs.
static AHEAD_NS: OnceLock<i64> = OnceLock::new();

/// `CLOCK_MONOTONIC` now, the clock of the kernel side (`bpf_ktime_get_ns`).
pub fn now() -> KtimeNs {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec to write to; this clock always exists, so that the call
    // cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let ahead = *AHEAD_NS.get_or_init(|| {
        // where there are no time namespaces there is no such file
        fs::read_to_string("/proc/self/timens_offsets").map_or(0, |text| offset_ns(&text))
    });
    let ours = time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
    KtimeNs(ours.wrapping_sub(ahead.cast_unsigned()))
}

/// The line `monotonic SECONDS NANOSECONDS`.
fn offset_ns(text: &str) -> i64 {
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("monotonic"));
    let mut numbers = line
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map_while(|number| number.parse::<i64>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(seconds), Some(ns)) => seconds.saturating_mul(1_000_000_000).saturating_add(ns),
        _ => 0,
    }
}

/// Turns times of the kernel side into wall clock times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds since 1970 at `CLOCK_MONOTONIC` 0.
    pub wall_offset_ns: u64,
}

impl Clock {
    /// Takes the offset between the two clocks. Taken once, so that a step of the wall clock does
    /// not reorder what was seen.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn read() -> Self {
        let before = now();
        let wall = SystemTime::now();
        let after = now();
        let wall_ns = wall
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as u64);
        let middle = before.0 + after.since(before) / 2;
        Self {
            wall_offset_ns: wall_ns.saturating_sub(middle),
        }
    }

    /// Nanoseconds since 1970.
    pub fn wall_ns(self, at: KtimeNs) -> u64 {
        self.wall_offset_ns.saturating_add(at.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, now, offset_ns};
    use crate::event::KtimeNs;

    #[test]
    fn time_goes_forward() {
        let first = now();
        assert!(first.0 > 0);
        assert!(now() >= first);
    }

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let text = "monotonic      100000         5\nboottime       7         0\n";
        assert_eq!(offset_ns(text), 100_000_000_000_005);
        assert_eq!(offset_ns("monotonic -1 500000000\n"), -500_000_000);
        assert_eq!(offset_ns(""), 0);
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "compares with the system's own clock"
    )]
    fn wall_time_is_that_of_the_system() {
        let clock = Clock::read();
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let ours = clock.wall_ns(now());
        assert!(ours.abs_diff(wall.as_nanos() as u64) < 1_000_000_000);
        assert_eq!(
            Clock {
                wall_offset_ns: u64::MAX
            }
            .wall_ns(KtimeNs(5)),
            u64::MAX
        );
    }
}
