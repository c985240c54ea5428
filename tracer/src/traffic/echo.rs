//! Echo requests of ICMP, in both families.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::{AtomicU16, Ordering},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockProtocol, SockType, recv, send},
};

use super::{Order, Sent, Way, socket};

/// Bytes behind the header when no size is asked for, as `ping` has it.
const SMALL: usize = 56;
/// Bytes of the echo header.
const HEADER: u16 = 8;

/// Tells the probes of one process apart.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Echo requests of one identifier. A raw socket, since the kernel's ping sockets are closed to
/// everybody in a new namespace (`net.ipv4.ping_group_range`).
pub(super) struct Echo {
    fd: OwnedFd,
    peer: SocketAddr,
    id: u16,
    payload: Vec<u8>,
    connected: bool,
}

impl Echo {
    pub(super) fn new(order: &Order) -> io::Result<Self> {
        let peer = SocketAddr::new(order.to, 0);
        let protocol = if peer.is_ipv4() {
            SockProtocol::Icmp
        } else {
            SockProtocol::IcmpV6
        };
        let fd = socket::open(&peer, SockType::Raw, Some(protocol))?;
        if order.size.is_some() {
            socket::dont_fragment(&fd, peer.is_ipv4())?;
        }
        let headers = socket::ip_header(peer.is_ipv4()) + HEADER;
        let size = order
            .size
            .map_or(SMALL, |s| usize::from(s.saturating_sub(headers)));
        Ok(Self {
            fd,
            peer,
            id: (std::process::id() as u16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)),
            payload: socket::payload(size),
            connected: false,
        })
    }

    fn request(&self, n: u16) -> Vec<u8> {
        let kind = if self.peer.is_ipv4() { 8 } else { 128 };
        let mut packet = vec![kind, 0, 0, 0];
        packet.extend(self.id.to_be_bytes());
        packet.extend(n.to_be_bytes());
        packet.extend(&self.payload);
        // the kernel fills in that of ICMPv6 (RFC 3542, 3.1)
        if self.peer.is_ipv4() {
            let sum = checksum(&packet).to_be_bytes();
            packet.splice(2..4, sum);
        }
        packet
    }

    /// An answer to one of ours; `bytes` begin with the IP header in IPv4 (`raw(7)`).
    fn is_answer(&self, bytes: &[u8]) -> bool {
        let (start, kind) = match bytes.first() {
            Some(first) if self.peer.is_ipv4() => (usize::from(first & 0x0f) * 4, 0),
            _ => (0, 129),
        };
        let id = self.id.to_be_bytes();
        bytes.get(start..).is_some_and(|icmp| {
            icmp.first() == Some(&kind) && icmp.get(4..6) == Some(id.as_slice())
        })
    }
}

impl Way for Echo {
    fn send(&mut self, n: u16) -> io::Result<()> {
        if !self.connected {
            socket::connect_to(&self.fd, &self.peer)?;
            self.connected = true;
        }
        let packet = self.request(n);
        let once = || send(self.fd.as_raw_fd(), &packet, MsgFlags::empty());
        // the first error may be what came back for an earlier packet: then none was sent now
        once().or_else(|_earlier| once())?;
        Ok(())
    }

    fn collect(&mut self, sent: &mut Sent) {
        let mut bytes = [0; 128];
        if !self.connected {
            return;
        }
        loop {
            match recv(self.fd.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                Ok(n) if self.is_answer(bytes.get(..n).unwrap_or_default()) => {
                    sent.answers = sent.packets.min(sent.answers + 1);
                }
                Ok(_other) => {}
                Err(Errno::EAGAIN) => return,
                Err(e) => sent.error(&e.into()),
            }
        }
    }
}

/// The Internet checksum (RFC 1071) of what is whole words but for the last byte.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            let low = pair.get(1).copied().unwrap_or(0);
            u32::from(u16::from_be_bytes([pair[0], low]))
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_to_nothing() {
        let mut packet = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a'];
        let sum = checksum(&packet);
        packet.splice(2..4, sum.to_be_bytes());
        assert_eq!(checksum(&packet), 0);
        // an example by hand: 0x0800 + 0x1234 + 0x0001 + 0x6100 = 0x7b35
        assert_eq!(sum, !0x7b35);
    }
}
