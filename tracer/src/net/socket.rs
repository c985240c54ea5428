//! A blocking `NETLINK_ROUTE` socket of the thread's namespace.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
        setsockopt, socket, sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};

use super::{
    NetError,
    guard::{ANSWER_TIMEOUT, Progress},
    wire::{align, bytes_at, push_attr, u16_at, u32_at},
};

/// Size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Larger than any message the kernel builds for a dump.
const BUFFER: usize = 256 * 1024;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// The tables changed during the dump: it may have holes.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Attempts at a dump that was disturbed by changes.
const DUMP_ATTEMPTS: u32 = 5;

/// One message of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// `RTM_*`.
    pub(super) kind: u16,
    /// Header flags.
    flags: u16,
    /// Number of the request that it answers.
    sequence: u32,
    /// What follows the header.
    pub(super) body: &'a [u8],
}

/// The messages in what one `recv` returned. Ends at the first impossible length.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(bytes, 0)? as usize;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body: bytes.get(HEADER..len)?,
        };
        bytes = bytes.get(align(len)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The errno of an `NLMSG_ERROR` (or `NLMSG_DONE`) message; 0 acknowledges.
fn errno_of(body: &[u8]) -> i32 {
    bytes_at(body, 0)
        .map_or(0, i32::from_ne_bytes)
        .saturating_neg()
}

/// A socket in the namespace of the calling thread that hears the multicast groups of the mask
/// (bit `n` is group `n + 1`).
pub(super) fn open(groups: u32) -> Result<OwnedFd, NetError> {
    let open = || -> nix::Result<OwnedFd> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(fd)
    };
    open().map_err(|e| NetError::Netlink {
        what: "socket",
        source: e.into(),
    })
}

/// An open socket.
pub(super) struct Connection {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    progress: Progress,
    torn: Vec<&'static str>,
}

impl Connection {
    /// Opens a socket in the namespace of the calling thread. What it asks is told to `progress`.
    pub(super) fn open(progress: &Progress) -> Result<Self, NetError> {
        let socket = open(0)?;
        let timeout = TimeVal::new(ANSWER_TIMEOUT.as_secs().cast_signed(), 0);
        setsockopt(&socket, ReceiveTimeout, &timeout).map_err(|e| NetError::Netlink {
            what: "socket",
            source: e.into(),
        })?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER],
            progress: progress.clone(),
            torn: Vec::new(),
        })
    }

    /// What is being asked; also for questions that do not go over this socket.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What changed faster than it could be read: those dumps may have holes.
    pub(super) fn torn(self) -> Vec<&'static str> {
        self.torn
    }

    /// Everything of one kind; the dump is repeated when the tables change meanwhile.
    pub(super) fn dump<T>(
        &mut self,
        what: &'static str,
        request: (u16, &[u8]),
        mut parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetError> {
        let mut found = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            found.clear();
            if self.dump_once(what, request, |m| found.extend(parse(m)))? {
                return Ok(found);
            }
        }
        self.torn.push(what);
        Ok(found)
    }

    /// One dump; false when the tables changed meanwhile.
    fn dump_once(
        &mut self,
        what: &'static str,
        (kind, body): (u16, &[u8]),
        mut each: impl FnMut(Message<'_>),
    ) -> Result<bool, NetError> {
        let sequence = self.send(what, (kind, NLM_F_DUMP), body)?;
        let mut whole = true;
        loop {
            let len = self.receive(what)?;
            let received = self.buffer.get(..len).unwrap_or(&[]);
            for message in messages(received).filter(|m| m.sequence == sequence) {
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        self.progress.answered();
                        return match errno_of(message.body) {
                            0 => Ok(whole),
                            e => Err(refused(what, e)),
                        };
                    }
                    _ => each(message),
                }
            }
        }
    }

    /// A question with one answer; `None` when the kernel answers with an error.
    pub(super) fn ask(
        &mut self,
        what: &'static str,
        kind: u16,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, NetError> {
        let sequence = self.send(what, (kind, NLM_F_ACK), body)?;
        let mut answer = None;
        loop {
            let len = self.receive(what)?;
            let received = self.buffer.get(..len).unwrap_or(&[]);
            for message in messages(received).filter(|m| m.sequence == sequence) {
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        self.progress.answered();
                        return Ok(answer.filter(|_| errno_of(message.body) == 0));
                    }
                    _ => answer = Some(message.body.to_vec()),
                }
            }
        }
    }

    fn send(
        &mut self,
        what: &'static str,
        (kind, flags): (u16, u16),
        body: &[u8],
    ) -> Result<u32, NetError> {
        self.sequence = self.sequence.wrapping_add(1);
        let len = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend_from_slice(&len.to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&0u32.to_ne_bytes());
        request.extend_from_slice(body);
        self.progress.asking(what);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty()).map_err(|e| {
            NetError::Netlink {
                what,
                source: e.into(),
            }
        })?;
        Ok(self.sequence)
    }

    /// The number of bytes that one `recv` put into the buffer.
    fn receive(&mut self, what: &'static str) -> Result<usize, NetError> {
        use nix::errno::Errno;
        self.progress.asking(what);
        loop {
            let source = match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(len) => return Ok(len),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Err(NetError::NoAnswer { what }),
                Err(e) => e.into(),
            };
            return Err(NetError::Netlink { what, source });
        }
    }
}

fn refused(what: &'static str, errno: i32) -> NetError {
    NetError::Refused {
        what,
        source: io::Error::from_raw_os_error(errno),
    }
}

/// A request body: a fixed header of `len` zero bytes that begins with the address family.
pub(super) fn request(family: u8, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    if let Some(first) = body.first_mut() {
        *first = family;
    }
    body
}

/// A request body with one attribute of four bytes.
pub(super) fn request_with(family: u8, len: usize, kind: u16, value: u32) -> Vec<u8> {
    let mut body = request(family, len);
    push_attr(&mut body, kind, &value.to_ne_bytes());
    body
}
