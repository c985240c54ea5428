//! A blocking `NETLINK_ROUTE` socket of the thread's namespace.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{
    NetError,
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
    bytes_at(body, 0).map_or(0, i32::from_ne_bytes).saturating_neg()
}

/// An open socket.
pub(super) struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a socket in the namespace of the calling thread.
    pub(super) fn open() -> Result<Self, NetError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| NetError::Netlink { what: "socket", source })?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Everything of one kind. `None` answers when the kernel does not know the request (an
    /// older kernel or a feature that is not built in).
    ///
    /// The visitor may be called for a message more than once when the tables change meanwhile;
    /// `restart` is called before the dump begins again.
    pub(super) fn dump<T>(
        &mut self,
        what: &'static str,
        request: (u16, &[u8]),
        mut parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetError> {
        let mut found = Vec::new();
        for attempt in 1..=DUMP_ATTEMPTS {
            found.clear();
            let whole = self.dump_once(what, request, |m| found.extend(parse(m)))?;
            if whole || attempt == DUMP_ATTEMPTS {
                break;
            }
        }
        Ok(found)
    }

    /// One dump; false when the tables changed meanwhile.
    fn dump_once(
        &mut self,
        what: &'static str,
        (kind, body): (u16, &[u8]),
        mut each: impl FnMut(Message<'_>),
    ) -> Result<bool, NetError> {
        let sequence = self.send(what, kind, NLM_F_DUMP, body)?;
        let mut whole = true;
        loop {
            self.receive(what)?;
            for message in messages(&self.buffer).filter(|m| m.sequence == sequence) {
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
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
        let sequence = self.send(what, kind, NLM_F_ACK, body)?;
        let mut answer = None;
        loop {
            self.receive(what)?;
            for message in messages(&self.buffer).filter(|m| m.sequence == sequence) {
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE if errno_of(message.body) == 0 => return Ok(answer),
                    NLMSG_ERROR | NLMSG_DONE => return Ok(None),
                    _ => answer = Some(message.body.to_vec()),
                }
            }
        }
    }

    fn send(
        &mut self,
        what: &'static str,
        kind: u16,
        flags: u16,
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
        self.socket.send(&request, 0).map_err(|source| NetError::Netlink { what, source })?;
        Ok(self.sequence)
    }

    fn receive(&mut self, what: &'static str) -> Result<(), NetError> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(0) => {
                    let source = io::ErrorKind::UnexpectedEof.into();
                    return Err(NetError::Netlink { what, source });
                }
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NetError::Netlink { what, source }),
            }
        }
    }
}

fn refused(what: &'static str, errno: i32) -> NetError {
    NetError::Refused { what, source: io::Error::from_raw_os_error(errno) }
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
