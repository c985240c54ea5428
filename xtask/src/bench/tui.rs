//! The interactive view with very many flows: a table of medians, with the least and the most; and how
//! long keys wait while very many packets arrive.

use std::path::Path;

use anyhow::Result;

use crate::sh;

/// Builds the bench of the crate and runs it; it fails beyond its budgets.
pub(super) fn run() -> Result<()> {
    sh::run(sh::cargo()?.args(["bench", "-q", "-p", "tracer", "--bench", "tui"]))
}

/// The test of it, with an optimized `tracer`; it fails when keys wait, and when fewer packets arrived
/// than is promised.
pub(super) fn live(tracer: &Path) -> Result<()> {
    let test = ["test", "-q", "-p", "e2e", "--test", "tui", "load::"];
    let mut command = sh::cargo()?;
    command.args(test).args(["--", "--nocapture"]);
    sh::run(command.env("TRACER_BIN", tracer))
}
