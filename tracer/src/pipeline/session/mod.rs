//! A live session: one loop that everything arrives at.

mod follow;
mod pace;

use std::{
    ops::ControlFlow,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{
    Ended, PipelineEvent, Ready, Recorded, SessionConfig, SessionEnd,
    devices::take_attached,
    feed::Feed,
    names::PodNames,
    signals::Signals,
    start::{Started, start},
};
use crate::{
    decode::Decoder,
    diagnose::{self, Finding, Intent},
    event::{Ifindex, KtimeNs, NetnsId},
    filter::Filter,
    inventory::{Attached, Inventory},
    kernel::clock,
    model::{Model, ModelConfig, Snapshot},
    net::{
        NetnsSelection,
        watch::{Notice, Watcher},
    },
    probe::{Batch, Probe},
    view::Limit,
};
use pace::{pause_after, shortest_pause};

/// The configuration is read again this long after the first of a burst of changes, and later when
/// reading takes long ([`pace::PAUSE_FACTOR`]).
const DEBOUNCE: Duration = Duration::from_millis(150);
/// Batches of records that wait, a MiB each at most; beyond, the ring buffer fills, which is counted. Twice
/// what the ring buffer holds, which is larger for a recording.
const BATCHES: usize = 8;
const RECORDED_BATCHES: usize = 64;

/// A process that goes on after its session gives back what it took after this time.
const LINGER: Duration = Duration::from_secs(2);

/// `lo` has this number in every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: Ifindex = Ifindex(1);

/// What can arrive at the loop beside time.
enum Input {
    Records(Batch),
    Net(Notice),
}

/// Traces until the duration is over, a signal comes, or `on_event` breaks off.
pub fn run(
    config: &SessionConfig,
    on_event: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()>,
) -> Result<SessionEnd> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        // before anything is attached, so that an early Ctrl-C also ends in order
        let mut signals = Signals::new(config.recording.is_some())?;
        let mut config = config.clone();
        let proc = config.names.proc.clone();
        config.filter.resolve_pids(|pid| netns_of_pid(&proc, pid));
        let mut session = Session::new(&config, start(&config)?);
        let end = session.run(&config, &mut signals, on_event).await;
        let Session { probe, model, .. } = session;
        probe.leave();
        // to give back the memory of very many flows takes a while: most processes end before, and need not
        thread::spawn(move || {
            thread::sleep(LINGER);
            drop(model);
        });
        end
    })
}

struct Session {
    probe: Probe,
    feed: Feed,
    model: Model,
    inventory: Arc<Inventory>,
    attached: Arc<Attached>,
    selection: NetnsSelection,
    proc: PathBuf,
    names: PodNames,
    filter: Filter,
    limits: Vec<Limit>,
    devices_given: bool,
    recording: bool,
    intent: Intent,
    wall_offset_ns: u64,
    started: KtimeNs,
    reread: Option<Instant>,
    /// How long reading again waits for more changes.
    debounce: Duration,
    /// Notices were lost: which devices went is not known.
    overrun: bool,
    tick: Duration,
}

impl Session {
    fn new(config: &SessionConfig, s: Started) -> Self {
        let started = clock::now();
        let mut session = Self {
            feed: Feed::new(Decoder::new(Arc::new(s.facts.names)), config),
            model: Model::new(ModelConfig {
                started,
                sums: config.forget.is_some(),
                ..ModelConfig::default()
            }),
            inventory: Arc::new(s.inventory),
            attached: Arc::default(),
            selection: s.selection,
            proc: config.names.proc.clone(),
            names: s.names,
            filter: config.filter.clone(),
            limits: s.limits,
            devices_given: !config.devices.is_empty(),
            intent: s.intent,
            recording: config.recording.is_some(),
            wall_offset_ns: s.facts.clock.wall_ns(KtimeNs(0)),
            started,
            reread: None,
            debounce: DEBOUNCE,
            overrun: false,
            tick: shortest_pause(config),
            probe: s.probe,
        };
        session.model_inventory();
        session
    }

