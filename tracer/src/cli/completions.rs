//! `tracer completions SHELL`.

use std::io::Write as _;

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{OK, args::Args, output::Output};

pub(super) fn run(shell: Shell, mut out: Output) -> Result<u8> {
    // written as a whole: the generator takes a closed pipe for a bug
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "tracer", &mut script);
    out.stdout.write_all(&script)?;
    out.stdout.flush()?;
    Ok(OK)
}
