//! A bulk of bytes to an echo server and back.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{SockType, SockaddrStorage, connect, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::{Sent, socket};
use crate::{Netns, deadline};

const CHUNK: usize = 1 << 16;
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// A TCP connection to `to` that sends a number of bytes and reads them back.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Tcp {
    to: String,
    bytes: usize,
    limit: Duration,
    options: socket::Options,
}

impl Tcp {
    /// 1000 bytes to `ADDRESS:PORT` (`[fd00::1]:8`), given up after 2 s.
    pub fn to(address: &str) -> Self {
        Self {
            to: address.to_owned(),
            bytes: 1000,
            limit: Duration::from_secs(2),
            options: socket::Options::default(),
        }
    }

    /// How many bytes.
    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// How long all of it may take, connecting included.
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The source port; 0 lets the kernel choose.
    pub fn sport(mut self, sport: u16) -> Self {
        self.options.sport = sport;
        self
    }

    /// Moves a fixed source port on, because the connection before still occupies it (`TIME_WAIT`).
    pub(super) fn in_round(mut self, round: u16) -> Self {
        if self.options.sport != 0 {
            self.options.sport = self.options.sport.wrapping_add(round).max(1);
        }
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

    /// Connects from `ns`, sends, and reads back. Errors of the network are in the result, an `Err`
    /// is one of the test.
    pub fn send(&self, ns: &Netns) -> Result<Sent> {
        let to: SocketAddr = self
            .to
            .parse()
            .with_context(|| format!("{:?} is no ADDRESS:PORT", self.to))?;
        let limit = deadline::patience(self.limit);
        let end = Instant::now() + limit;
        let fd = ns.run(|| socket::open(SockType::Stream, &to, &self.options))??;
        let mut sent = Sent {
            sent: self.bytes as u64,
            ..Sent::default()
        };
        // the send timeout also bounds connect(2), see socket(7)
        let limit = i64::try_from(limit.as_micros())?;
        let limit = TimeVal::new(limit / 1_000_000, limit % 1_000_000);
        setsockopt(&fd, sockopt::SendTimeout, &limit)?;
        let connected = connect(fd.as_raw_fd(), &SockaddrStorage::from(to));
        let stream = TcpStream::from(fd);
        sent.source = stream.local_addr().ok();
        match connected {
            Ok(()) => exchange(&stream, self.bytes, end, &mut sent)?,
            Err(nix::errno::Errno::EINPROGRESS) => sent.note(&timed_out()),
            Err(error) => sent.note(&error.into()),
        }
        Ok(sent)
    }
}

fn timed_out() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::ETIMEDOUT)
}

fn exchange(stream: &TcpStream, bytes: usize, end: Instant, sent: &mut Sent) -> Result<()> {
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let data = vec![b'y'; bytes];
            let mut stream = stream;
            stream
                .write_all(&data)
                .and_then(|()| stream.shutdown(Shutdown::Write))
        });
        let result = read_back(stream, bytes, end, sent);
        if sent.received < bytes as u64 {
            // wakes a writer that waits for room
            if stream.shutdown(Shutdown::Both).is_err() {
                sent.errors.insert("disconnected".to_owned());
            }
        }
        match writer.join() {
            Ok(Err(error)) if sent.errors.is_empty() => sent.note(&error),
            Ok(_) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
        result
    })
}

fn read_back(stream: &TcpStream, bytes: usize, end: Instant, sent: &mut Sent) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut stream = stream;
    while sent.received < bytes as u64 {
        let left = end.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(SHORTEST_WAIT)))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => sent.received += length as u64,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                sent.note(&timed_out());
                break;
            }
            Err(error) => {
                sent.note(&error);
                break;
            }
        }
    }
    Ok(())
}
