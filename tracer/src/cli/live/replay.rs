//! `tracer read FILE --tui`: a recording in the interactive view, with a place in its time.

use std::{
    fs::File,
    io::BufReader,
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::sync::watch::{self, Sender as Pictures};

use super::{
    is_terminal,
    moments::Moments,
    session::Shown,
    ui::{self, Begin, Source},
};
use crate::{
    capture::Ending,
    cli::{
        OK, USAGE,
        args::{Options, ReadCommand},
        log::HoldBack,
        output::{self, Output},
        read,
    },
    decode::drop_text::meaning,
    pipeline::{FileFacts, Replay},
    terminal::Screen,
    view::tui::{Picture, Position, Seek, Setup},
};

/// The recording goes on at most this many times faster than it was.
const FASTEST: u32 = 64;
/// Between two pictures while it plays.
const LONGEST: Duration = Duration::from_secs(5);

/// Asks for another place.
pub(super) struct Seeks(Sender<Seek>);

impl Seeks {
    pub(super) fn ask(&self, seek: Seek) {
        // the thread ends with the view only
        let _sent = self.0.send(seek);
    }
}

/// Shows a recording until the user has seen enough.
pub(in crate::cli) fn run(options: &Options, command: &ReadCommand, out: Output) -> Result<u8> {
    let refused = if command.file.as_os_str() == "-" {
        "--tui goes back in time and needs a file, not standard input"
    } else if command.expect.expectations().is_any() {
        "--tui judges nothing: leave the expectation out, or --tui"
    } else if !is_terminal() {
        "--tui needs a terminal"
    } else {
        ""
    };
    if !refused.is_empty() {
        output::complain(&anyhow::anyhow!(refused));
        return Ok(USAGE);
    }
    if output::filter(&command.filter)?.is_none() {
        return Ok(USAGE);
    }
    let name = command.file.display().to_string();
    let mut player = Player::open(command.file.clone(), options.clone())?;
    let facts = player.read_all().with_context(|| player.cannot())?;
    let (style, numeric) = (out.style, out.numeric);
    let filter = facts.header.filter.clone();
    let setup = Setup {
        style,
        numeric,
        clock: output::clock(facts.header.wall_offset_ns),
        meaning,
        filter,
        replay: Some(name.clone()),
    };
    read::warn(&out, &name, &facts)?;
    drop(out);
    let mut first = player.shown();
    if facts.ending != Ending::Whole {
        let text = "the recording has no end: it was cut, or is still being written";
        first.note = Some((text.to_owned(), true));
    }
    let (pictures, mut receiver) = watch::channel(None);
    let (seeks, asked) = mpsc::channel();
    thread::Builder::new()
        .name("replay".to_owned())
        .spawn(move || player.play(&asked, &pictures))
        .context("cannot start a thread for the recording")?;
    let held = HoldBack::begin();
    let screen = Screen::enter()?;
    let begin = Begin {
        setup,
        first,
        filter: command.filter.join(" "),
    };
    let shown = ui::run(screen, begin, Source::Replay(Seeks(seeks)), &mut receiver);
    drop(held);
    shown.map(|()| OK)
}

/// A recording at a place.
struct Player {
    path: PathBuf,
    options: Options,
    replay: Replay<BufReader<File>>,
    moments: Moments,
    /// Moments that were read: 0 is before the first.
    at: usize,
    playing: bool,
    speed: u32,
}

impl Player {
    fn open(path: PathBuf, options: Options) -> Result<Self> {
        let replay = begin(&path, &options)?;
        Ok(Self {
            path,
            options,
            replay,
            moments: Moments::default(),
            at: 0,
            playing: false,
            speed: 1,
        })
    }

    fn cannot(&self) -> String {
        format!("cannot read {}", self.path.display())
    }

    /// Reads to the end, and learns which moments there are.
    fn read_all(&mut self) -> Result<FileFacts> {
        let moments = &mut self.moments;
        while self
            .replay
            .step(&mut |told| moments.take(&told))?
            .is_continue()
        {
            moments.read();
        }
        moments.end(self.replay.at());
        self.at = moments.len();
        Ok(self.replay.facts())
    }

    /// Goes to a moment; back means from the beginning again.
    fn go(&mut self, to: usize) -> Result<()> {
        let to = to.clamp(1.min(self.moments.len()), self.moments.len());
        if to < self.at {
            self.replay = begin(&self.path, &self.options)?;
            self.at = 0;
        }
        while self.at < to {
            let mut tick = false;
            let flow = self.replay.step(&mut |told| {
                tick |= Moments::is_one(&told);
                ControlFlow::Continue(())
            })?;
            self.at += usize::from(tick);
            if flow.is_break() {
                // it had no end when it was read first
                self.at = self.moments.len();
            }
        }
        Ok(())
    }

    fn shown(&self) -> Shown {
        let (snapshot, findings) = self.replay.picture();
        let ready = self.replay.ready();
        let picture = Picture::new(
            self.replay.inventory().clone(),
            snapshot,
            findings.into(),
            ready.limits.into(),
        );
        Shown {
            picture: picture.meant(Arc::new(self.replay.intent().clone())),
            wall_offset_ns: ready.wall_offset_ns,
            position: Some(Position {
                at: self.replay.at(),
                end: self.moments.last(),
                playing: self.playing,
                speed: self.speed,
            }),
            note: None,
        }
    }

    /// Does what is asked, and goes on by itself while it plays. Ends with the view.
    fn play(mut self, asked: &mpsc::Receiver<Seek>, pictures: &Pictures<Option<Shown>>) {
        let mut due = None;
        loop {
            if self.playing && due.is_none() {
                due = Some(Instant::now() + self.pause());
            }
            let wait = due.map_or(Duration::from_hours(1), |due: Instant| {
                due.saturating_duration_since(Instant::now())
            });
            let (done, note) = match asked.recv_timeout(wait) {
                Ok(seek) => self.seek(seek),
                Err(RecvTimeoutError::Timeout) if self.playing => {
                    let done = self.go(self.at + 1);
                    self.playing = self.at < self.moments.len();
                    (done, None)
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            due = None;
            let mut shown = self.shown();
            shown.note = match done {
                Ok(()) => note.map(|n| (n, false)),
                Err(e) => {
                    self.playing = false;
                    Some((format!("{}: {e:#}", self.cannot()), true))
                }
            };
            if pictures.send(Some(shown)).is_err() {
                return;
            }
        }
    }

    /// Until the next moment.
    fn pause(&self) -> Duration {
        let ns = self
            .moments
            .after(self.at)
            .saturating_sub(self.moments.time(self.at));
        (Duration::from_nanos(ns) / self.speed).min(LONGEST)
    }

    /// Does it, and returns what is to be told.
    fn seek(&mut self, seek: Seek) -> (Result<()>, Option<String>) {
        let last = self.moments.len();
        let mut note = None;
        let to = match seek {
            Seek::Toggle => {
                self.playing = !self.playing;
                // at the end it begins again
                if self.playing && self.at >= last {
                    1
                } else {
                    self.at
                }
            }
            Seek::Step(forward) => {
                self.playing = false;
                if forward {
                    self.at + 1
                } else {
                    self.at.saturating_sub(1)
                }
            }
            Seek::End(end) => {
                self.playing = false;
                if end { last } else { 1 }
            }
            Seek::Faster(faster) => {
                self.speed = if faster {
                    self.speed * 2
                } else {
                    self.speed / 2
                };
                self.speed = self.speed.clamp(1, FASTEST);
                self.at
            }
            Seek::Drop(forward) => {
                self.playing = false;
                if let Some((to, what)) = self.moments.drop_from(self.at, forward) {
                    note = Some(what);
                    to
                } else {
                    note = Some("nothing was dropped in this recording".to_owned());
                    self.at
                }
            }
        };
        (self.go(to), note)
    }
}

/// The file from its beginning.
fn begin(path: &PathBuf, options: &Options) -> Result<Replay<BufReader<File>>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let input = BufReader::with_capacity(1 << 18, file);
    let mut replay = Replay::new(input).with_context(cannot)?;
    read::meant(options, replay.intent_mut())?;
    Ok(replay)
}
