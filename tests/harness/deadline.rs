//! Waiting for a condition, never for a length of time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// `limit` times `TRACER_E2E_SLOW`, an integer that is set where everything is slow: in a virtual
/// machine without hardware support, under a sanitizer.
pub fn scaled(limit: Duration) -> Duration {
    limit * factor()
}

/// How long a sender waits for an answer that may never come. Grows with the square root of
/// `TRACER_E2E_SLOW`, because each lost flow costs it in full.
pub fn patience(wait: Duration) -> Duration {
    wait * factor().isqrt()
}

/// How much work a test does: `usual`, or `less` where everything is slow.
pub fn amount<T>(usual: T, less: T) -> T {
    if is_slow() { less } else { usual }
}

/// `TRACER_E2E_SLOW` is set.
pub fn is_slow() -> bool {
    factor() > 1
}

fn factor() -> u32 {
    let text = std::env::var("TRACER_E2E_SLOW").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Asks `probe` until it returns a value, at most for `limit` ([`scaled`]). `what` completes the sentence "… did
/// not happen within 5 s".
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let limit = scaled(limit);
    let end = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("{what} did not happen within {limit:?}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
