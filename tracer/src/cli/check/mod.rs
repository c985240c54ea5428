//! `tracer check`: wait for traffic, judge it.

use std::{io::Write as _, ops::ControlFlow};

use anyhow::Result;

use super::{
    USAGE,
    args::{CheckCommand, Format, Options},
    output::{self, Output},
};
use crate::{
    filter::Filter,
    pipeline::{self, PipelineEvent, SessionConfig, SessionEnd},
    view::{
        check::{Evidence, Verdict, judge},
        json::{self, Session},
        select,
        text::{self, Text},
    },
};

pub(super) fn run(options: &Options, command: &CheckCommand, mut out: Output) -> Result<u8> {
    let Some(filter) = output::filter(&command.filter)? else {
        return Ok(USAGE);
    };
    let config = SessionConfig {
        duration: Some(command.duration),
        ..options.session(filter.clone())
    };
    let text = command.filter.join(" ");
    let mut inventory = std::sync::Arc::default();
    let mut failed = None;
    let end = pipeline::run(&config, &mut |event| {
        match event {
            PipelineEvent::Ready(ready) => {
                inventory = ready.inventory.clone();
                if let Err(e) = out.ready(ready, &text) {
                    failed = Some(e);
                    return ControlFlow::Break(());
                }
            }
            PipelineEvent::Inventory(i) => inventory = i.clone(),
            PipelineEvent::Snapshot(s, _) => {
                let enough = |n| {
                    let (s, _) = select::select(&filter, &inventory, s, &[]);
                    s.flows.iter().map(|f| f.forward.packets).sum::<u64>() >= n
                };
                if options.count.is_some_and(enough) {
                    return ControlFlow::Break(());
                }
            }
            PipelineEvent::Event(_) => {}
        }
        ControlFlow::Continue(())
    })?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    conclude(options, command, &filter, &end, &mut out)
}

/// Judges and prints.
fn conclude(
    options: &Options,
    command: &CheckCommand,
    filter: &Filter,
    end: &SessionEnd,
    out: &mut Output,
) -> Result<u8> {
    let (snapshot, findings) = select::select(filter, &end.inventory, &end.snapshot, &end.findings);
    let verdict: Verdict = judge(
        &command.expect.expectations(),
        &Evidence {
            flows: &snapshot.flows,
            findings: &findings,
            inventory: &end.inventory,
            loss: snapshot.loss,
            limits: &end.ready.limits,
        },
    );
    let clock = output::clock(end.ready.wall_offset_ns);
    let cx = out.context(&end.inventory, &clock);
    let text = command.filter.join(" ");
    let session = Session {
        snapshot: &snapshot,
        findings: &findings,
        limits: &end.ready.limits,
        filter: &text,
        verdict: Some(&verdict),
    };
    if out.format == Format::Json {
        json::write_report(&mut out.stdout, &cx, &session)?;
    } else {
        let t = Text {
            cx,
            style: out.style,
        };
        let shown = if options.quiet {
            text::verdict(out.style, &verdict)
        } else {
            text::report(&t, &session, options.verbose > 0)
        };
        out.print(&shown)?;
    }
    out.stdout.flush()?;
    Ok(verdict.exit_code())
}

#[cfg(test)]
mod tests;
