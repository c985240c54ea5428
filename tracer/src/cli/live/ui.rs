//! The loop of the interface: input, pictures and signals in; frames and effects out.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch::Receiver,
    },
    time::sleep_until,
};

use super::{effects, recording::Recording, replay::Seeks, session::Shown};
use crate::{
    pipeline::SessionConfig,
    terminal::{self, Screen},
    view::tui::{Action, Effect, Input, Setup, State},
};

/// Frames are at least this far apart: a slow line is not filled with what nobody can read.
const FRAME: Duration = Duration::from_millis(100);
/// Inputs that wait; a held key does not fill memory.
const INPUTS: usize = 256;

/// Where pictures come from, and what can be asked of it.
pub(super) enum Source {
    /// A session with this configuration.
    Live(Box<SessionConfig>),
    /// A file.
    Replay(Seeks),
}

/// What is shown from the start.
pub(super) struct Begin {
    pub(super) setup: Setup,
    pub(super) first: Shown,
    /// Filter of the view; empty for none.
    pub(super) filter: String,
}

/// Shows pictures until the user, a signal or the end of the session ends it. A recording that
/// runs then is ended in order.
pub(super) fn run(
    screen: Screen,
    begin: Begin,
    source: Source,
    pictures: &mut Receiver<Option<Shown>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let mut recording = None;
    let ended = runtime.block_on(async {
        let mut ui = Ui::new(screen, begin.setup, source)?;
        ui.show(begin.first);
        if !begin.filter.is_empty() {
            ui.act(Action::Narrow(begin.filter));
        }
        let ended = ui.run(pictures).await;
        recording = ui.recording.take();
        ended
    });
    if let Some(recording) = recording {
        recording.finish()?;
    }
    // an export that is being written is finished by its own thread or not at all
    runtime.shutdown_background();
    ended
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    End,
}

struct Ui {
    screen: Screen,
    state: State,
    dirty: bool,
    drawn: Option<Instant>,
    end: [Signal; 3],
    stop: Signal,
    resumed: Signal,
    said: (UnboundedSender<Action>, UnboundedReceiver<Action>),
    source: Source,
    recording: Option<Recording>,
}

impl Ui {
    fn new(screen: Screen, setup: Setup, source: Source) -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let size = screen.size().context("cannot read the terminal's size")?;
        Ok(Self {
            state: State::new(setup, size),
            screen,
            dirty: true,
            drawn: None,
            end: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
            stop: listen(SignalKind::from_raw(libc::SIGTSTP))?,
            resumed: listen(SignalKind::from_raw(libc::SIGCONT))?,
            said: mpsc::unbounded_channel(),
            source,
            recording: None,
        })
    }

    async fn run(&mut self, pictures: &mut Receiver<Option<Shown>>) -> Result<()> {
        let mut inputs = read_inputs()?;
        loop {
            let [interrupt, terminate, hangup] = &mut self.end;
            let next = tokio::select! {
                biased;
                _ = interrupt.recv() => Next::End,
                _ = terminate.recv() => Next::End,
                _ = hangup.recv() => Next::End,
                _ = self.stop.recv() => self.suspend(false)?,
                _ = self.resumed.recv() => self.resume()?,
                input = inputs.recv() => match input {
                    Some(input) => self.input(input)?,
                    // the terminal is gone
                    None => Next::End,
                },
                () = due(self.dirty, self.drawn) => self.draw()?,
                changed = pictures.changed() => match changed {
                    Ok(()) => {
                        let shown = pictures.borrow_and_update().clone();
                        if let Some(shown) = shown {
                            self.show(shown);
                        }
                        Next::Go
                    }
                    Err(_) => Next::End,
                },
                Some(action) = self.said.1.recv() => {
                    self.act(action);
                    // its panic gave the terminal back
                    if self.recording.as_ref().is_some_and(Recording::is_broken) {
                        Next::End
                    } else {
                        Next::Go
                    }
                }
            };
            if next == Next::End {
                return Ok(());
            }
        }
    }

    fn show(&mut self, shown: Shown) {
        if let Some(position) = shown.position {
            self.act(Action::At(position));
        }
        self.act(Action::Picture(shown.picture));
        if let Some((text, bad)) = shown.note {
            self.act(Action::Say(text, bad));
        }
        let old = self.state.discarded();
        tokio::task::spawn_blocking(move || drop(old));
    }

    fn act(&mut self, action: Action) {
        // pictures and messages have no effects
        self.state.update(action);
        self.dirty = true;
    }

    fn draw(&mut self) -> Result<Next> {
        let state = &self.state;
        self.screen
            .draw(|frame| state.draw(frame))
            .context("cannot write to the terminal")?;
        (self.dirty, self.drawn) = (false, Some(Instant::now()));
        Ok(Next::Go)
    }

    fn input(&mut self, input: Input) -> Result<Next> {
        self.dirty = true;
        let mut next = Next::Go;
        for effect in self.state.input(input) {
            match effect {
                Effect::Quit => return Ok(Next::End),
                Effect::Suspend => next = self.suspend(true)?,
                Effect::Redraw => self.screen.forget()?,
                Effect::Copy(text) => self.screen.copy(&text)?,
                Effect::Export(export) => {
                    effects::export(export, self.state.setup().clone(), self.said.0.clone());
                }
                Effect::Record(filter) => self.record(&filter),
                Effect::Replay(seek) => {
                    if let Source::Replay(seeks) = &self.source {
                        seeks.ask(seek);
                    }
                }
            }
        }
        Ok(next)
    }

    /// Starts a recording of what matches the filter of the start and this one, or ends the one
    /// that runs.
    fn record(&mut self, filter: &str) {
        let Source::Live(config) = &self.source else {
            return;
        };
        if let Some(running) = self.recording.as_ref().filter(|r| r.runs()) {
            return running.stop();
        }
        let filter = effects::both(&self.state.setup().filter, filter);
        match Recording::start(config, filter, self.said.0.clone()) {
            Ok(recording) => self.recording = Some(recording),
            Err(e) => self.act(Action::Say(format!("not recorded: {e:#}"), true)),
        }
    }

    fn suspend(&mut self, group: bool) -> Result<Next> {
        terminal::stop(group)?;
        self.resume()
    }

    /// The terminal may have any state and size now.
    fn resume(&mut self) -> Result<Next> {
        self.screen.resume()?;
        let (columns, rows) = self.screen.size()?;
        self.act(Action::Resize(columns, rows));
        self.drawn = None;
        Ok(Next::Go)
    }
}

/// When the next frame may be drawn; never when nothing changed.
async fn due(dirty: bool, drawn: Option<Instant>) {
    if !dirty {
        return std::future::pending().await;
    }
    if let Some(drawn) = drawn {
        sleep_until((drawn + FRAME).into()).await;
    }
}

/// Reads the terminal on a thread of its own, which ends with the process.
fn read_inputs() -> Result<mpsc::Receiver<Input>> {
    let (tx, rx) = mpsc::channel(INPUTS);
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            while let Ok(input) = terminal::read_input() {
                if tx.blocking_send(input).is_err() {
                    return;
                }
            }
        })
        .context("cannot start a thread for the keyboard")?;
    Ok(rx)
}
