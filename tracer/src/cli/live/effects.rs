//! What the interface asks for beside drawing.

use std::{
    fs::OpenOptions,
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    filter::Filter,
    view::{
        ViewContext,
        json::{self, Session},
        select,
        tui::{Action, Export, Setup},
    },
};

/// Writes what is shown to a new file, on a thread of its own, and says so.
pub(super) fn export(export: Export, setup: Setup, said: UnboundedSender<Action>) {
    tokio::task::spawn_blocking(move || {
        let action = match write(&export, &setup) {
            Ok(path) => Action::Say(format!("written: {}", path.display()), false),
            Err(e) => Action::Say(format!("{e:#}"), true),
        };
        // nobody listens any more when the interface has ended
        drop(said.send(action));
    });
}

/// The same object as `tracer read -o json`, readable by its owner only: it names what talks to
/// what.
fn write(export: &Export, setup: &Setup) -> Result<PathBuf> {
    let p = &export.picture;
    let filter = Filter::parse(&export.filter).context("the filter")?;
    let (snapshot, findings) = select::select(&filter, &p.inventory, &p.snapshot, &p.findings);
    let at = setup.clock.rfc3339(snapshot.at);
    let path = PathBuf::from(file_name(&p.inventory.node, &at, "json"));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    let cx = ViewContext {
        inventory: &p.inventory,
        clock: &setup.clock,
        meaning: setup.meaning,
        numeric: setup.numeric,
    };
    let both = both(&setup.filter, &export.filter);
    let session = Session {
        snapshot: &snapshot,
        findings: &findings,
        limits: &p.limits,
        filter: &both,
        intent: &p.intent,
        verdict: None,
    };
    let mut out = BufWriter::new(file);
    json::write_report(&mut out, &cx, &session)
        .and_then(|()| out.flush())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The filter of the start and that of the view, as one.
pub(super) fn both(start: &str, view: &str) -> String {
    match (start.is_empty(), view.is_empty()) {
        (false, false) => format!("({start}) and ({view})"),
        _ => [start, view].concat(),
    }
}

/// `tracer-NODE-2026-11-22T05:00:10.000Z.json` without what a file's name should not hold.
pub(super) fn file_name(node: &str, time: &str, kind: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let node: String = node
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .take(64)
        .collect();
    format!("tracer-{node}-{}.{kind}", time.replace(':', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_the_directory() {
        assert_eq!(
            file_name("../n1\n", "2026-11-22T05:00:10.000Z", "json"),
            "tracer-.._n1_-2026-11-22T050010.000Z.json"
        );
    }
}
