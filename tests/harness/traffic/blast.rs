//! As many small UDP packets as one thread can send, counted exactly.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::socket::{SockType, SockaddrStorage, setsockopt, sockopt};

use super::socket;
use crate::Netns;

/// Messages in one `sendmmsg(2)`.
const BATCH: usize = 64;

/// Ethernet + IP + UDP headers, in bytes.
const HEADERS_V4: usize = 14 + 20 + 8;
const HEADERS_V6: usize = 14 + 40 + 8;

/// Flows that differ in the destination port share a socket; this many fit above the first port.
const FLOWS_PER_SOCKET: u32 = 10_000;

/// A bounded burst of UDP packets of one size.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Blast {
    to: String,
    packets: u64,
    frame: usize,
    flows: u32,
    sport: u16,
    limit: Duration,
}

/// What [`Blast::send`] did.
#[derive(Debug, Clone, Copy)]
pub struct Blasted {
    /// Packets that the kernel took: exactly as many as were asked for.
    pub sent: u64,
    /// How long that took.
    pub elapsed: Duration,
}

impl Blast {
    /// A million frames of 64 bytes (Ethernet header included, FCS not) of one flow to
    /// `ADDRESS:PORT`.
    pub fn to(address: &str) -> Self {
        Self {
            to: address.to_owned(),
            packets: 1_000_000,
            frame: 64,
            flows: 1,
            sport: 0,
            limit: Duration::from_mins(1),
        }
    }

    /// How many packets.
    pub fn packets(self, packets: u64) -> Self {
        Self { packets, ..self }
    }

    /// Bytes of each frame with its Ethernet header.
    pub fn frame(self, frame: usize) -> Self {
        Self { frame, ..self }
    }

    /// How many flows take turns: ports from the one given upwards, and a new source port for every
    /// 10,000 of them.
    pub fn flows(self, flows: u32) -> Self {
        Self { flows, ..self }
    }

    /// The source port of the first 10,000 flows; 0 lets the kernel choose.
    pub fn sport(self, sport: u16) -> Self {
        Self { sport, ..self }
    }

    /// An error when it takes longer than this.
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Sends from `ns` on the calling thread.
    pub fn send(&self, ns: &Netns) -> Result<Blasted> {
        let to: SocketAddr = self
            .to
            .parse()
            .with_context(|| format!("{:?} is no ADDRESS:PORT", self.to))?;
        let headers = if to.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        ensure!(
            self.frame >= headers,
            "a frame of {} bytes has no room for headers",
            self.frame
        );
        ensure!(self.flows > 0, "a blast needs a flow");
        let last = u32::from(to.port()) + self.flows.min(FLOWS_PER_SOCKET) - 1;
        ensure!(
            u16::try_from(last).is_ok(),
            "{} flows do not fit above port {}",
            self.flows,
            to.port()
        );
        let payload = vec![0_u8; self.frame - headers];
        let mut streams = Vec::new();
        for number in 0..self.flows.div_ceil(FLOWS_PER_SOCKET) {
            let flows = (self.flows - number * FLOWS_PER_SOCKET).min(FLOWS_PER_SOCKET);
            let sport = if number == 0 { self.sport } else { 0 };
            streams.push(Stream::open(ns, to, (flows, sport), &payload)?);
        }
        let start = Instant::now();
        let mut sent = 0;
        let mut turn = 0;
        while sent < self.packets {
            ensure!(
                start.elapsed() < self.limit,
                "only {sent} of {} packets were sent within {:?}",
                self.packets,
                self.limit
            );
            let room = usize::try_from(self.packets - sent)
                .unwrap_or(usize::MAX)
                .min(BATCH);
            let count = streams.len();
            let Some(stream) = streams.get_mut(turn % count) else {
                bail!("no socket")
            };
            sent += stream.send(room)?;
            turn += 1;
        }
        Ok(Blasted {
            sent,
            elapsed: start.elapsed(),
        })
    }
}

/// One socket and the messages that take turns on it.
struct Stream {
    fd: OwnedFd,
    messages: Vec<libc::mmsghdr>,
    next: usize,
    // what the messages point to; neither is changed or moved
    _destinations: Box<[SockaddrStorage]>,
    _part: Box<libc::iovec>,
}

impl Stream {
    /// Everything is laid out before the first packet is sent: how many flows there are must not
    /// matter to the sender. `payload` must outlive the stream.
    fn open(
        ns: &Netns,
        to: SocketAddr,
        (flows, sport): (u32, u16),
        payload: &[u8],
    ) -> Result<Self> {
        use nix::sys::socket::SockaddrLike as _;
        let options = socket::Options {
            sport,
            ..socket::Options::default()
        };
        let fd = ns.run(|| socket::open(SockType::Datagram, &to, &options))??;
        // room for a batch, so that a full send buffer never splits one
        setsockopt(&fd, sockopt::SndBuf, &(1 << 20))?;
        let destinations = (0..flows)
            .map(|flow| {
                let port = u16::try_from(u32::from(to.port()) + flow)?;
                Ok(SockaddrStorage::from(SocketAddr::new(to.ip(), port)))
            })
            .collect::<Result<Box<[_]>>>()?;
        let mut part = Box::new(libc::iovec {
            iov_base: payload.as_ptr().cast_mut().cast(),
            iov_len: payload.len(),
        });
        // as many as there are flows, and a batch more, so that each batch lies in one piece
        let turns = destinations.iter().cycle();
        let messages = turns.take(destinations.len() + BATCH).map(|to| {
            // SAFETY: mmsghdr is plain data, for which all zeroes is a valid value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
            message.msg_hdr.msg_namelen = to.len();
            message.msg_hdr.msg_iov = &raw mut *part;
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        Ok(Self {
            fd,
            messages: messages.collect(),
            next: 0,
            _destinations: destinations,
            _part: part,
        })
    }

    /// Sends up to `count` messages, at most a batch, and returns how many the kernel took.
    fn send(&mut self, count: usize) -> Result<u64> {
        let Some(batch) = self.messages.get_mut(self.next..self.next + BATCH) else {
            bail!("no batch at {}", self.next)
        };
        let length = libc::c_uint::try_from(count.min(BATCH))?;
        // SAFETY: the first `length` headers point to what `self` holds and to the payload, which
        // outlive the call; the kernel only reads them.
        let sent = unsafe { libc::sendmmsg(self.fd.as_raw_fd(), batch.as_mut_ptr(), length, 0) };
        let Ok(sent) = usize::try_from(sent) else {
            let error = io::Error::last_os_error();
            // the device's queue is full for the moment, or an ICMP error of an earlier packet
            return match error.raw_os_error() {
                Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => Ok(0),
                _ => Err(error).context("sendmmsg"),
            };
        };
        self.next = (self.next + sent) % (self.messages.len() - BATCH);
        Ok(sent as u64)
    }
}
