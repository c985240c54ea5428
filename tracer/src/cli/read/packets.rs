//! `tracer read --packets`: the packets of a capture, a line each.

use std::{
    io::{self, Read, Write as _},
    ops::ControlFlow,
    sync::Arc,
};

use anyhow::Result;

use crate::{
    capture::{Packet, What},
    cli::{
        args::{Format, Options},
        output::{self, Output},
    },
    decode,
    event::{Body, Dir, Encap, Event, HopKey, Ifindex, KtimeNs, PacketSample},
    filter::Filter,
    inventory::Inventory,
    pipeline::{PipelineEvent, Replay, Replayed},
    view::{
        WallClock, json, select, stream,
        text::{self, Text},
    },
};

/// Prints packets until the file or the count ends; true when it was the file.
pub(super) fn print(
    replay: &mut Replay<impl Read>,
    options: &Options,
    filter: &Filter,
    out: &mut Output,
) -> Result<bool> {
    let mut lines = Lines {
        out,
        filter,
        inventory: replay.inventory().clone(),
        clock: output::clock(replay.header().wall_offset_ns),
        wall_offset_ns: replay.header().wall_offset_ns,
        left: options.count.unwrap_or(u64::MAX),
        failed: None,
    };
    while replay.step(&mut |told| lines.take(&told))?.is_continue() {}
    if let Some(e) = lines.failed {
        return Err(e.into());
    }
    let whole = lines.left > 0;
    out.stdout.flush()?;
    Ok(whole)
}

struct Lines<'a> {
    out: &'a mut Output,
    filter: &'a Filter,
    inventory: Arc<Inventory>,
    clock: WallClock,
    wall_offset_ns: u64,
    left: u64,
    failed: Option<io::Error>,
}

impl Lines<'_> {
    fn take(&mut self, told: &Replayed<'_>) -> ControlFlow<()> {
        let written = match told {
            Replayed::Session(PipelineEvent::Inventory(inventory)) => {
                self.inventory = Arc::clone(inventory);
                Ok(())
            }
            Replayed::Packet(packet) => self.packet(packet),
            Replayed::Session(_) | Replayed::Tick(_) => Ok(()),
        };
        if let Err(e) = written {
            self.failed = Some(e);
            return ControlFlow::Break(());
        }
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn packet(&mut self, p: &Packet<'_>) -> io::Result<()> {
        let Some((event, encap)) = event(p, self.wall_offset_ns) else {
            return Ok(());
        };
        let matches = select::recorded(self.filter, &self.inventory, &event, encap, p.drop);
        let Some(sample) = matches else {
            return Ok(());
        };
        let cx = self.out.context(&self.inventory, &self.clock);
        if self.out.format == Format::Json {
            let body = stream::recorded(&cx, sample, p.drop, p.id);
            json::write_line(&mut self.out.stdout, &stream::line(&cx, event.at, body))?;
        } else {
            let t = Text {
                cx,
                style: self.out.style,
            };
            let line = match p.drop {
                Some(drop) => text::packet_end(&t, event.at, sample, drop),
                None => text::packet(&t, event.at, sample),
            };
            self.out.print(&line)?;
        }
        self.left -= 1;
        Ok(())
    }
}

/// As it came live; `None` when its bytes are not IP or cut within the headers.
fn event(p: &Packet<'_>, wall_offset_ns: u64) -> Option<(Event, Option<Encap>)> {
    let headers = decode::frame(p.bytes)?;
    let dir = match p.interface.what {
        What::Out => Dir::Out,
        What::In | What::Drop => Dir::In,
    };
    let sample = PacketSample {
        key: HopKey {
            tuple: headers.tuple,
            encap: headers.encap.map(|e| e.key),
            netns: p.interface.netns,
            dev: p.interface.dev,
            dir,
            in_dev: (p.in_dev != 0).then_some(Ifindex(p.in_dev)),
            tunnel_key: None,
        },
        len: p.len,
        segs: p.segs,
        tcp_flags: headers.tcp_flags,
        ip_id: headers.ip_id,
    };
    let event = Event {
        at: KtimeNs(p.wall_ns.saturating_sub(wall_offset_ns)),
        body: Body::Packet(sample),
    };
    Some((event, headers.encap))
}
