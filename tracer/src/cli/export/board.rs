//! What scrapes are answered with: the newest picture and the verdicts of checks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    cli::check::Repeated,
    diagnose::Finding,
    inventory::Inventory,
    kernel::clock::{self, Clock},
    model::Snapshot,
    pipeline::Ready,
    view::{
        check::Judgement,
        metrics::{self, Checked, Labels, Scene},
    },
};

/// A picture, and what metrics need beside it.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) snapshot: Snapshot,
    pub(super) findings: Vec<Finding>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) labels: Labels,
    pub(super) devices: usize,
    pub(super) limits: usize,
    /// Seconds since 1970.
    pub(super) started: f64,
}

impl Shown {
    pub(super) fn new(ready: &Ready) -> Self {
        let started = ready.wall_offset_ns.saturating_add(ready.started.0);
        Self {
            devices: ready.devices,
            limits: ready.limits.len(),
            started: started as f64 / 1e9,
            ..Self::default()
        }
    }
}

/// Shared by the session, the checks and the server.
#[derive(Debug)]
pub(super) struct Board {
    shown: Mutex<Option<Arc<Shown>>>,
    checked: Mutex<Vec<Checked>>,
}

impl Board {
    pub(super) fn new(checks: Option<&Repeated>) -> Self {
        let named = checks.into_iter().flat_map(Repeated::names);
        let checked = named.map(|name| Checked {
            name: name.to_owned(),
            ..Checked::default()
        });
        Self {
            shown: Mutex::default(),
            checked: Mutex::new(checked.collect()),
        }
    }

    pub(super) fn show(&self, shown: Shown) {
        *lock(&self.shown) = Some(Arc::new(shown));
    }

    /// Verdicts in the order of the checks; `None` when there are none.
    pub(super) fn judged(&self, verdicts: Option<&[Judgement]>) {
        let mut checked = lock(&self.checked);
        let Some(verdicts) = verdicts else {
            checked.iter_mut().for_each(|check| check.errors += 1);
            return;
        };
        let now = Clock::read().wall_ns(clock::now()) as f64 / 1e9;
        for (check, verdict) in checked.iter_mut().zip(verdicts) {
            let [pass, fail, inconclusive] = &mut check.runs;
            *match verdict {
                Judgement::Pass => pass,
                Judgement::Fail => fail,
                Judgement::Inconclusive => inconclusive,
            } += 1;
            check.verdict = Some(*verdict);
            check.at = now;
        }
    }

    /// The text for a scrape; `None` before the first picture.
    pub(super) fn page(&self) -> Option<Vec<u8>> {
        let shown = lock(&self.shown).clone()?;
        let checked = lock(&self.checked).clone();
        let scene = Scene {
            snapshot: &shown.snapshot,
            findings: &shown.findings,
            inventory: &shown.inventory,
            labels: &shown.labels,
            devices: shown.devices,
            limits: shown.limits,
            started: shown.started,
            checks: &checked,
        };
        match metrics::render(&scene) {
            Ok(text) => Some(text),
            Err(e) => {
                tracing::error!("metrics cannot be written: {e}; this is a bug in tracer");
                None
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
