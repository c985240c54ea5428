//! `tracer record`: a session into a capture file.

mod child;
mod target;

use std::{
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
    sync::Arc,
};

use anyhow::{Context as _, Result};

use super::{
    OK, USAGE,
    args::{Format, Options, RecordCommand},
    is_closed,
    output::{self, Output},
    size,
};
use crate::{
    capture::Counts,
    diagnose::Finding,
    event::KtimeNs,
    inventory::Inventory,
    model::Snapshot,
    pipeline::{self, PipelineEvent, Ready, Recorded, Recorder, SessionConfig, SessionEnd},
    probe::Recording,
    view::{
        json::{self, Session},
        select,
    },
};
use child::Child;
use target::{Files, Target};

pub(super) fn run(options: &Options, command: &RecordCommand, mut out: Output) -> Result<u8> {
    let Some(filter) = output::filter(&command.filter)? else {
        return Ok(USAGE);
    };
    let files = Files::new(&command.file, command.rotate.is_some(), command.files)?;
    let config = SessionConfig {
        duration: command.duration,
        recording: Some(Recording {
            snaplen: command.snaplen,
            buffer: command.buffer_size,
        }),
        // the next file is created where perhaps only root may; a command of root's is root's to end
        drop_root: command.rotate.is_none() && command.command.is_empty(),
        ..options.session(filter.clone())
    };
    let mut job = Job {
        command,
        options,
        config: &config,
        out: &out,
        text: command.filter.join(" "),
        files,
        recorder: None,
        child: None,
        failed: None,
        full: false,
        inventory: Arc::default(),
        progress: !options.quiet && io::stderr().is_terminal(),
        shown: KtimeNs::default(),
    };
    let end = pipeline::run(&config, &mut |event| job.on_event(event))?;
    job.finish(&end)?;
    if out.format == Format::Json && command.file.as_os_str() != "-" {
        let (snapshot, findings) =
            select::select(&filter, &end.inventory, &end.snapshot, &end.findings);
        print_json(&mut out, &end, &snapshot, &findings, &command.filter)?;
    }
    Ok(OK)
}

/// The object that `tracer read -o json` makes of the file.
fn print_json(
    out: &mut Output,
    end: &SessionEnd,
    snapshot: &Snapshot,
    findings: &[Finding],
    filter: &[String],
) -> Result<()> {
    let clock = output::clock(end.ready.wall_offset_ns);
    let cx = out.context(&end.inventory, &clock);
    let session = Session {
        snapshot,
        findings,
        limits: &end.ready.limits,
        filter: &filter.join(" "),
        intent: &end.ready.intent,
        verdict: None,
    };
    json::write_report(&mut out.stdout, &cx, &session)?;
    out.stdout.flush()?;
    Ok(())
}

struct Job<'a> {
    command: &'a RecordCommand,
    options: &'a Options,
    config: &'a SessionConfig,
    out: &'a Output,
    text: String,
    files: Files,
    recorder: Option<Recorder<Target>>,
    child: Option<Child>,
    failed: Option<anyhow::Error>,
    /// `--max-size` is reached.
    full: bool,
    inventory: Arc<Inventory>,
    /// A line on the terminal says how far it is.
    progress: bool,
    shown: KtimeNs,
}

