//! Reads a capture, up to where it ends, is cut or is damaged.

use std::io::{self, Read};

use thiserror::Error;

use super::{
    Interface, Line,
    block::{
        BLOCK_MAX, EPB_PACKETID, FRAME, INTERFACE, LINES, MAGIC, OPT_COMMENT, OPT_DROP, OPT_PLACE,
        PACKET, SECTION,
    },
    options::{Options, u32_at, u64_at},
    version::{self, CURRENT},
};

/// Interface blocks that are taken in: as many as a node has devices, many times over.
const INTERFACES_MAX: usize = 1 << 16;

/// Why a file is not read at all.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk or pipe failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Not pcapng.
    #[error("it is no capture of tracer: it does not begin as a pcapng file does")]
    NotPcapng,
    /// A pcapng file of a big-endian machine or with a byte order that makes no sense.
    #[error("it is no capture of tracer: its byte order is not little endian")]
    ByteOrder,
    /// Nothing of tracer in it.
    #[error(
        "it has no lines of tracer: written by another program, or saved by one that dropped them"
    )]
    NoHeader,
    /// Of a later tracer.
    #[error("it is a capture of version {0}, this tracer reads up to {CURRENT}; use a newer one")]
    Newer(u32),
}

/// How a file ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Whole,
    /// Between two blocks, without the last line: tracer was killed, or still writes.
    #[default]
    Unfinished,
    /// Within a block: the file was cut at this many bytes.
    Cut(u64),
    /// What stands at this byte is no block.
    Damaged(u64, &'static str),
}

/// A packet of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Where it was seen.
    pub interface: Interface,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// The same for all observations of one packet; 0 when not known.
    pub id: u64,
    /// Bytes of the whole packet with an Ethernet header.
    pub len: u32,
    /// Wire segments.
    pub segs: u32,
    /// Device it came in by, 0 for none.
    pub in_dev: u32,
    /// Payload bytes of each segment but the last; 0 for a whole packet.
    pub gso_size: u32,
    /// Reason and function of a drop.
    pub drop: Option<(&'a str, &'a str)>,
    /// What the file says of it.
    pub comment: Option<&'a str>,
    /// The first bytes, from the Ethernet header on.
    pub bytes: &'a [u8],
}

/// What a block holds.
#[derive(Debug, PartialEq)]
pub enum Block<'a> {
    /// Lines.
    Lines(Vec<Line>),
    /// A packet.
    Packet(Packet<'a>),
}

