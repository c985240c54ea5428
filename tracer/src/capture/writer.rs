//! Writes a capture.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
};

use super::{
    End, Header, Line, Tick,
    block::{
        EPB_VERDICT, LINES, MAGIC, OPT_COMMENT, OPT_DROP, PACKET, Put, SECTION, SHB_OS,
        SHB_USERAPPL,
    },
    comment::{self, Comments},
    frame::{FRAME_MORE, Frame},
    identity::Identity,
    interface::Interfaces,
    options,
    totals::Totals,
    version::SCHEMA,
};
use crate::{
    event::{Dir, Event, HopKey, KtimeNs, PacketPlace, RawPacket},
    inventory::Inventory,
};

/// Whole blocks are handed on when this much is there, and at each tick that is a second after the
/// last.
const BUFFER: usize = 256 << 10;
/// Lines are put in a block when this much is there.
const LINES_FULL: usize = 64 << 10;
/// A line of an event is not taken to be shorter.
const LINE: usize = 768;
/// Totals of which nothing was heard yet.
const QUEUED: usize = 8;
/// Block of statistics of an interface.
const STATISTICS_BYTES: usize = 64;
/// The last line, a packet's headers and options, and the frames of blocks.
const LAST: usize = 2048;
/// Between two times that everything is handed on.
const FLUSH_NS: u64 = 1_000_000_000;
/// `epb_verdict` of kind "Linux eBPF TC" with the value `TC_ACT_SHOT`: the only one of the verdicts
/// that pcapng defines which says that a packet was dropped in software.
const VERDICT_SHOT: [u8; 9] = [1, 2, 0, 0, 0, 0, 0, 0, 0];

/// What a recording holds so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets in all files.
    pub packets: u64,
    /// Of them: ends.
    pub drops: u64,
    /// Bytes of the file that is being written.
    pub file_bytes: u64,
    /// Bytes that it takes to end the file, as far as can be told.
    pub ending_bytes: u64,
    /// What was lost, by the last tick.
    pub tick: Tick,
}

/// Writes one file after the other, each complete in itself.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    header: Header,
    inventory: Arc<Inventory>,
    /// Whole blocks.
    blocks: Vec<u8>,
    /// Lines that are in no block yet.
    lines: Vec<u8>,
    interfaces: Interfaces,
    identity: Identity,
    comments: Comments,
    totals: Totals,
    counts: Counts,
    file_packets: u64,
    flushed: KtimeNs,
    comment: String,
    /// Moments since totals were written: a flow that is new has a total soon.
    moments: usize,
    /// The longest line of an event so far.
    longest: usize,
}

impl<W: Write> Writer<W> {
    /// Begins a file. `rotates`: [`Writer::next_file`] will be called.
    pub fn new(
        out: W,
        header: Header,
        inventory: Arc<Inventory>,
        rotates: bool,
    ) -> io::Result<Self> {
        let mut w = Self {
            out,
            header: Header {
                schema: SCHEMA.to_owned(),
                tracer: env!("CARGO_PKG_VERSION").to_owned(),
                ..header
            },
            inventory,
            blocks: Vec::with_capacity(BUFFER + (64 << 10)),
            lines: Vec::new(),
            interfaces: Interfaces::default(),
            identity: Identity::default(),
            comments: Comments::default(),
            totals: Totals::new(rotates),
            counts: Counts::default(),
            file_packets: 0,
            flushed: KtimeNs::default(),
            comment: String::new(),
            moments: 0,
            longest: LINE,
        };
        w.flushed = w.header.started;
        w.begin()?;
        Ok(w)
    }

    /// What it holds.
    pub fn counts(&self) -> Counts {
        Counts {
            file_bytes: self.counts.file_bytes + (self.blocks.len() + self.lines.len()) as u64,
            ending_bytes: self.ending_bytes(),
            ..self.counts
        }
    }

