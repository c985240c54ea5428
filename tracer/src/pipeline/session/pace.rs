//! How often a picture is taken.

use std::time::Duration;

use crate::pipeline::{Pace, SessionConfig};

/// Snapshots are taken this often, unless one takes long.
const TICK: Duration = Duration::from_millis(250);
/// The same for a session without end, which nobody looks at.
const SLOW_TICK: Duration = Duration::from_secs(1);
/// A tick that took a fifth of the time or more is followed by a longer pause, so that a node with
/// very many flows is not kept busy by looking at them.
pub(super) const PAUSE_FACTOR: u32 = 4;
/// The same while somebody looks. With 100,000 flows a picture takes half a second or more, and what
/// is seen should not be much older than a second.
const WATCHED_FACTOR: u32 = 1;
/// From one picture to the next, when they take no time.
pub(super) fn shortest_pause(config: &SessionConfig) -> Duration {
    match config.forget {
        Some(_) => SLOW_TICK,
        None => TICK,
    }
}

/// After a picture that took so long.
pub(super) fn pause_after(config: &SessionConfig, took: Duration) -> Duration {
    let factor = match config.pace {
        Pace::Watched => WATCHED_FACTOR,
        Pace::Sparing => PAUSE_FACTOR,
    };
    shortest_pause(config).max(took * factor)
}