/// Reads block after block.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    version: u32,
    /// Bytes read so far: up to the end of the last whole block.
    at: u64,
    body: Vec<u8>,
    interfaces: Vec<Option<Interface>>,
    ending: Ending,
    ended: bool,
    bad_lines: u64,
    bad_packets: u64,
    pending: Option<Vec<Line>>,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a capture.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut reader = Self {
            input,
            version: CURRENT,
            at: 0,
            body: Vec::new(),
            interfaces: Vec::new(),
            ending: Ending::default(),
            ended: false,
            bad_lines: 0,
            bad_packets: 0,
            pending: None,
        };
        reader.begin()?;
        Ok(reader)
    }

    fn begin(&mut self) -> Result<(), ReadError> {
        match self.read_block()? {
            Some(SECTION) => {}
            // a section of the other byte order has a length that makes no sense
            None if self.body.len() == 8 && self.body.starts_with(&SECTION.to_le_bytes()) => {
                return Err(ReadError::ByteOrder);
            }
            _ => return Err(ReadError::NotPcapng),
        }
        if u32_at(&self.body, 0) != Some(MAGIC) {
            return Err(ReadError::ByteOrder);
        }
        match self.read_block()? {
            Some(LINES) => {}
            _ => return Err(ReadError::NoHeader),
        }
        let first = self.body.split(|b| *b == b'\n').next().unwrap_or_default();
        let schema = serde_json::from_slice::<serde_json::Value>(first).ok();
        let schema = schema.as_ref().and_then(|v| v["header"]["schema"].as_str());
        self.version = schema.and_then(version::of).ok_or(ReadError::NoHeader)?;
        if self.version > CURRENT {
            return Err(ReadError::Newer(self.version));
        }
        let lines = self.lines();
        if !matches!(lines.first(), Some(Line::Header(_))) {
            return Err(ReadError::NoHeader);
        }
        self.pending = Some(lines);
        Ok(())
    }

    /// The next block that says something; `None` at the end, about which [`Reader::ending`] tells.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, ReadError> {
        if let Some(lines) = self.pending.take() {
            return Ok(Some(Block::Lines(lines)));
        }
        loop {
            let Some(kind) = self.read_block()? else {
                return Ok(None);
            };
            match kind {
                LINES => {
                    let lines = self.lines();
                    if lines.iter().any(|l| matches!(l, Line::End(_))) {
                        self.ended = true;
                        self.ending = Ending::Whole;
                    }
                    return Ok(Some(Block::Lines(lines)));
                }
                INTERFACE if self.interfaces.len() < INTERFACES_MAX => {
                    self.interfaces.push(Interface::read(&self.body));
                }
                PACKET if packet(&self.body, &self.interfaces).is_some() => break,
                PACKET => self.bad_packets += 1,
                _ => {}
            }
        }
        // again, because the borrow checker does not let a loop return what it looked at
        Ok(packet(&self.body, &self.interfaces).map(Block::Packet))
    }

    /// How the file ended, once it has.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Lines and packets within whole blocks that make no sense.
    pub fn unreadable(&self) -> u64 {
        self.bad_lines + self.bad_packets
    }

    fn lines(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        for line in self.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            match version::parse(self.version, line) {
                Ok(line) => lines.push(line),
                Err(e) => {
                    self.bad_lines += 1;
                    tracing::debug!("a line of the capture is not readable: {e}");
                }
            }
        }
        lines
    }

    /// Reads a block into `body` and returns its type; `None` when there is no further one.
    fn read_block(&mut self) -> Result<Option<u32>, ReadError> {
        let mut frame = [0; 8];
        self.body.clear();
        match fill(&mut self.input, &mut frame)? {
            8 => {}
            0 => return Ok(None),
            n => {
                self.body.extend_from_slice(&frame[..n]);
                return Ok(self.stop(Ending::Cut(self.at + n as u64)));
            }
        }
        let word = |at| u32_at(&frame, at).unwrap_or_default();
        let (kind, len) = (word(0), word(4));
        if !(FRAME..=BLOCK_MAX).contains(&len) || len % 4 != 0 {
            self.body.extend_from_slice(&frame);
            let why = "the length of the block makes no sense";
            return Ok(self.stop(Ending::Damaged(self.at, why)));
        }
        let rest = u64::from(len) - 8;
        // memory grows with what is there, not with what the length promises
        let n = (&mut self.input).take(rest).read_to_end(&mut self.body)? as u64;
        if n < rest {
            return Ok(self.stop(Ending::Cut(self.at + 8 + n)));
        }
        let end = self.body.len() - 4;
        if u32_at(&self.body, end) != Some(len) {
            let why = "the block has two lengths";
            return Ok(self.stop(Ending::Damaged(self.at, why)));
        }
        self.body.truncate(end);
        self.at += u64::from(len);
        Ok(Some(kind))
    }

    fn stop(&mut self, ending: Ending) -> Option<u32> {
        // what stands behind the last line is of no consequence
        if !self.ended {
            self.ending = ending;
        }
        None
    }
}

fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match input.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

fn packet<'a>(body: &'a [u8], interfaces: &[Option<Interface>]) -> Option<Packet<'a>> {
    let interface = *interfaces.get(u32_at(body, 0)? as usize)?;
    let wall_ns = u64::from(u32_at(body, 4)?) << 32 | u64::from(u32_at(body, 8)?);
    let captured = u32_at(body, 12)? as usize;
    let bytes = body.get(20..20usize.checked_add(captured)?)?;
    let mut p = Packet {
        interface: interface?,
        wall_ns,
        id: 0,
        len: u32_at(body, 16)?,
        segs: 1,
        in_dev: 0,
        gso_size: 0,
        drop: None,
        comment: None,
        bytes,
    };
    let options = body.get(20 + captured.checked_next_multiple_of(4)?..)?;
    for (code, value) in Options(options) {
        match code {
            OPT_COMMENT => p.comment = std::str::from_utf8(value).ok(),
            EPB_PACKETID => p.id = u64_at(value, 0)?,
            OPT_PLACE => {
                (p.segs, p.in_dev) = (u32_at(value, 0)?, u32_at(value, 4)?);
                p.gso_size = u32_at(value, 8)?;
            }
            OPT_DROP => p.drop = std::str::from_utf8(value).ok()?.split_once(' '),
            _ => {}
        }
    }
    Some(p)
}
