//! `w`: a recording beside the view.
//!
//! The programs of the view count, and send no packets: the code that would is taken out of them
//! when they are loaded, so that looking costs little. A recording is therefore a session of its
//! own, on its own thread, with its own programs: exactly what `tracer record` runs. What it
//! writes begins when it starts.

use std::{
    fs::{File, OpenOptions},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt as _,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc::UnboundedSender;

use super::effects::file_name;
use crate::{
    capture::Counts,
    cli::{output, size},
    filter::Filter,
    pipeline::{self, Pace, PipelineEvent, Ready, Recorder, SessionConfig, SessionEnd},
    probe::Recording as Kept,
    view::tui::Action,
};

/// As `tracer record` has them when nothing else is said.
const KEPT: Kept = Kept {
    snaplen: 128,
    buffer: 32 << 20,
};

/// What is told when the thread panicked. Its panic has given the terminal back already.
const BROKEN: &str = "the recording ended unexpectedly; this is a bug in tracer";

/// A recording that runs.
pub(super) struct Recording {
    stop: Arc<AtomicBool>,
    /// It panicked.
    broken: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Recording {
    /// Starts one of what matches `filter`, the text of `config.filter`. It says how far it is,
    /// and how it ended.
    pub(super) fn start(
        config: &SessionConfig,
        filter: String,
        said: UnboundedSender<Action>,
    ) -> Result<Self> {
        let config = SessionConfig {
            filter: Filter::parse(&filter).context("the filter")?,
            recording: Some(KEPT),
            duration: None,
            pace: Pace::default(),
            ..config.clone()
        };
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        Self::spawn(stop, said, move |said| {
            let job = Job {
                config: &config,
                filter: &filter,
                asked: &asked,
                said,
                file: None,
                failed: None,
            };
            job.run()
        })
    }

    /// Runs `job` on a thread and tells how it ended, also when it panicked.
    fn spawn(
        stop: Arc<AtomicBool>,
        said: UnboundedSender<Action>,
        job: impl FnOnce(&UnboundedSender<Action>) -> Result<String> + Send + 'static,
    ) -> Result<Self> {
        let broken = Arc::new(AtomicBool::new(false));
        let panicked = Arc::clone(&broken);
        let thread = thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || {
                let done = panic::catch_unwind(AssertUnwindSafe(|| job(&said)));
                let done = match done {
                    Ok(Ok(done)) => Action::Say(done, false),
                    Ok(Err(e)) => Action::Say(format!("not recorded: {e:#}"), true),
                    Err(_) => {
                        panicked.store(true, Ordering::Relaxed);
                        Action::Say(BROKEN.to_owned(), true)
                    }
                };
                // nobody listens any more when the view has ended
                drop(said.send(Action::Recording(None)));
                drop(said.send(done));
            })
            .context("cannot start a thread for the recording")?;
        Ok(Self {
            stop,
            broken,
            thread,
        })
    }

    /// It panicked: the terminal was given back, and the view must end.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// It goes on, or is just being ended.
    pub(super) fn runs(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Asks it to end; it says so when it has.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends it and waits for the end of the file.
    pub(super) fn finish(self) -> Result<()> {
        self.stop();
        let broken = Arc::clone(&self.broken);
        match self.thread.join() {
            Ok(()) if !broken.load(Ordering::Relaxed) => Ok(()),
            _ => bail!(BROKEN),
        }
    }
}

/// What its thread does.
struct Job<'a> {
    config: &'a SessionConfig,
    filter: &'a str,
    asked: &'a AtomicBool,
    said: &'a UnboundedSender<Action>,
    file: Option<(String, Recorder<File>)>,
    failed: Option<anyhow::Error>,
}

impl Job<'_> {
    /// Records until it is asked to end. Returns what is to be told.
    fn run(mut self) -> Result<String> {
        self.tell(String::new(), 0);
        let config = self.config;
        let end = pipeline::run(config, &mut |event| self.on_event(&event))?;
        self.finish(&end)
    }

    fn on_event(&mut self, event: &PipelineEvent<'_>) -> ControlFlow<()> {
        if self.failed.is_some() {
            return ControlFlow::Break(());
        }
        if let Err(e) = self.take(event) {
            self.failed = Some(e);
            return ControlFlow::Break(());
        }
        if self.asked.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, event: &PipelineEvent<'_>) -> Result<()> {
        if let PipelineEvent::Ready(ready) = event {
            return self.begin(ready);
        }
        let Some((name, recorder)) = &mut self.file else {
            return Ok(());
        };
        let written = recorder.take(event);
        written.with_context(|| format!("cannot write {name}; it holds what came before"))?;
        if let PipelineEvent::Snapshot(..) = event {
            let (name, bytes) = (name.clone(), recorder.counts().file_bytes);
            self.tell(name, bytes);
        }
        Ok(())
    }

    /// The file is new and its owner's only: it holds what is said on the network.
    fn begin(&mut self, ready: &Ready) -> Result<()> {
        let at = output::clock(ready.wall_offset_ns).rfc3339(ready.started);
        let path = PathBuf::from(file_name(&ready.inventory.node, &at, "pcapng"));
        let name = path.display().to_string();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot create {name}"))?;
        let recorder = Recorder::new(file, self.config, self.filter, ready, false)
            .with_context(|| format!("cannot write {name}"))?;
        self.tell(name.clone(), recorder.counts().file_bytes);
        // the header may have no room for the name, and from here on packets are in the file
        drop(
            self.said
                .send(Action::Say(format!("recording to {name}"), false)),
        );
        self.file = Some((name, recorder));
        Ok(())
    }

    fn tell(&self, name: String, bytes: u64) {
        // nobody listens any more when the view has ended
        drop(self.said.send(Action::Recording(Some((name, bytes)))));
    }

    fn finish(self, end: &SessionEnd) -> Result<String> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        let (name, recorder) = self.file.context("it ended before it began")?;
        let counts = Counts {
            tick: crate::capture::Tick {
                loss: end.snapshot.loss,
                ..recorder.counts().tick
            },
            ..recorder.counts()
        };
        recorder
            .finish(end)
            .with_context(|| format!("cannot write {name}"))?;
        let lost = match counts.tick.loss.events {
            0 => String::new(),
            n => format!(", {n} events lost"),
        };
        let size = size::text(counts.file_bytes);
        Ok(format!(
            "recorded: {name}, {} packets, {size}{lost}",
            counts.packets
        ))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    use super::*;

    fn told(mut said: UnboundedReceiver<Action>) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(action) = said.blocking_recv() {
            all.push(match action {
                Action::Say(text, bad) => format!("{text} {bad}"),
                Action::Recording(None) => "no file".to_owned(),
                other => panic!("{other:?}"),
            });
        }
        all
    }

    fn run(
        job: impl FnOnce(&UnboundedSender<Action>) -> Result<String> + Send + 'static,
    ) -> (Vec<String>, bool, Result<()>) {
        let (tx, rx) = mpsc::unbounded_channel();
        let recording = Recording::spawn(Arc::default(), tx, job).unwrap();
        let told = told(rx);
        (told, recording.is_broken(), recording.finish())
    }

    #[test]
    fn the_end_is_told_however_it_comes() {
        let (told, broken, end) = run(|_| Ok("recorded".to_owned()));
        assert_eq!(told, ["no file", "recorded false"]);
        assert!(!broken && end.is_ok());
        let (told, broken, end) = run(|_| bail!("disk full"));
        assert_eq!(told, ["no file", "not recorded: disk full true"]);
        assert!(!broken && end.is_ok());
    }

    #[test]
    fn a_panic_ends_the_view_and_is_told() {
        let (told, broken, end) = run(|_| panic!("on purpose"));
        assert_eq!(told, ["no file", &format!("{BROKEN} true")]);
        assert!(broken);
        assert_eq!(end.unwrap_err().to_string(), BROKEN);
    }
}