    fn ending_bytes(&self) -> u64 {
        // each moment may be of a flow whose total comes, and so may those that are still queued
        let lines = self.totals.to_come() + 2 * self.moments + QUEUED;
        let totals = lines * self.longest;
        let interfaces = self.interfaces.count() * STATISTICS_BYTES;
        let packet = self.header.snaplen as usize;
        (totals + interfaces + packet + LAST) as u64
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut b = Put::begin(&mut self.blocks, SECTION);
        b.u32(MAGIC);
        b.u16(1);
        b.u16(0);
        b.u64(u64::MAX);
        let os = format!("Linux {}", self.inventory.kernel);
        b.option(SHB_OS, os.as_bytes());
        let tracer = format!("tracer {}", self.header.tracer);
        b.option(SHB_USERAPPL, tracer.as_bytes());
        b.end_options();
        self.line(&Line::Header(Box::new(self.header.clone())))?;
        self.line(&Line::Inventory(Box::new(Inventory::clone(
            &self.inventory,
        ))))?;
        self.close_lines();
        // so that whoever reads a pipe knows at once what it is
        self.write_blocks()?;
        self.out.flush()
    }

    /// One packet.
    pub fn packet(&mut self, p: &RawPacket<'_>) -> io::Result<()> {
        let number = self.interfaces.number(
            p,
            &mut self.blocks,
            &self.inventory,
            self.header.snaplen.saturating_add(FRAME_MORE),
        );
        let wall = self.header.wall_offset_ns.saturating_add(p.at.0);
        let mut b = Put::begin(&mut self.blocks, PACKET);
        b.u32(number);
        b.u32((wall >> 32) as u32);
        b.u32(wall as u32);
        let frame = Frame::of(p);
        b.u32(frame.len() as u32);
        // what is missing of the packet is behind what was captured
        let missing = (p.len as usize).saturating_sub(p.bytes.len());
        b.u32((frame.len() + missing) as u32);
        for part in frame.parts() {
            b.bytes(part);
        }
        b.pad(0);
        self.comment.clear();
        let flags = match &p.place {
            PacketPlace::Device(dir) => {
                if let Some(key) = p.hop_key() {
                    self.comment.push_str(self.comments.get(&key));
                }
                if *dir == Dir::In { 1 } else { 2u32 }
            }
            PacketPlace::Drop(place) => {
                self.comment.push_str(&comment::dropped(place));
                b.option(EPB_VERDICT, &VERDICT_SHOT);
                b.option(
                    OPT_DROP,
                    format!("{} {}", place.reason, place.symbol).as_bytes(),
                );
                self.counts.drops += 1;
                0
            }
        };
        if p.segs > 1 {
            comment::join(&mut self.comment, &format!("{} segments", p.segs));
        }
        if !self.comment.is_empty() {
            b.option(OPT_COMMENT, self.comment.as_bytes());
        }
        b.bytes(&options::always(flags, self.identity.number(p), p));
        b.end();
        self.counts.packets += 1;
        self.file_packets += 1;
        self.write_full()
    }