    async fn run(
        &mut self,
        config: &SessionConfig,
        signals: &mut Signals,
        on_event: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()>,
    ) -> Result<SessionEnd> {
        let (tx, mut rx) = mpsc::channel(if self.recording {
            RECORDED_BATCHES
        } else {
            BATCHES
        });
        let records = tx.clone();
        let ring = self
            .probe
            .read_ring(move |batch| records.blocking_send(Input::Records(batch)).is_ok())?;
        let watcher = Watcher::start(move |notice| {
            // nobody listens any more only when the session ends
            let _sent = tx.blocking_send(Input::Net(notice));
        })?;
        // devices that came between the first look and the subscription
        self.read_again();
        let ready = self.ready();
        let deadline = config.duration.map(|d| tokio::time::Instant::now() + d);
        let mut flow = on_event(PipelineEvent::Ready(&ready));
        self.go_on(config);
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = Ended::Told;
        while flow.is_continue() {
            flow = tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(signal) => {
                        ended = signal;
                        ControlFlow::Break(())
                    }
                    None => on_event(PipelineEvent::Recording(Recorded::Asked)),
                },
                () = until(deadline) => {
                    ended = Ended::Time;
                    ControlFlow::Break(())
                }
                input = rx.recv() => match input {
                    Some(input) => self.take(input, on_event),
                    None => ControlFlow::Break(()),
                },
                _ = ticks.tick() => {
                    let begun = Instant::now();
                    let flow = self.look(on_event)?;
                    let pause = pause_after(config, begun.elapsed());
                    if pause != self.tick {
                        self.tick = pause;
                        ticks = interval(pause);
                        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                        ticks.reset();
                    }
                    flow
                }
            };
        }
        // what is still queued belongs to the picture and to a recording; others have seen enough
        let mut nobody = |_: PipelineEvent<'_>| ControlFlow::Continue(());
        let told: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()> = if self.recording {
            on_event
        } else {
            &mut nobody
        };
        if self.recording {
            // what passes while the ring buffer is emptied would be counted and not be in the file
            self.probe.record_nothing()?;
        }
        let mut stopping = tokio::task::spawn_blocking(move || {
            drop(watcher);
            ring.stop();
        });
        let mut stopped = false;
        while !stopped {
            tokio::select! {
                _ = &mut stopping => stopped = true,
                Some(input) = rx.recv() => self.drain(input, told),
            }
        }
        while let Ok(input) = rx.try_recv() {
            self.drain(input, told);
        }
        self.end(ready, ended, told)
    }

    fn drain(&mut self, input: Input, told: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()>) {
        let _flow = self.take(input, &mut |event| {
            let _enough = told(event);
            ControlFlow::Continue(())
        });
    }

    fn ready(&self) -> Ready {
        Ready {
            inventory: self.inventory.clone(),
            wall_offset_ns: self.wall_offset_ns,
            started: self.started,
            limits: self.limits.clone(),
            devices: self.probe.traced().count(),
            intent: self.intent.clone(),
        }
    }

    /// Takes one input in.
    fn take(
        &mut self,
        input: Input,
        on_event: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match input {
            Input::Records(batch) => {
                let mut flow = ControlFlow::Continue(());
                self.feed.records(&batch, &mut self.model, |event| {
                    flow = on_event(event);
                    flow.is_continue()
                });
                flow
            }
            Input::Net(notice) => {
                self.noticed(notice);
                ControlFlow::Continue(())
            }
        }
    }

    /// Scans the tables and shows the picture.
    fn look(
        &mut self,
        on_event: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        if take_attached(&mut self.probe, &mut self.limits) {
            self.reread.get_or_insert_with(Instant::now);
        }
        let before = self.inventory.clone();
        if self
            .reread
            .is_some_and(|since| since.elapsed() >= self.debounce)
        {
            self.read_again();
        } else {
            self.name_again();
        }
        if !Arc::ptr_eq(&before, &self.inventory) {
            let flow = on_event(PipelineEvent::Inventory(&self.inventory));
            if flow.is_break() {
                return Ok(flow);
            }
        }
        let attached = Attached {
            clsact: self.probe.uses_clsact(),
            devices: self.probe.traced().collect(),
        };
        if *self.attached != attached {
            self.attached = Arc::new(attached);
            let _flow = on_event(PipelineEvent::Attached(&self.attached));
        }
        let (snapshot, findings) = self.picture(on_event)?;
        Ok(on_event(PipelineEvent::Snapshot(&snapshot, &findings)))
    }

    fn picture(
        &mut self,
        on_event: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(Arc<Snapshot>, Vec<Finding>)> {
        // a recorder that wants no more says so at the next event of the loop
        let mut tell = |event: PipelineEvent<'_>| {
            let _flow = on_event(event);
        };
        let now = clock::now();
        self.feed
            .scan(&self.probe, &mut self.model, now, &mut tell)?;
        if self.recording {
            let lost = Feed::packets_lost(&self.probe)?;
            tell(PipelineEvent::Recording(Recorded::PacketsLost(lost)));
        }
        self.model.set_loss(self.feed.loss(&self.probe)?);
        let mut snapshot = self.model.snapshot();
        if let Some(sums) = &mut snapshot.sums {
            sums.route_failures.clone_from(self.feed.route_failures());
        }
        let snapshot = Arc::new(snapshot);
        let context = diagnose::Context::new(&snapshot, &self.inventory)
            .with_intent(&self.intent)
            .with_answers_visible(!self.devices_given);
        let findings = diagnose::run(&context);
        Ok((snapshot, findings))
    }

    fn end(
        &mut self,
        ready: Ready,
        ended: Ended,
        on_event: &mut dyn FnMut(PipelineEvent<'_>) -> ControlFlow<()>,
    ) -> Result<SessionEnd> {
        // a device that came just now has packets already, and its name is in the last change
        let before = self.inventory.clone();
        if self.reread.is_some() {
            self.read_again();
        } else {
            self.name_again();
        }
        if !Arc::ptr_eq(&before, &self.inventory) {
            let _ended = on_event(PipelineEvent::Inventory(&self.inventory));
        }
        self.feed.all_again();
        let (snapshot, findings) = self.picture(on_event)?;
        // and what was missing since
        let limits = self.limits.clone();
        Ok(SessionEnd {
            ready: Ready { limits, ..ready },
            inventory: self.inventory.clone(),
            snapshot,
            findings,
            ended,
        })
    }
}

/// The network namespace of a process, when it is there and may be looked at.
fn netns_of_pid(proc: &Path, pid: u32) -> Option<NetnsId> {
    let inode = std::fs::metadata(proc.join(format!("{pid}/ns/net")))
        .ok()?
        .ino();
    Some(NetnsId(inode as u32))
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
