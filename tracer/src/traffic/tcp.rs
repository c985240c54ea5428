//! TCP handshakes.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use nix::sys::socket::{SockType, setsockopt, sockopt};

use super::{Order, Sent, Way, socket};

/// TCP repeats a SYN after a second (`TCP_TIMEOUT_INIT`); each attempt ends before.
const GIVE_UP: Duration = Duration::from_millis(700);

/// Attempts to connect to one port, each from a port of its own.
pub(super) struct Tcp {
    peer: SocketAddr,
    pending: Vec<(Instant, TcpStream)>,
}

impl Tcp {
    pub(super) fn new(order: &Order, port: u16) -> Self {
        Self {
            peer: SocketAddr::new(order.to, port),
            pending: Vec::new(),
        }
    }
}

impl Way for Tcp {
    fn send(&mut self, _n: u16) -> io::Result<()> {
        let fd: OwnedFd = socket::open(&self.peer, SockType::Stream, None)?;
        // closed by a reset: no further packets, and no socket that lingers
        let reset = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&fd, sockopt::Linger, &reset)?;
        match socket::connect_to(&fd, &self.peer) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            // it was sent and answered at once, by this machine
            Err(e) if e.raw_os_error() == Some(libc::ECONNREFUSED) => {}
            Err(e) => return Err(e),
        }
        self.pending.push((Instant::now(), fd.into()));
        Ok(())
    }

    fn collect(&mut self, sent: &mut Sent) {
        self.pending
            .retain(|(since, stream)| match stream.take_error() {
                Ok(Some(e)) | Err(e) => {
                    if e.raw_os_error() == Some(libc::ECONNREFUSED) {
                        sent.answers += 1;
                    }
                    sent.error(&e);
                    false
                }
                Ok(None) if stream.peer_addr().is_ok() => {
                    sent.answers += 1;
                    false
                }
                Ok(None) => since.elapsed() < GIVE_UP,
            });
    }
}