impl Job<'_> {
    fn on_event(&mut self, event: PipelineEvent<'_>) -> ControlFlow<()> {
        if self.failed.is_some() {
            return ControlFlow::Break(());
        }
        match self.take(&event) {
            Ok(flow) => flow,
            Err(e) => {
                self.failed = Some(e);
                ControlFlow::Break(())
            }
        }
    }

    fn take(&mut self, event: &PipelineEvent<'_>) -> Result<ControlFlow<()>> {
        if let PipelineEvent::Ready(ready) = event {
            self.begin(ready)?;
            return Ok(ControlFlow::Continue(()));
        }
        if let PipelineEvent::Inventory(inventory) = event {
            self.inventory = Arc::clone(inventory);
        }
        let Some(recorder) = &mut self.recorder else {
            return Ok(ControlFlow::Continue(()));
        };
        let packet = matches!(event, PipelineEvent::Recording(Recorded::Packet(_)));
        let most = self.options.count.unwrap_or(u64::MAX);
        if packet && recorder.counts().packets >= most {
            return Ok(ControlFlow::Break(()));
        }
        // what was on its way when the size was reached has no room; its totals have
        let grows =
            packet || matches!(event, PipelineEvent::Event(_) | PipelineEvent::Inventory(_));
        if grows && self.full {
            return Ok(ControlFlow::Break(()));
        }
        recorder
            .take(event)
            .with_context(|| format!("cannot write {}", self.files.name()))?;
        let counts = recorder.counts();
        let ended = counts.file_bytes + counts.ending_bytes;
        self.full |= self.command.max_size.is_some_and(|most| ended >= most);
        if packet && (counts.packets >= most || self.full) {
            return Ok(ControlFlow::Break(()));
        }
        if self
            .command
            .rotate
            .is_some_and(|most| counts.file_bytes >= most)
        {
            let next = self.files.open_next()?;
            recorder
                .next_file(next)
                .with_context(|| format!("cannot write {}", self.files.name()))?;
        }
        match event {
            PipelineEvent::Recording(Recorded::Asked) => show_counters(&counts)?,
            PipelineEvent::Snapshot(snapshot, _) => {
                self.show_progress(snapshot, &counts)?;
                if self.full {
                    return Ok(ControlFlow::Break(()));
                }
                if let Some(child) = &mut self.child
                    && child.has_ended()?
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn begin(&mut self, ready: &Ready) -> Result<()> {
        self.inventory = ready.inventory.clone();
        let target = self.files.open_next()?;
        let rotates = self.command.rotate.is_some();
        let recorder = Recorder::new(target, self.config, &self.text, ready, rotates);
        self.recorder =
            Some(recorder.with_context(|| format!("cannot write {}", self.files.name()))?);
        self.out.ready(ready, &self.text)?;
        if let [program, args @ ..] = self.command.command.as_slice() {
            self.child = Some(Child::start(program, args, self.files.is_stdout())?);
        }
        Ok(())
    }

    fn show_progress(&mut self, snapshot: &Snapshot, counts: &Counts) -> io::Result<()> {
        if !self.progress || snapshot.at.since(self.shown) < 1_000_000_000 {
            return Ok(());
        }
        self.shown = snapshot.at;
        let seconds = snapshot.at.since(snapshot.started) / 1_000_000_000;
        let mut err = io::stderr().lock();
        write!(err, "\r{seconds} s: {}\x1b[K", so_far(counts))?;
        err.flush()
    }

    /// Ends the file and says what is in it.
    fn finish(mut self, end: &SessionEnd) -> Result<()> {
        if self.progress {
            write!(io::stderr().lock(), "\r\x1b[K")?;
        }
        if let Some(child) = self.child.take() {
            child.finish()?;
        }
        let name = self.files.name();
        let Some(recorder) = self.recorder.take() else {
            return self.failed.map_or(Ok(()), Err);
        };
        let counts = recorder.counts();
        if let Some(e) = self.failed.take() {
            let io = e.chain().find_map(|c| c.downcast_ref::<io::Error>());
            if !io.is_some_and(is_closed) {
                writeln!(
                    io::stderr().lock(),
                    "tracer: {name} ends there; `tracer read` reads what it holds"
                )?;
            }
            return Err(e);
        }
        recorder
            .finish(end)
            .with_context(|| format!("cannot write {name}"))?;
        if !self.options.quiet {
            let counts = Counts {
                tick: crate::capture::Tick {
                    loss: end.snapshot.loss,
                    ..counts.tick
                },
                ..counts
            };
            let flows = end.snapshot.flows.len();
            let findings = end.findings.len();
            writeln!(
                io::stderr().lock(),
                "tracer: {} in {}; {flows} flow{}, {findings} finding{}",
                so_far(&counts),
                self.out.style.name(&name),
                s(flows),
                s(findings),
            )?;
        }
        Ok(())
    }
}

/// What SIGUSR1 asks for.
fn show_counters(counts: &Counts) -> io::Result<()> {
    writeln!(io::stderr().lock(), "tracer: {}", so_far(counts))
}

fn s(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// `12 packets (3 dropped), 4.5 KiB, none lost`.
fn so_far(c: &Counts) -> String {
    let lost = match c.tick.loss.events {
        0 => "none lost".to_owned(),
        n => format!("{n} lost ({} of them packets)", c.tick.packets_lost),
    };
    format!(
        "{} packet{} ({} dropped), {}, {lost}",
        c.packets,
        s(c.packets as usize),
        c.drops,
        size::text(c.file_bytes)
    )
}
