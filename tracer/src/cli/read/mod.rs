//! `tracer read`: a capture into the same views as a live session.

mod packets;

use std::{
    fs::File,
    io::{self, BufReader, Read, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{
    OK, USAGE,
    args::{Format, Options, ReadCommand},
    live,
    output::{self, Output},
};
use crate::{
    capture::Ending,
    cluster,
    diagnose::{Intent, Source},
    filter::Filter,
    pipeline::{self, FileFacts, SessionEnd},
    view::{
        WallClock,
        check::{Evidence, Verdict, judge},
        json::{self, Session},
        schema, select,
        text::{self, Text},
    },
};

pub(super) fn run(options: &Options, command: &ReadCommand, mut out: Output) -> Result<u8> {
    if command.tui {
        return live::replay(options, command, out);
    }
    let Some(filter) = output::filter(&command.filter)? else {
        return Ok(USAGE);
    };
    let name = command.file.display().to_string();
    let input = open(&command.file)?;
    let cannot = || format!("cannot read {name}");
    let mut replay = pipeline::Replay::new(input).with_context(cannot)?;
    meant(options, replay.intent_mut())?;
    if command.packets {
        let whole = packets::print(&mut replay, options, &filter, &mut out).with_context(cannot)?;
        if whole {
            let (_, facts) = replay.finish();
            warn(&out, &name, &facts)?;
        }
        return Ok(OK);
    }
    while replay
        .step(&mut |_| std::ops::ControlFlow::Continue(()))
        .with_context(cannot)?
        .is_continue()
    {}
    let (end, facts) = replay.finish();
    warn(&out, &name, &facts)?;
    show(options, command, (&filter, &name), (&end, &facts), &mut out)
}

/// What was given of what the network is meant to do wins over what the file says.
pub(in crate::cli) fn meant(options: &Options, intent: &mut Intent) -> Result<()> {
    let given = options.cluster();
    if given.file.is_some() {
        *intent = cluster::intent(&given)?;
        return Ok(());
    }
    if let Some(mode) = given.mode {
        (intent.mode, intent.source) = (mode, Source::Flag);
    }
    if !given.pod_cidrs.is_empty() {
        intent.pod_cidrs = given.pod_cidrs;
    }
    if !given.node_cidrs.is_empty() {
        intent.node_cidrs = given.node_cidrs;
    }
    Ok(())
}

/// A file, or standard input.
pub(in crate::cli) fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}

/// What the file lacks, on stderr.
pub(in crate::cli) fn warn(out: &Output, name: &str, facts: &FileFacts) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let name = out.style.name(name);
    let clock = output::clock(facts.header.wall_offset_ns);
    let until = clock.time_of_day(facts.tick.at);
    match &facts.ending {
        Ending::Whole => {}
        Ending::Unfinished => writeln!(
            err,
            "tracer: {name} has no end: tracer was killed, or still writes it; totals are complete \
             up to {until}"
        )?,
        Ending::Cut(at) => writeln!(
            err,
            "tracer: {name} was cut at byte {at}; totals are complete up to {until}"
        )?,
        Ending::Damaged(at, why) => writeln!(
            err,
            "tracer: {name} is damaged at byte {at}: {why}; what stands behind it is not read, \
             totals are complete up to {until}"
        )?,
    }
    if facts.unreadable > 0 {
        writeln!(
            err,
            "tracer: {} lines or packets of {name} make no sense and are left out",
            facts.unreadable
        )?;
    }
    Ok(())
}

/// Judges when something is expected, and prints.
fn show(
    options: &Options,
    command: &ReadCommand,
    (filter, name): (&Filter, &str),
    (end, facts): (&SessionEnd, &FileFacts),
    out: &mut Output,
) -> Result<u8> {
    let (snapshot, findings) = select::select(filter, &end.inventory, &end.snapshot, &end.findings);
    let expected = command.expect.expectations();
    let judged = expected.is_any();
    let verdict: Option<Verdict> = judged.then(|| {
        judge(
            &expected,
            &Evidence {
                flows: &snapshot.flows,
                findings: &findings,
                inventory: &end.inventory,
                loss: snapshot.loss,
                limits: &end.ready.limits,
            },
        )
    });
    let clock = output::clock(end.ready.wall_offset_ns);
    let cx = out.context(&end.inventory, &clock);
    let session = Session {
        snapshot: &snapshot,
        findings: &findings,
        limits: &end.ready.limits,
        filter: &command.filter.join(" "),
        intent: &end.ready.intent,
        verdict: verdict.as_ref(),
    };
    if out.format == Format::Json {
        let report = schema::Read {
            report: json::report(&cx, &session),
            file: file(name, facts, &clock),
        };
        json::write_line(&mut out.stdout, &report)?;
    } else {
        let t = Text {
            cx,
            style: out.style,
        };
        if !options.quiet {
            let line = about(&t, name, facts, &snapshot);
            out.print(&line)?;
        }
        let shown = text::report(&t, &session, options.verbose > 0);
        out.print(&shown)?;
    }
    out.stdout.flush()?;
    Ok(verdict.map_or(OK, |v| v.exit_code()))
}

/// What the file is: `a.pcapng: n1, Linux 6.18, 2026-11-22T05:00:00.000Z, 10.0 s, 12 packets`.
fn about(t: &Text<'_>, name: &str, facts: &FileFacts, snapshot: &crate::model::Snapshot) -> String {
    let (cx, h) = (&t.cx, &facts.header);
    let seconds = snapshot.at.since(h.started) as f64 / 1e9;
    let filter = if h.filter.is_empty() {
        String::new()
    } else {
        format!(", filter {}", h.filter)
    };
    let lost = match facts.tick.packets_lost {
        0 => String::new(),
        n => format!(", {n} more were lost"),
    };
    let line = format!(
        "{name}: {}, Linux {}, {}, {seconds:.1} s, {} packets{lost}{filter}",
        cx.inventory.node,
        cx.inventory.kernel,
        cx.clock.rfc3339(h.started),
        facts.packets,
    );
    let mut line = t.style.sentence(&line).into_owned();
    line.push('\n');
    if snapshot.flows.is_empty() {
        line.push_str("no flows\n");
    }
    line
}

/// The file, as machine output has it.
pub(in crate::cli) fn file<'a>(
    name: &'a str,
    facts: &'a FileFacts,
    clock: &WallClock,
) -> schema::File<'a> {
    schema::File {
        name,
        tracer: &facts.header.tracer,
        filter: Some(facts.header.filter.as_str()).filter(|f| !f.is_empty()),
        snaplen: facts.header.snaplen,
        packets: facts.packets,
        packets_lost: facts.tick.packets_lost,
        part: facts.header.part,
        complete: facts.ending == Ending::Whole,
        cut_at: match facts.ending {
            Ending::Cut(at) | Ending::Damaged(at, _) => Some(at),
            Ending::Whole | Ending::Unfinished => None,
        },
        until: clock.rfc3339(facts.tick.at),
        unreadable: facts.unreadable,
    }
}
