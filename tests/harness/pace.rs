//! Deadlines on a slow machine.
//!
//! Under an emulated processor everything takes about ten times as long. `TRACER_E2E_SLOW=10` says
//! so: deadlines are multiplied, and tests that send very much send less.

use std::time::Duration;

/// How many times slower than a usual machine this one is, as `TRACER_E2E_SLOW` says; 1 without it.
pub fn factor() -> u32 {
    let set = std::env::var("TRACER_E2E_SLOW").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// A deadline of `seconds` on a usual machine.
pub fn limit(seconds: u64) -> Duration {
    Duration::from_secs(seconds) * factor()
}

/// How long a sender waits for an answer that may never come: every lost flow costs it in full, so
/// that it grows with the square root.
pub fn patience(wait: Duration) -> Duration {
    wait * factor().isqrt()
}

/// `usual` on a usual machine, `slow` on one that is said to be slow.
pub fn pick<T>(usual: T, slow: T) -> T {
    if factor() > 1 { slow } else { usual }
}
