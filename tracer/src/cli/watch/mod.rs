//! `tracer watch`: lines as things happen.

use std::{
    io::{self, Write as _},
    ops::ControlFlow,
    sync::Arc,
};

use anyhow::Result;

use super::{
    OK, USAGE,
    args::{Format, Options, WatchOptions},
    output::{self, Output},
};
use crate::{
    diagnose::Finding,
    event::Event,
    filter::Filter,
    inventory::Inventory,
    model::{Direction, Snapshot},
    pipeline::{self, PipelineEvent, Ready, SessionConfig},
    view::{
        Limit, WallClock,
        changes::{Change, Changes},
        json, select, stream,
        text::{self, Summary, Text},
    },
};

pub(super) fn run(
    options: &Options,
    watch: &WatchOptions,
    filter: &[String],
    out: Output,
) -> Result<u8> {
    let Some(filter) = output::filter(filter)? else {
        return Ok(USAGE);
    };
    let config = SessionConfig {
        each_packet: watch.packets,
        duration: watch.duration,
        drop_root: true,
        ..options.session(filter.clone())
    };
    let mut lines = Lines::new(options, watch.packets, filter, out);
    let end = pipeline::run(&config, &mut |event| lines.on_event(event))?;
    lines.finish(&end)?;
    Ok(OK)
}

/// Turns what the pipeline tells into lines.
struct Lines {
    out: Output,
    filter: Filter,
    packets: bool,
    verbose: bool,
    quiet: bool,
    /// Lines that may still be written.
    left: Option<u64>,
    inventory: Arc<Inventory>,
    clock: WallClock,
    changes: Changes,
    failed: Option<io::Error>,
}

impl Lines {
    fn new(options: &Options, packets: bool, filter: Filter, out: Output) -> Self {
        Self {
            out,
            filter,
            packets,
            verbose: options.verbose > 0,
            quiet: options.quiet,
            left: options.count,
            inventory: Arc::default(),
            clock: WallClock::default(),
            changes: Changes::default(),
            failed: None,
        }
    }

    fn on_event(&mut self, event: PipelineEvent<'_>) -> ControlFlow<()> {
        let written = match event {
            PipelineEvent::Ready(ready) => self.on_ready(ready),
            PipelineEvent::Inventory(inventory) => {
                self.inventory = inventory.clone();
                Ok(())
            }
            PipelineEvent::Recording(_) | PipelineEvent::Attached(_) => Ok(()),
            PipelineEvent::Event(event) => self.on_packet(event),
            PipelineEvent::Snapshot(snapshot, findings) => self.on_snapshot(snapshot, findings),
        };
        match written {
            Ok(()) if self.left == Some(0) => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                self.failed = Some(e);
                ControlFlow::Break(())
            }
        }
    }

    fn on_ready(&mut self, ready: &Ready) -> io::Result<()> {
        self.inventory = ready.inventory.clone();
        self.clock = output::clock(ready.wall_offset_ns);
        let filter = self.filter.to_string();
        if self.out.format == Format::Json {
            let cx = self.out.context(&self.inventory, &self.clock);
            let limits: &[Limit] = &ready.limits;
            let body = stream::ready(&cx, &filter, &ready.intent, limits);
            let line = stream::line(&cx, ready.started, body);
            json::write_line(&mut self.out.stdout, &line)?;
            self.out.stdout.flush()?;
        }
        self.out.ready(ready, &filter)
    }

    fn on_packet(&mut self, event: &Event) -> io::Result<()> {
        if !self.packets || self.left == Some(0) {
            return Ok(());
        }
        let Some(p) = select::packet(&self.filter, &self.inventory, event) else {
            return Ok(());
        };
        let cx = self.out.context(&self.inventory, &self.clock);
        if self.out.format == Format::Json {
            let line = stream::line(&cx, event.at, stream::packet(&cx, p));
            json::write_line(&mut self.out.stdout, &line)?;
        } else {
            let line = text::packet(
                &Text {
                    cx,
                    style: self.out.style,
                },
                event.at,
                p,
            );
            self.out.print(&line)?;
        }
        self.count_one();
        Ok(())
    }

    fn on_snapshot(&mut self, s: &Snapshot, findings: &[Finding]) -> io::Result<()> {
        let (s, findings) = select::select(&self.filter, &self.inventory, s, findings);
        self.tell(&s, &findings, false)
    }

    /// Writes what is new in what the filter left of a snapshot.
    fn tell(&mut self, s: &Snapshot, findings: &[Finding], last: bool) -> io::Result<()> {
        for change in self.changes.update(s, findings, last) {
            // with a line for each packet, only what the packets do not say
            let told = matches!(change, Change::New(_) | Change::Route(_) | Change::End(_));
            if self.left == Some(0) || (self.packets && told) {
                continue;
            }
            let cx = self.out.context(&self.inventory, &self.clock);
            if self.out.format == Format::Json {
                let line = stream::line(&cx, s.at, stream::change(&cx, &change));
                json::write_line(&mut self.out.stdout, &line)?;
            } else {
                let t = Text {
                    cx,
                    style: self.out.style,
                };
                let Some(line) = text::change(&t, &change, s.at, self.verbose) else {
                    continue;
                };
                self.out.print(&line)?;
            }
            self.count_one();
        }
        self.out.stdout.flush()
    }

    fn count_one(&mut self) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
    }

    fn finish(mut self, end: &pipeline::SessionEnd) -> Result<()> {
        if let Some(e) = self.failed.take() {
            return Err(e.into());
        }
        self.inventory = end.inventory.clone();
        let (s, findings) =
            select::select(&self.filter, &self.inventory, &end.snapshot, &end.findings);
        self.tell(&s, &findings, true)?;
        let summary = summary(&s);
        if self.out.format == Format::Json {
            let cx = self.out.context(&self.inventory, &self.clock);
            let ns = s.at.since(s.started);
            let line = stream::line(&cx, s.at, stream::end(&summary, ns));
            json::write_line(&mut self.out.stdout, &line)?;
        } else if !self.quiet {
            self.out.stdout.flush()?;
            io::stderr()
                .lock()
                .write_all(text::summary(&summary).as_bytes())?;
        }
        self.out.stdout.flush()?;
        Ok(())
    }
}

/// Totals of the flows that are shown.
pub(super) fn summary(s: &Snapshot) -> Summary {
    let dropped = |d: &Direction| d.drops.iter().map(|x| x.count).sum::<u64>();
    let stray: u64 = s.stray_drops.iter().map(|d| d.count).sum();
    let (packets, drops) = s.flows.iter().fold((0, stray), |(packets, drops), f| {
        let (fwd, back) = (&f.forward, &f.reply);
        (
            packets + fwd.packets + back.packets,
            drops + dropped(fwd) + dropped(back),
        )
    });
    Summary {
        packets,
        flows: s.flows.len() as u64,
        drops,
        loss: s.loss,
    }
}

#[cfg(test)]
mod tests;
