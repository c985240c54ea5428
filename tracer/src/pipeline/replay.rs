//! A capture into the model: the same as a live session, fed by a file.

use std::{io::Read, ops::ControlFlow, sync::Arc};

use super::{Ended, PipelineEvent, Ready, SessionEnd};
use crate::{
    capture::{Block, End, Ending, Header, Line, Packet, ReadError, Reader, Tick},
    diagnose::{self, Finding, Intent},
    event::{Event, KtimeNs},
    inventory::Inventory,
    model::{Model, ModelConfig, Snapshot},
};

/// What a capture tells, in the order in which it was written.
#[derive(Debug)]
pub enum Replayed<'a> {
    /// What a session tells: events and configuration.
    Session(PipelineEvent<'a>),
    /// A packet.
    Packet(&'a Packet<'a>),
    /// A moment up to which everything was told.
    Tick(Tick),
}

/// A capture that is being read.
pub struct Replay<R> {
    reader: Reader<R>,
    header: Header,
    model: Model,
    inventory: Arc<Inventory>,
    intent: Intent,
    ready: Option<Ready>,
    end: Option<End>,
    tick: Tick,
    packets: u64,
}

/// What a file was, once it is read.
#[derive(Clone, Debug)]
pub struct FileFacts {
    /// What it says of itself.
    pub header: Header,
    /// How it ended.
    pub ending: Ending,
    /// Its last line.
    pub end: Option<End>,
    /// The last moment up to which it is complete.
    pub tick: Tick,
    /// Packets read.
    pub packets: u64,
    /// Lines and packets that made no sense.
    pub unreadable: u64,
}

/// Reads a capture to its end.
pub fn replay<R: Read>(
    input: R,
    each: &mut dyn FnMut(Replayed<'_>) -> ControlFlow<()>,
) -> Result<(SessionEnd, FileFacts), ReadError> {
    let mut replay = Replay::new(input)?;
    while replay.step(each)?.is_continue() {}
    Ok(replay.finish())
}

impl<R: Read> Replay<R> {
    /// Reads the beginning.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut replay = Self {
            reader: Reader::new(input)?,
            header: Header::default(),
            model: Model::new(ModelConfig::default()),
            inventory: Arc::default(),
            intent: Intent::default(),
            ready: None,
            end: None,
            tick: Tick::default(),
            packets: 0,
        };
        // the first block is the header's: `Reader::new` has seen it
        let _flow = replay.step(&mut |_| ControlFlow::Continue(()))?;
        Ok(replay)
    }

    /// What the network is meant to do, as the file says; may be changed.
    pub fn intent_mut(&mut self) -> &mut Intent {
        &mut self.intent
    }

    /// What the network is meant to do, as it is known.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// What the file says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The node's configuration at this place of the file.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// What a session tells first.
    pub fn ready(&self) -> Ready {
        self.ready.clone().unwrap_or_else(|| Ready {
            inventory: self.inventory.clone(),
            wall_offset_ns: self.header.wall_offset_ns,
            started: self.header.started,
            limits: self.header.limits.clone(),
            devices: 0,
            intent: self.intent.clone(),
        })
    }

    /// Reads one block and tells what is in it; breaks at the end of the file.
    pub fn step(
        &mut self,
        each: &mut dyn FnMut(Replayed<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let lines = match self.reader.next_block()? {
            None => return Ok(ControlFlow::Break(())),
            Some(Block::Packet(packet)) => {
                self.packets += 1;
                return Ok(each(Replayed::Packet(&packet)));
            }
            Some(Block::Lines(lines)) => lines,
        };
        for line in lines {
            if self.take(line, each).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn take(
        &mut self,
        line: Line,
        each: &mut dyn FnMut(Replayed<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match line {
            Line::Header(header) => {
                self.model = Model::new(ModelConfig {
                    started: header.started,
                    ..ModelConfig::default()
                });
                self.intent = header.intent.clone();
                self.header = *header;
            }
            Line::Inventory(inventory) => return self.configured(*inventory, each),
            Line::Netns(netns) => {
                let mut inventory = Inventory::clone(&self.inventory);
                inventory.netns.insert(netns.id, *netns);
                return self.configured(inventory, each);
            }
            Line::Gone(id) => {
                let mut inventory = Inventory::clone(&self.inventory);
                inventory.netns.remove(&id);
                return self.configured(inventory, each);
            }
            Line::Event(event) => return self.event(&event, each),
            Line::Retired(key) => self.model.retire(&key),
            Line::Tick(tick) => {
                self.ticked(tick);
                return each(Replayed::Tick(tick));
            }
            Line::End(end) => {
                let tick = end.tick;
                self.ticked(tick);
                self.end = Some(end);
                return each(Replayed::Tick(tick));
            }
        }
        ControlFlow::Continue(())
    }

    fn event(
        &mut self,
        event: &Event,
        each: &mut dyn FnMut(Replayed<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.model.apply(event);
        each(Replayed::Session(PipelineEvent::Event(event)))
    }

    fn ticked(&mut self, tick: Tick) {
        self.tick = tick;
        self.model.tick(tick.at);
        self.model.set_loss(tick.loss);
    }

    fn configured(
        &mut self,
        inventory: Inventory,
        each: &mut dyn FnMut(Replayed<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.inventory = Arc::new(inventory);
        self.model.set_inventory(self.inventory.clone());
        self.model.set_explain(self.inventory.clone());
        if self.ready.is_some() {
            return each(Replayed::Session(PipelineEvent::Inventory(&self.inventory)));
        }
        let ready = self.ready();
        self.ready = Some(ready.clone());
        each(Replayed::Session(PipelineEvent::Ready(&ready)))
    }

    /// Everything that is known at this place of the file, and what is wrong.
    pub fn picture(&self) -> (Arc<Snapshot>, Vec<Finding>) {
        let snapshot = Arc::new(self.model.snapshot());
        let context = diagnose::Context::new(&snapshot, &self.inventory)
            .with_intent(&self.intent)
            .with_answers_visible(self.header.answers_visible);
        let findings = diagnose::run(&context);
        (snapshot, findings)
    }

    /// Time at this place of the file.
    pub fn at(&self) -> KtimeNs {
        self.tick.at
    }

    /// What the file was, as far as it was read.
    pub fn facts(&self) -> FileFacts {
        FileFacts {
            ending: self.reader.ending().clone(),
            unreadable: self.reader.unreadable(),
            header: self.header.clone(),
            end: self.end.clone(),
            tick: self.tick,
            packets: self.packets,
        }
    }

    /// The last picture.
    pub fn finish(self) -> (SessionEnd, FileFacts) {
        let (snapshot, findings) = self.picture();
        let ready = self.ready();
        let facts = self.facts();
        let end = SessionEnd {
            ended: Ended::Told,
            ready,
            inventory: self.inventory,
            snapshot,
            findings,
        };
        (end, facts)
    }
}
