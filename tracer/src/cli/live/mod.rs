//! `tracer live`: the interactive view on a terminal, lines as `watch` elsewhere.

mod effects;
mod moments;
mod recording;
mod replay;
mod session;
mod ui;

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use anyhow::Result;

use super::{
    OK, USAGE,
    args::{Format, Options, WatchOptions},
    log::HoldBack,
    output::{self, Output},
    watch,
};
use crate::{
    decode::drop_text::meaning,
    pipeline::{Pace, SessionConfig},
    terminal::Screen,
    view::{select, text, tui::Setup},
};
pub(super) use replay::run as replay;
use session::Session;
use ui::{Begin, Source};

pub(super) fn run(
    options: &Options,
    watch: &WatchOptions,
    filter: &[String],
    out: Output,
) -> Result<u8> {
    if !is_interactive(options, watch) {
        return watch::run(options, watch, filter, out);
    }
    let Some(parsed) = output::filter(filter)? else {
        return Ok(USAGE);
    };
    let config = SessionConfig {
        duration: watch.duration,
        pace: Pace::Watched,
        ..options.session(parsed.clone())
    };
    // the screen is written to without it, and the lock would be held
    let (style, numeric) = (out.style, out.numeric);
    drop(out);
    let mut session = Session::start(config.clone())?;
    let Some(first) = session.first() else {
        // what went wrong at the start is told on the screen that stays
        session.end()?;
        return Ok(OK);
    };
    let setup = Setup {
        style,
        numeric,
        clock: output::clock(first.wall_offset_ns),
        meaning,
        filter: filter.join(" "),
        replay: None,
    };
    let held = HoldBack::begin();
    let screen = Screen::enter()?;
    let begin = Begin {
        setup,
        first,
        filter: String::new(),
    };
    let source = Source::Live(Box::new(config));
    let shown = ui::run(screen, begin, source, &mut session.pictures);
    drop(held);
    let end = session.end()?;
    shown?;
    if !options.quiet {
        let (s, _) = select::select(&parsed, &end.inventory, &end.snapshot, &[]);
        let line = text::summary(&watch::summary(&s));
        io::stderr().lock().write_all(line.as_bytes())?;
    }
    Ok(OK)
}

/// There is somebody to look and to press keys, and nothing was asked for that only lines can give.
fn is_interactive(options: &Options, watch: &WatchOptions) -> bool {
    let lines = watch.packets || options.count.is_some() || options.output == Format::Json;
    !lines && is_terminal()
}

/// A screen can be drawn, and keys can be read.
fn is_terminal() -> bool {
    let dumb = env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb");
    !dumb && io::stdin().is_terminal() && io::stdout().is_terminal()
}
