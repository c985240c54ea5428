//! `tracer export`: metrics for Prometheus, until a signal comes.

mod board;
mod checks;
mod server;

use std::{
    net::{SocketAddr, TcpListener},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    OK, USAGE,
    args::{ExportCommand, Options},
    check::{self, Repeated},
    output::{self, Output},
};
use crate::{
    filter::Filter,
    inventory::Inventory,
    pipeline::{self, PipelineEvent, SessionConfig},
    view::{metrics::Labels, select},
};
use board::{Board, Shown};
use checks::Checks;
use server::Server;

/// Flows and findings of the last minutes are told; older ones are forgotten.
const RECENT: Duration = Duration::from_mins(5);

pub(super) fn run(options: &Options, command: &ExportCommand, out: &Output) -> Result<u8> {
    let Some(filter) = counted(&command.filter)? else {
        return Ok(USAGE);
    };
    let checks = match &command.file {
        None => None,
        Some(file) => match Repeated::new(options, file.clone()) {
            Ok(checks) => Some(checks),
            Err(e) => return check::usage(e),
        },
    };
    // before the session: it is no use without
    let listener = listen(command.listen)?;
    let board = Arc::new(Board::new(checks.as_ref()));
    let shown = Arc::clone(&board);
    let server = Server::start(listener, move || shown.page())?;
    let mut session = Session {
        board: Arc::clone(&board),
        inventory: Arc::default(),
        labels: Labels::default(),
        shown: None,
        filter: &filter,
        out,
        repeat: checks.map(|checks| (checks, command.every)),
        checks: None,
    };
    let config = SessionConfig {
        forget: Some(RECENT),
        ..options.session(filter.clone())
    };
    let end = pipeline::run(&config, &mut |event| session.on_event(event));
    server.stop();
    if let Some(checks) = session.checks {
        checks.stop();
    }
    end?;
    Ok(OK)
}

/// The filter, when the kernel can count by it; otherwise says why not.
fn counted(words: &[String]) -> Result<Option<Filter>> {
    let Some(filter) = output::filter(words)? else {
        return Ok(None);
    };
    let lowered = filter.lower();
    if lowered.exact {
        return Ok(Some(filter));
    }
    output::complain(&anyhow::anyhow!(
        "the kernel counts, and this filter asks for what it does not know: {}",
        lowered.rest.join(", ")
    ));
    Ok(None)
}

fn listen(at: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))
}

struct Session<'a> {
    board: Arc<Board>,
    inventory: Arc<Inventory>,
    labels: Labels,
    /// The first part of what is shown, once it is known.
    shown: Option<Shown>,
    filter: &'a Filter,
    out: &'a Output,
    /// Started when everything is attached, so that a failure to do so is told once.
    repeat: Option<(Repeated, Duration)>,
    checks: Option<Checks>,
}

impl Session<'_> {
    fn on_event(&mut self, event: PipelineEvent<'_>) -> ControlFlow<()> {
        match event {
            PipelineEvent::Ready(ready) => {
                self.inventory = ready.inventory.clone();
                self.shown = Some(Shown::new(ready));
                if self.out.ready(ready, &self.filter.to_string()).is_err() {
                    tracing::debug!("nobody reads stderr");
                }
                if let Some((checks, every)) = self.repeat.take() {
                    match Checks::start(checks, every, Arc::clone(&self.board)) {
                        Ok(checks) => self.checks = Some(checks),
                        Err(e) => output::complain(&e),
                    }
                }
            }
            PipelineEvent::Inventory(inventory) => self.inventory = inventory.clone(),
            PipelineEvent::Snapshot(snapshot, findings) => {
                if let Some(sums) = &snapshot.sums {
                    self.labels.update(&self.inventory, sums);
                }
                let (mut selected, findings) =
                    select::select(self.filter, &self.inventory, snapshot, findings);
                selected.sums.clone_from(&snapshot.sums);
                if let Some(shown) = &self.shown {
                    self.board.show(Shown {
                        snapshot: selected,
                        findings,
                        inventory: self.inventory.clone(),
                        labels: self.labels.clone(),
                        ..*shown
                    });
                }
            }
            PipelineEvent::Event(_) | PipelineEvent::Recording(_) | PipelineEvent::Attached(_) => {}
        }
        ControlFlow::Continue(())
    }
}
