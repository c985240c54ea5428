//! `tracer report`: a capture as a page for a ticket.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write as _},
    ops::ControlFlow,
    path::Path,
};

use anyhow::{Context as _, Result, bail};

use super::{
    OK, USAGE,
    args::{Options, ReportCommand},
    output::{self, Output},
    read,
};
use crate::{
    capture::Ending,
    decode,
    event::{KtimeNs, Tuple},
    pipeline::{Replay, Replayed},
    view::{
        report::{self, Page},
        select,
        text::{Style, Text},
    },
};

/// What the page is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Html,
    Markdown,
}

pub(super) fn run(options: &Options, command: &ReportCommand, mut out: Output) -> Result<u8> {
    let Some(filter) = output::filter(&command.filter)? else {
        return Ok(USAGE);
    };
    let kind = kind(command.to.as_deref())?;
    let name = command.file.display().to_string();
    let cannot = || format!("cannot read {name}");
    let mut replay = Replay::new(read::open(&command.file)?).with_context(cannot)?;
    read::meant(options, replay.intent_mut())?;
    let ends = ends(&mut replay).with_context(cannot)?;
    let (end, facts) = replay.finish();
    read::warn(&out, &name, &facts)?;
    let (snapshot, findings) =
        select::select(&filter, &end.inventory, &end.snapshot, &end.findings);
    let shown = |tuple: &Option<Tuple>| {
        let Some(t) = tuple else {
            return command.filter.is_empty();
        };
        snapshot
            .flows
            .iter()
            .any(|f| f.id.tuple == *t || f.id.tuple == t.reversed())
    };
    let drops: Vec<(KtimeNs, u64)> = ends
        .iter()
        .filter(|(tuple, _)| shown(tuple))
        .flat_map(|(_, moments)| moments.iter().copied())
        .collect();
    let clock = output::clock(end.ready.wall_offset_ns);
    let lacks = lacks(&facts.ending);
    let filter_text = command.filter.join(" ");
    let file = read::file(&name, &facts, &clock);
    let page = Page {
        text: Text {
            cx: out.context(&end.inventory, &clock),
            style: Style::default(),
        },
        snapshot: &snapshot,
        findings: &findings,
        intent: &end.ready.intent,
        limits: &end.ready.limits,
        filter: &filter_text,
        file: &file,
        lacks,
        drops: &drops,
    };
    let text = match kind {
        Kind::Html => report::html(&page),
        Kind::Markdown => report::markdown(&page),
    };
    match &command.to {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => out.print(&text)?,
    }
    out.stdout.flush()?;
    Ok(OK)
}

fn kind(to: Option<&Path>) -> Result<Kind> {
    let Some(path) = to else {
        return Ok(Kind::Html);
    };
    match path.extension().and_then(|e| e.to_str()) {
        Some("html" | "htm") => Ok(Kind::Html),
        Some("md") => Ok(Kind::Markdown),
        _ => bail!(
            "{}: a report is a page (.html) or Markdown (.md)",
            path.display()
        ),
    }
}

/// When packets ended, by their addresses.
type Ends = HashMap<Option<Tuple>, Vec<(KtimeNs, u64)>>;

fn ends(replay: &mut Replay<impl Read>) -> Result<Ends, crate::capture::ReadError> {
    let offset = replay.header().wall_offset_ns;
    let mut ends = Ends::new();
    let mut take = |told: Replayed<'_>| {
        if let Replayed::Packet(p) = told
            && p.drop.is_some()
        {
            let tuple = decode::frame(p.bytes).map(|h| h.tuple);
            let at = KtimeNs(p.wall_ns.saturating_sub(offset));
            ends.entry(tuple).or_default().push((at, u64::from(p.segs)));
        }
        ControlFlow::Continue(())
    };
    while replay.step(&mut take)?.is_continue() {}
    Ok(ends)
}

fn lacks(ending: &Ending) -> Option<&'static str> {
    match ending {
        Ending::Whole => None,
        Ending::Unfinished => Some(
            "The file has no end: tracer was killed, or still wrote it. The last second may be missing.",
        ),
        Ending::Cut(_) => Some("The file was cut; what came later is missing."),
        Ending::Damaged(..) => Some("The file is damaged; what came later is missing."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_is_written() {
        let of = |name: &str| kind(Some(Path::new(name))).ok();
        assert_eq!(of("a.html"), Some(Kind::Html));
        assert_eq!(of("a.md"), Some(Kind::Markdown));
        assert_eq!(of("a.pcapng"), None);
        assert_eq!(kind(None).unwrap(), Kind::Html);
    }
}
