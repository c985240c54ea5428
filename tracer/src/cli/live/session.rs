//! The session, on a thread of its own: however long a picture takes, keys are answered.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch::{self, Receiver, Sender};

use crate::{
    model::Snapshot,
    pipeline::{self, PipelineEvent, SessionConfig, SessionEnd},
    view::tui::{Picture, Position},
};

/// A picture and what turns its times into wall time.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) picture: Picture,
    pub(super) wall_offset_ns: u64,
    /// Where in a recording it is; `None` when live.
    pub(super) position: Option<Position>,
    /// To be told with it; true for bad news.
    pub(super) note: Option<(String, bool)>,
}

/// A running session.
pub(super) struct Session {
    /// The newest picture; older ones that nobody looked at are gone.
    pub(super) pictures: Receiver<Option<Shown>>,
    quit: Arc<AtomicBool>,
    /// `None` once it was waited for.
    thread: Option<JoinHandle<Result<SessionEnd>>>,
}

impl Session {
    pub(super) fn start(config: SessionConfig) -> Result<Self> {
        let (pictures, receiver) = watch::channel(None);
        let quit = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&quit);
        let thread = thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || {
                let mut shown = None;
                pipeline::run(&config, &mut |event| {
                    if asked.load(Ordering::Relaxed) {
                        return ControlFlow::Break(());
                    }
                    take(&mut shown, event, &pictures)
                })
            })
            .context("cannot start a thread for the session")?;
        Ok(Self {
            pictures: receiver,
            quit,
            thread: Some(thread),
        })
    }

    /// Waits for the first picture; `None` when the session ended before.
    pub(super) fn first(&mut self) -> Option<Shown> {
        let wait = async {
            self.pictures.changed().await.ok()?;
            self.pictures.borrow_and_update().clone()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
        runtime.block_on(wait)
    }

    /// Ends it and answers what it saw.
    pub(super) fn end(mut self) -> Result<SessionEnd> {
        match self.wait() {
            Some(Ok(end)) => end,
            _ => bail!("the session ended unexpectedly; this is a bug in tracer"),
        }
    }

    fn wait(&mut self) -> Option<thread::Result<Result<SessionEnd>>> {
        self.quit.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Session {
    /// Also when there is no screen: where the kernel has no tcx, filters stay at the devices when the
    /// process ends before the session did.
    fn drop(&mut self) {
        // what it saw is of no interest any more
        drop(self.wait());
    }
}

fn take(
    shown: &mut Option<Shown>,
    event: PipelineEvent<'_>,
    pictures: &Sender<Option<Shown>>,
) -> ControlFlow<()> {
    match event {
        PipelineEvent::Ready(ready) => {
            *shown = Some(Shown {
                picture: Picture::new(
                    ready.inventory.clone(),
                    Arc::new(Snapshot {
                        at: ready.started,
                        started: ready.started,
                        ..Snapshot::default()
                    }),
                    Arc::from([]),
                    ready.limits.clone().into(),
                )
                .meant(Arc::new(ready.intent.clone())),
                wall_offset_ns: ready.wall_offset_ns,
                position: None,
                note: None,
            });
        }
        PipelineEvent::Snapshot(snapshot, findings) => {
            if let Some(s) = shown {
                s.picture = s.picture.next(snapshot.clone(), findings.into());
            }
        }
        PipelineEvent::Inventory(inventory) => {
            if let Some(s) = shown {
                s.picture.inventory = inventory.clone();
            }
            return ControlFlow::Continue(());
        }
        PipelineEvent::Attached(attached) => {
            if let Some(s) = shown {
                s.picture.attached = Some(attached.clone());
            }
            return ControlFlow::Continue(());
        }
        PipelineEvent::Event(_) | PipelineEvent::Recording(_) => return ControlFlow::Continue(()),
    }
    match pictures.send(shown.clone()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}
