//! The wait: what ends it before its time, and what is shown meanwhile.

use std::{
    io::{self, IsTerminal as _},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{plan::Plan, progress::Progress};
use crate::{
    cli::output::Output,
    inventory::Inventory,
    model::{Flow, Outcome, Snapshot},
    pipeline::PipelineEvent,
    traffic::{Sender, Sent},
};

/// An answer may come so long after the last packet. The model says "unanswered" after a second.
const ANSWER: Duration = Duration::from_millis(1500);
/// A packet that is nowhere may wait for a neighbour, who is given up after three seconds
/// (`mcast_solicit` times `retrans_time`).
const DECISION: Duration = Duration::from_millis(4500);

/// What a check waits for.
pub(super) struct Wait<'a> {
    plan: &'a Plan,
    /// Where it says that it is ready; `None` for nowhere.
    out: Option<&'a Output>,
    progress: Option<Progress>,
    inventory: Arc<Inventory>,
    senders: Vec<Option<Sender>>,
    /// Since when everything that was asked for is there.
    reached: Vec<Option<Instant>>,
    failed: Option<io::Error>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(plan: &'a Plan, out: Option<&'a Output>, quiet: bool) -> Self {
        let shown = out.filter(|_| !quiet && io::stderr().is_terminal());
        Self {
            plan,
            out,
            progress: shown.map(|out| Progress::new(plan.time, out.style)),
            inventory: Arc::default(),
            senders: plan.checks.iter().map(|_| None).collect(),
            reached: vec![None; plan.checks.len()],
            failed: None,
        }
    }

    pub(super) fn on_event(&mut self, event: PipelineEvent<'_>) -> ControlFlow<()> {
        match event {
            PipelineEvent::Ready(ready) => {
                self.inventory = ready.inventory.clone();
                if let Some(out) = self.out
                    && let Err(e) = out.ready(ready, &self.shown_filter())
                {
                    self.failed = Some(e);
                    return ControlFlow::Break(());
                }
                // from here, so that it is in the namespace that is traced
                for (sender, check) in self.senders.iter_mut().zip(&self.plan.checks) {
                    *sender = check.probe.as_ref().map(|p| Sender::start(p.order.clone()));
                }
            }
            PipelineEvent::Inventory(i) => self.inventory = i.clone(),
            PipelineEvent::Snapshot(s, _) => {
                if let Some(progress) = &mut self.progress {
                    progress.show(s);
                }
                if self.all_done(s) {
                    return ControlFlow::Break(());
                }
            }
            PipelineEvent::Event(_) | PipelineEvent::Recording(_) | PipelineEvent::Attached(_) => {}
        }
        ControlFlow::Continue(())
    }

    /// Ends the probes and the line of progress.
    pub(super) fn finish(self) -> io::Result<Vec<Option<Sent>>> {
        drop(self.progress);
        match self.failed {
            Some(e) => Err(e),
            None => Ok(self
                .senders
                .into_iter()
                .map(|s| s.map(Sender::stop))
                .collect()),
        }
    }

    fn shown_filter(&self) -> String {
        match self.plan.checks.as_slice() {
            [only] => only.text.clone(),
            many => format!("{} checks", many.len()),
        }
    }

    fn all_done(&mut self, s: &Snapshot) -> bool {
        let mut all = true;
        for i in 0..self.plan.checks.len() {
            all &= self.is_done(i, s);
        }
        all
    }

    /// There is what was asked for, and whatever is on its way had time to arrive.
    fn is_done(&mut self, i: usize, s: &Snapshot) -> bool {
        let (Some(check), Some(reached)) = (self.plan.checks.get(i), self.reached.get_mut(i))
        else {
            return true;
        };
        let probe = self.senders.get(i).and_then(Option::as_ref);
        if (check.until.is_none() && probe.is_none()) || probe.is_some_and(|p| !p.is_done()) {
            return false;
        }
        let flows = super::selected(check, &self.inventory, s).flows;
        let packets: u64 = flows.iter().map(|f| f.forward.packets).sum();
        if check.until.is_some_and(|n| packets < n) {
            return false;
        }
        match reached {
            // this picture may be older than the last packet
            None => {
                *reached = Some(Instant::now());
                false
            }
            Some(since) => {
                since.elapsed() >= flows.iter().map(|f| patience(f)).max().unwrap_or(DECISION)
            }
        }
    }
}

/// How long this flow may take yet to show what becomes of it.
fn patience(f: &Flow) -> Duration {
    match &f.forward.outcome {
        _ if f.reply.packets > 0 => Duration::ZERO,
        Some(Outcome::Forwarded(_) | Outcome::Delivered) => ANSWER,
        Some(Outcome::Unknown(_)) | None => DECISION,
        Some(Outcome::Dropped(_) | Outcome::Unanswered(_)) => Duration::ZERO,
    }
}
