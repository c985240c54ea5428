//! A few datagrams to an echo server, at a pace.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::SockType;

use super::{Sent, cpu, socket};
use crate::{Netns, deadline};

/// Read timeouts of zero mean "for ever" to the kernel.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// UDP datagrams to `to`, each awaited for an interval.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Udp {
    to: String,
    count: u32,
    size: usize,
    interval: Duration,
    wait: Duration,
    connect: bool,
    pause: Duration,
    moves: bool,
    options: socket::Options,
}

impl Udp {
    /// Three datagrams of 32 bytes, 10 ms apart, to `ADDRESS:PORT` (`[fd00::1]:7`).
    pub fn to(address: &str) -> Self {
        Self {
            to: address.to_owned(),
            count: 3,
            size: 32,
            interval: Duration::from_millis(10),
            wait: Duration::from_millis(500),
            connect: false,
            pause: Duration::ZERO,
            moves: false,
            options: socket::Options::default(),
        }
    }

    /// How many datagrams.
    pub fn count(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// Bytes of payload in each.
    pub fn size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    /// Time from one to the next.
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// How long to wait for missing answers after the last one was sent.
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Connects the socket, so that ICMP errors reach it.
    pub fn connect(self) -> Self {
        Self {
            connect: true,
            ..self
        }
    }

    /// The source port; 0 lets the kernel choose.
    pub fn sport(mut self, sport: u16) -> Self {
        self.options.sport = sport;
        self
    }

    /// The source address.
    pub fn from(mut self, source: IpAddr) -> Self {
        self.options.source = Some(source);
        self
    }

    /// `SO_MARK`.
    pub fn mark(mut self, mark: u32) -> Self {
        self.options.mark = mark;
        self
    }

    /// Waits so long after it connected, or before it sends.
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Connects on one CPU and sends on another, where there are two.
    pub fn moves(self) -> Self {
        Self {
            moves: true,
            ..self
        }
    }

    /// `SO_BINDTODEVICE`.
    pub fn device(mut self, device: &str) -> Self {
        self.options.device = Some(device.to_owned());
        self
    }

    /// `IP_TOS` or `IPV6_TCLASS`.
    pub fn tos(mut self, tos: u8) -> Self {
        self.options.tos = tos;
        self
    }

    /// Never fragments (sets DF in IPv4).
    pub fn dont_fragment(mut self) -> Self {
        self.options.dont_fragment = true;
        self
    }

    /// Sends from `ns` and waits for the answers. Errors of the network are in the result, an `Err`
    /// is one of the test.
    pub fn send(&self, ns: &Netns) -> Result<Sent> {
        let to: SocketAddr = self
            .to
            .parse()
            .with_context(|| format!("{:?} is no ADDRESS:PORT", self.to))?;
        let fd = ns.run(|| socket::open(SockType::Datagram, &to, &self.options))??;
        let socket = UdpSocket::from(fd);
        let mut sent = Sent::default();
        let cpus = if self.moves {
            cpu::Ends::of_thread()?
        } else {
            cpu::Ends::default()
        };
        cpus.first()?;
        if self.connect
            && let Err(error) = socket.connect(to)
        {
            sent.note(&error);
        }
        std::thread::sleep(self.pause);
        cpus.last()?;
        let payload = vec![b'x'; self.size];
        for _ in 0..self.count {
            let next = Instant::now() + self.interval;
            let result = if self.connect {
                socket.send(&payload)
            } else {
                socket.send_to(&payload, to)
            };
            match result {
                Ok(_) => sent.sent += 1,
                Err(error) => sent.note(&error),
            }
            while receive(&socket, next, &mut sent)? {}
        }
        let end = Instant::now() + deadline::patience(self.wait);
        while sent.received < sent.sent && receive(&socket, end, &mut sent)? {}
        sent.source = socket.local_addr().ok();
        Ok(sent)
    }
}

/// Takes one answer (its length does not matter, a longer one is cut) or one error; `false` when neither came before `end`.
fn receive(socket: &UdpSocket, end: Instant, sent: &mut Sent) -> Result<bool> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(false);
    }
    socket.set_read_timeout(Some(left.max(SHORTEST_WAIT)))?;
    match socket.recv(&mut [0; 1 << 11]) {
        Ok(_) => sent.received += 1,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) => sent.note(&error),
    }
    Ok(true)
}