    /// A moment, written in its order.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        self.comments.learn(event, &self.inventory);
        self.totals.written(event);
        self.moments += 1;
        let before = self.lines.len();
        write_line(&mut self.lines, &EventLine { event })?;
        self.longest = self.longest.max(self.lines.len() - before);
        self.full_lines()
    }

    /// A total that changed, written with the next tick, or before when there are many.
    pub fn total(&mut self, event: &Event) -> io::Result<()> {
        self.comments.learn(event, &self.inventory);
        self.totals.changed(event);
        if self.totals.are_many() {
            self.write_totals()?;
        }
        Ok(())
    }

    /// The kernel's entry of a total that is no flow's was deleted: the next file does without it.
    pub fn forgotten(&mut self, event: &Event) {
        self.totals.forget(event);
    }

    /// The kernel's entry was deleted: its total is written, and then that.
    pub fn retired(&mut self, key: &HopKey) -> io::Result<()> {
        if let Some(event) = self.totals.take(key) {
            write_line(&mut self.lines, &EventLine { event: &event })?;
        }
        self.comments.forget(key);
        self.line(&Line::Retired(Box::new(*key)))
    }

    /// The node's configuration changed.
    pub fn inventory(&mut self, new: &Arc<Inventory>) -> io::Result<()> {
        let old = mem::replace(&mut self.inventory, new.clone());
        self.comments.forget_all();
        let mut same_but_for_netns = Inventory::clone(&old);
        same_but_for_netns.netns.clone_from(&new.netns);
        if same_but_for_netns != **new {
            return self.line(&Line::Inventory(Box::new(Inventory::clone(new))));
        }
        for gone in old.netns.keys().filter(|id| !new.netns.contains_key(id)) {
            self.line(&Line::Gone(*gone))?;
        }
        for (id, netns) in &new.netns {
            if old.netns.get(id) != Some(netns) {
                self.line(&Line::Netns(Box::new(netns.clone())))?;
            }
        }
        Ok(())
    }

    /// Time has passed. Once a second everything is handed on.
    pub fn tick(&mut self, tick: Tick) -> io::Result<()> {
        self.counts.tick = tick;
        if tick.at.since(self.flushed) < FLUSH_NS {
            return Ok(());
        }
        self.flush(tick)
    }

    fn flush(&mut self, tick: Tick) -> io::Result<()> {
        self.flushed = tick.at;
        self.write_totals()?;
        self.totals.tick();
        self.moments = 0;
        self.line(&Line::Tick(tick))?;
        self.close_lines();
        self.write_blocks()?;
        self.out.flush()
    }

    fn write_totals(&mut self) -> io::Result<()> {
        let mut done = Ok(());
        // there may be a hundred thousand of them: blocks are written as they become full
        let mut totals = mem::take(&mut self.totals);
        totals.drain(|event| {
            if done.is_ok() {
                done = write_line(&mut self.lines, &EventLine { event })
                    .and_then(|()| self.full_lines());
            }
        });
        self.totals = totals;
        done
    }

    /// Ends the file in order.
    pub fn finish(mut self, tick: Tick) -> io::Result<W> {
        self.end(tick, false)?;
        Ok(self.out)
    }

    /// Ends the file and goes on in the next one.
    pub fn next_file(&mut self, out: W) -> io::Result<W> {
        self.end(self.counts.tick, true)?;
        let before = mem::replace(&mut self.out, out);
        self.counts.file_bytes = 0;
        self.file_packets = 0;
        self.interfaces = Interfaces::default();
        self.header.part += 1;
        self.totals.reopen();
        self.begin()?;
        Ok(before)
    }

    fn end(&mut self, tick: Tick, continues: bool) -> io::Result<()> {
        self.counts.tick = tick;
        self.write_totals()?;
        self.moments = 0;
        let packets = self.file_packets;
        self.line(&Line::End(End {
            tick,
            packets,
            continues,
        }))?;
        self.close_lines();
        let wall = self.header.wall_offset_ns.saturating_add(tick.at.0);
        self.interfaces
            .statistics(&mut self.blocks, wall, tick.packets_lost);
        self.write_blocks()?;
        self.out.flush()
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        write_line(&mut self.lines, line)?;
        self.full_lines()
    }

    fn full_lines(&mut self) -> io::Result<()> {
        if self.lines.len() >= LINES_FULL {
            self.close_lines();
        }
        self.write_full()
    }

    fn close_lines(&mut self) {
        put_lines(&mut self.lines, &mut self.blocks);
    }

    fn write_full(&mut self) -> io::Result<()> {
        if self.blocks.len() < BUFFER {
            return Ok(());
        }
        self.write_blocks()
    }

    fn write_blocks(&mut self) -> io::Result<()> {
        self.out.write_all(&self.blocks)?;
        self.counts.file_bytes += self.blocks.len() as u64;
        self.blocks.clear();
        Ok(())
    }
}

/// [`Line::Event`] without a copy.
#[derive(serde::Serialize)]
struct EventLine<'a> {
    event: &'a Event,
}

fn write_line(lines: &mut Vec<u8>, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, line)?;
    lines.push(b'\n');
    Ok(())
}

/// Moves the lines into a block.
fn put_lines(lines: &mut Vec<u8>, blocks: &mut Vec<u8>) {
    if lines.is_empty() {
        return;
    }
    let mut b = Put::begin(blocks, LINES);
    b.bytes(lines);
    // an empty line says nothing
    b.pad(b'\n');
    b.end();
    lines.clear();
}
