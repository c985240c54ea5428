//! Servers that send back what they get, UDP and TCP.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::Netns;

/// The port of the echo protocol (RFC 862).
pub(super) const UDP_PORT: u16 = 7;
/// Beside it, so that a filter can tell the two apart by port as well.
pub(super) const TCP_PORT: u16 = 8;

/// A running echo server; it stops when dropped. It is bound, and so ready, once it exists.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Both servers at the ports that the labs use: UDP 7 and TCP 8.
    pub fn both(ns: &Netns, address: IpAddr) -> Result<[Self; 2]> {
        Ok([
            Self::udp(ns, SocketAddr::new(address, UDP_PORT))?,
            Self::tcp(ns, SocketAddr::new(address, TCP_PORT))?,
        ])
    }

    /// Sends datagrams back.
    pub fn udp(ns: &Netns, address: SocketAddr) -> Result<Self> {
        let socket = ns.run(|| UdpSocket::bind(address))?.with_context(|| {
            format!(
                "cannot bind the UDP echo server to {address} in {}",
                ns.name()
            )
        })?;
        socket.set_nonblocking(true)?;
        let mut buffer = vec![0; 1 << 16];
        Self::serve(socket, move |socket| {
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let Some(datagram) = buffer.get(..length) else {
                    continue;
                };
                // the way back may be what is broken; the sender will notice
                drop(socket.send_to(datagram, peer));
            }
        })
    }

    /// Sends streams back, each on a thread of its own.
    pub fn tcp(ns: &Netns, address: SocketAddr) -> Result<Self> {
        let listener = ns.run(|| TcpListener::bind(address))?.with_context(|| {
            format!(
                "cannot bind the TCP echo server to {address} in {}",
                ns.name()
            )
        })?;
        listener.set_nonblocking(true)?;
        let connections = Connections::default();
        Self::serve(listener, move |listener| {
            while let Ok((stream, _)) = listener.accept() {
                connections.serve(stream);
            }
        })
    }

    fn serve<S: AsFd + Send + 'static>(
        socket: S,
        mut answer: impl FnMut(&S) + Send + 'static,
    ) -> Result<Self> {
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("echo".to_owned())
            .spawn(move || {
                loop {
                    let mut fds = [
                        PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
                        PollFd::new(socket.as_fd(), PollFlags::POLLIN),
                    ];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                        Err(_) => return,
                    }
                    if fds[0].any().unwrap_or(true) {
                        return;
                    }
                    answer(&socket);
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // a panic in there has been printed already
            drop(thread.join());
        }
    }
}

/// Accepted streams, cut off when the server stops.
#[derive(Default)]
struct Connections {
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Connections {
    fn serve(&self, stream: TcpStream) {
        let Ok(mut reader) = stream.try_clone() else {
            return;
        };
        let Ok(mut writer) = stream.try_clone() else {
            return;
        };
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stream);
        let open = Arc::clone(&self.open);
        let peer = reader.peer_addr().ok();
        let work = move || {
            // ends with the stream; which end broke it is the sender's to tell
            drop(io::copy(&mut reader, &mut writer));
            drop(writer.shutdown(Shutdown::Write));
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|stream| stream.peer_addr().is_ok_and(|addr| Some(addr) != peer));
        };
        drop(
            thread::Builder::new()
                .name("echo-tcp".to_owned())
                .spawn(work),
        );
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for stream in self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}
