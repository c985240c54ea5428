//! A session into a capture.

use std::io::{self, Write};

use super::{PipelineEvent, Ready, Recorded, SessionConfig, SessionEnd};
use crate::{
    capture::{Counts, Header, Tick, Writer},
    model::Loss,
};

/// Writes what a session with [`SessionConfig::recording`] tells into a capture. Begins with the
/// session's [`Ready`], or later, with the configuration as it is then.
#[derive(Debug)]
pub struct Recorder<W> {
    writer: Writer<W>,
    packets_lost: u64,
}

impl<W: Write> Recorder<W> {
    /// Begins a capture. `filter` is the filter as it was given. `rotates`: [`Recorder::next_file`]
    /// will be called.
    pub fn new(
        out: W,
        config: &SessionConfig,
        filter: &str,
        ready: &Ready,
        rotates: bool,
    ) -> io::Result<Self> {
        let header = Header {
            started: ready.started,
            wall_offset_ns: ready.wall_offset_ns,
            filter: filter.to_owned(),
            snaplen: config.recording.map_or(0, |r| r.snaplen),
            limits: ready.limits.clone(),
            intent: ready.intent.clone(),
            answers_visible: config.devices.is_empty(),
            ..Header::default()
        };
        Ok(Self {
            writer: Writer::new(out, header, ready.inventory.clone(), rotates)?,
            packets_lost: 0,
        })
    }

    /// Takes in what the session tells. An error ends the recording: the file holds everything up
    /// to a second before it.
    pub fn take(&mut self, event: &PipelineEvent<'_>) -> io::Result<()> {
        match event {
            PipelineEvent::Event(event) => self.writer.event(event),
            PipelineEvent::Inventory(inventory) => self.writer.inventory(inventory),
            PipelineEvent::Snapshot(snapshot, _) => {
                let tick = self.tick(snapshot.at, snapshot.loss);
                self.writer.tick(tick)
            }
            PipelineEvent::Recording(Recorded::Packet(packet)) => self.writer.packet(packet),
            PipelineEvent::Recording(Recorded::Retired(key)) => self.writer.retired(key),
            PipelineEvent::Recording(Recorded::Forgotten(event)) => {
                self.writer.forgotten(event);
                Ok(())
            }
            PipelineEvent::Recording(Recorded::Total(event)) => self.writer.total(event),
            PipelineEvent::Recording(Recorded::PacketsLost(n)) => {
                self.packets_lost = *n;
                Ok(())
            }
            PipelineEvent::Ready(_)
            | PipelineEvent::Attached(_)
            | PipelineEvent::Recording(Recorded::Asked) => Ok(()),
        }
    }

    fn tick(&self, at: crate::event::KtimeNs, loss: Loss) -> Tick {
        Tick {
            at,
            loss,
            packets_lost: self.packets_lost,
        }
    }

    /// What it holds so far.
    pub fn counts(&self) -> Counts {
        self.writer.counts()
    }

    /// Goes on in another file; returns the one before, complete.
    pub fn next_file(&mut self, out: W) -> io::Result<W> {
        self.writer.next_file(out)
    }

    /// Ends the capture in order. The counts are those of the complete file.
    pub fn finish(self, end: &SessionEnd) -> io::Result<W> {
        let tick = self.tick(end.snapshot.at, end.snapshot.loss);
        self.writer.finish(tick)
    }
}
