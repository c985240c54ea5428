//! The interactive view with very many flows: a table of medians, with the least and the most.

use anyhow::Result;

use crate::sh;

/// Builds the bench of the crate and runs it; it fails beyond its budgets.
pub(super) fn run() -> Result<()> {
    sh::run(sh::cargo()?.args(["bench", "-q", "-p", "tracer", "--bench", "tui"]))
}
