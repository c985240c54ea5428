//! Checks of a file that are repeated, for whoever keeps the verdicts.

use std::path::PathBuf;

use anyhow::Result;

use super::{Plan, Wait, judge_all};
use crate::{
    cli::args::{CheckCommand, Options},
    pipeline::{self, Ended, SessionConfig},
    view::check::Judgement,
};

/// Checks of a file.
#[derive(Debug)]
pub(in crate::cli) struct Repeated {
    options: Options,
    plan: Plan,
}

impl Repeated {
    /// Reads the file. [`usage`](super::usage) tells an error of it from others.
    pub(in crate::cli) fn new(options: &Options, file: PathBuf) -> Result<Self> {
        let command = CheckCommand {
            file: Some(file),
            ..CheckCommand::default()
        };
        Ok(Self {
            options: options.clone(),
            plan: Plan::new(options, &command)?,
        })
    }

    /// The names of the checks, in the order of [`run`](Self::run).
    pub(in crate::cli) fn names(&self) -> impl Iterator<Item = &str> {
        let named = self.plan.checks.iter();
        named.map(|check| check.name.as_deref().unwrap_or_default())
    }

    /// Runs all of them once, in a session of their own. `None` when a signal ended it: what is
    /// known then is a part.
    pub(in crate::cli) fn run(&self) -> Result<Option<Vec<Judgement>>> {
        let config = SessionConfig {
            duration: Some(self.plan.time),
            ..self.options.session(self.plan.filter())
        };
        let mut wait = Wait::new(&self.plan, None, true);
        let end = pipeline::run(&config, &mut |event| wait.on_event(event));
        let sent = wait.finish()?;
        let end = end?;
        if !matches!(end.ended, Ended::Time | Ended::Told) {
            return Ok(None);
        }
        let judged = judge_all(&self.plan, &end, &sent);
        Ok(Some(judged.iter().map(|j| j.verdict.outcome).collect()))
    }
}
