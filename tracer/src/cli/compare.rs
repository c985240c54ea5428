//! `tracer compare`: two nodes' captures, joined.

use std::{io::Write as _, ops::ControlFlow, path::Path};

use anyhow::{Context as _, Result};

use super::{
    USAGE,
    args::{CompareCommand, Format, Options},
    output::{self, Output},
    read,
};
use crate::{
    capture::{Packet, What},
    compare::{Compared, Observation, Place, Side, compare},
    event::Body,
    pipeline::{PipelineEvent, Replay, Replayed},
    view::{
        compare::{self as view, Captures},
        json, select,
    },
};

pub(super) fn run(options: &Options, command: &CompareCommand, mut out: Output) -> Result<u8> {
    let Some(filter) = output::filter(&command.filter)? else {
        return Ok(USAGE);
    };
    let a = side(&command.a, &out)?;
    let b = side(&command.b, &out)?;
    let mut compared: Compared = compare(&a, &b);
    compared.keep(|tuple| {
        // each node knows its own pods
        let matches = |side: &Side| select::tuple_matches(&filter, &side.inventory, tuple);
        matches(&a) || matches(&b)
    });
    let (name_a, name_b) = (
        command.a.display().to_string(),
        command.b.display().to_string(),
    );
    let files = Captures {
        a: (&a, &name_a),
        b: (&b, &name_b),
        numeric: options.numeric,
    };
    if out.format == Format::Json {
        json::write_line(&mut out.stdout, &view::object(&files, &compared))?;
    } else {
        let text = view::text(out.style, &files, &compared, options.verbose > 0);
        out.print(&text)?;
    }
    out.stdout.flush()?;
    Ok(view::exit_code(&compared))
}

/// Reads one capture.
fn side(path: &Path, out: &Output) -> Result<Side> {
    let cannot = || format!("cannot read {}", path.display());
    let mut replay = Replay::new(read::open(path)?).with_context(cannot)?;
    let wall = replay.header().wall_offset_ns;
    let started = wall.saturating_add(replay.header().started.0);
    let mut side = Side::new((**replay.inventory()).clone(), started);
    let mut take = |told: Replayed<'_>| {
        match told {
            Replayed::Packet(packet) => side.take(&observation(packet)),
            Replayed::Tick(tick) => {
                side.until_ns = wall.saturating_add(tick.at.0);
                side.loss = tick.loss;
                side.packets_lost = tick.packets_lost;
            }
            Replayed::Session(PipelineEvent::Event(event)) => {
                if let Body::Hop(hop) = &event.body
                    && let Some(nat) = hop.nat
                {
                    side.translates(nat);
                }
            }
            Replayed::Session(_) => {}
        }
        ControlFlow::Continue(())
    };
    while replay.step(&mut take).with_context(cannot)?.is_continue() {}
    let (end, facts) = replay.finish();
    side.inventory = (*end.inventory).clone();
    read::warn(out, &path.display().to_string(), &facts)?;
    Ok(side)
}

fn observation<'a>(p: &Packet<'a>) -> Observation<'a> {
    Observation {
        id: p.id,
        wall_ns: p.wall_ns,
        netns: p.interface.netns,
        dev: p.interface.dev,
        place: match (p.interface.what, p.drop) {
            (What::In, _) => Place::In,
            (What::Out, _) => Place::Out,
            (What::Drop, Some((reason, symbol))) => Place::Drop(reason, symbol),
            (What::Drop, None) => Place::Drop("?", "?"),
        },
        gso: p.gso_size,
        bytes: p.bytes,
    }
}
