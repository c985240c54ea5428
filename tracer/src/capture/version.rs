//! Versions of the lines, and how old ones are read.

use serde_json::Value;

use super::Line;

/// `schema` of the header line.
pub const SCHEMA: &str = "tracer.capture/1";
/// The version that is written.
pub const CURRENT: u32 = 1;

/// A change to the lines of a version that makes them lines of the next.
type Upgrade = fn(&mut Value);

/// `UPGRADES[n]` reads lines of version n + 1 as version n + 2. Within a version fields may be
/// added, with `#[serde(default)]`; for anything else [`CURRENT`] is raised and a step added here.
const UPGRADES: [Upgrade; CURRENT as usize - 1] = [];

/// The version that a schema names; `None` when it is none of a capture.
pub(super) fn of(schema: &str) -> Option<u32> {
    let version = schema.strip_prefix("tracer.capture/")?.parse().ok()?;
    (version > 0).then_some(version)
}

/// Reads one line of a file of `version`.
pub(super) fn parse(version: u32, line: &[u8]) -> Result<Line, serde_json::Error> {
    if version >= CURRENT {
        return serde_json::from_slice(line);
    }
    let mut value: Value = serde_json::from_slice(line)?;
    for upgrade in UPGRADES.iter().skip(version as usize - 1) {
        upgrade(&mut value);
    }
    serde_json::from_value(value)
}
