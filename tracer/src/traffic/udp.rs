//! UDP datagrams.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use nix::sys::socket::SockType;

use super::{Order, Sent, Way, socket};

/// Bytes of payload when no size is asked for.
const SMALL: usize = 32;
/// Bytes of the UDP header.
const HEADER: u16 = 8;

/// One flow to one port.
pub(super) struct Udp {
    peer: SocketAddr,
    payload: Vec<u8>,
    whole: bool,
    /// `None` until there is a route.
    socket: Option<UdpSocket>,
}

impl Udp {
    pub(super) fn new(order: &Order, port: u16) -> Self {
        let headers = socket::ip_header(order.to.is_ipv4()) + HEADER;
        let size = order
            .size
            .map_or(SMALL, |s| usize::from(s.saturating_sub(headers)));
        Self {
            peer: SocketAddr::new(order.to, port),
            payload: socket::payload(size),
            whole: order.size.is_some(),
            socket: None,
        }
    }

    /// Connected, so that ICMP errors reach it and only the peer's datagrams do.
    fn open(&self) -> io::Result<UdpSocket> {
        let fd = socket::open(&self.peer, SockType::Datagram, None)?;
        if self.whole {
            socket::dont_fragment(&fd, self.peer.is_ipv4())?;
        }
        socket::connect_to(&fd, &self.peer)?;
        Ok(fd.into())
    }
}

impl Way for Udp {
    fn send(&mut self, _n: u16) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(self.open()?),
        };
        // the first error may be what came back for an earlier packet: then none was sent now
        match socket.send(&self.payload) {
            Ok(_) => Ok(()),
            Err(_) => socket.send(&self.payload).map(drop),
        }
    }

    fn collect(&mut self, sent: &mut Sent) {
        let Some(socket) = &self.socket else { return };
        loop {
            match socket.recv(&mut [0; 64]) {
                Ok(_) => sent.answers = sent.packets.min(sent.answers + 1),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => sent.error(&e),
            }
        }
    }
}
