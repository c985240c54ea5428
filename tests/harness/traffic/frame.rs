//! Frames written byte by byte: what no socket would send.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socket};

use crate::Netns;

/// Messages in one `sendmmsg(2)`.
const BATCH: usize = 64;

/// A packet socket on one device: what it sends leaves there as it is.
#[derive(Debug)]
pub struct Frames(OwnedFd);

impl Frames {
    /// On `dev` of `ns`.
    pub fn open(ns: &Netns, dev: &str) -> Result<Self> {
        let index = i32::try_from(ns.ifindex(dev)?)?;
        let fd = ns.run(|| {
            socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
        })??;
        // SAFETY: sockaddr_ll is plain data, for which all zeroes is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET)?;
        address.sll_ifindex = index;
        // SAFETY: the pointer and the length describe `address`.
        let result = unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                libc::socklen_t::try_from(size_of_val(&address))?,
            )
        };
        ensure!(
            result == 0,
            "cannot bind a packet socket: {}",
            std::io::Error::last_os_error()
        );
        Ok(Self(fd))
    }

    /// Sends a frame with its Ethernet header. False when the kernel does not take it: it looks at
    /// the length and at VLAN headers.
    pub fn send(&self, frame: &[u8]) -> Result<bool> {
        use nix::errno::Errno;
        loop {
            return match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => Ok(true),
                Err(Errno::EINTR | Errno::ENOBUFS | Errno::EAGAIN) => continue,
                Err(Errno::EINVAL | Errno::EMSGSIZE | Errno::ENETDOWN) => Ok(false),
                Err(error) => Err(error).context("cannot send a frame"),
            };
        }
    }
}

impl Frames {
    /// From now on frames go to the driver at once, past the queues of the device.
    pub fn bypass_queues(&self) -> Result<()> {
        let on: libc::c_int = 1;
        // SAFETY: the pointer and the length describe `on`.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                libc::socklen_t::try_from(size_of_val(&on))?,
            )
        };
        ensure!(
            result == 0,
            "cannot bypass the queues: {}",
            std::io::Error::last_os_error()
        );
        Ok(())
    }

    /// Sends frames with as few calls as there can be, and returns how many the kernel took.
    pub fn send_all(&self, frames: &[Vec<u8>]) -> Result<u64> {
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let message = |part: &mut libc::iovec| {
            // SAFETY: mmsghdr is plain data, for which all zeroes is a valid value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = std::ptr::from_mut(part);
            message.msg_hdr.msg_iovlen = 1;
            message
        };
        let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
        let mut sent = 0;
        for batch in messages.chunks_mut(BATCH) {
            let length = libc::c_uint::try_from(batch.len())?;
            // SAFETY: each message points to a part, and each part to a frame; all of them outlive
            // the call, and the kernel only reads the frames.
            let result =
                unsafe { libc::sendmmsg(self.0.as_raw_fd(), batch.as_mut_ptr(), length, 0) };
            // a device that is busy takes some of them, or none
            sent += u64::try_from(result).unwrap_or(0);
        }
        Ok(sent)
    }
}

/// The MAC address of a device.
pub fn mac(ns: &Netns, dev: &str) -> Result<[u8; 6]> {
    let text = ns.exec(&["cat", &format!("/sys/class/net/{dev}/address")])?;
    let mut mac = [0; 6];
    for (byte, text) in mac.iter_mut().zip(text.trim().split(':')) {
        *byte = u8::from_str_radix(text, 16).with_context(|| format!("MAC address {text}"))?;
    }
    Ok(mac)
}

/// An Ethernet header before `payload`.
pub fn ethernet(to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let from = [2, 0, 0, 0, 0x66, 1];
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 packet with a right checksum.
pub fn ipv4(protocol: u8, (from, to): ([u8; 4], [u8; 4]), payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header.extend(from);
    header.extend(to);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, payload.to_vec()].concat()
}

/// An IPv6 packet.
pub fn ipv6(next: u8, (from, to): ([u8; 16], [u8; 16]), payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let start = [0x60, 0, 0, 0, length[0], length[1], next, 64];
    [&start[..], &from, &to, payload].concat()
}

/// A UDP datagram without a checksum.
pub fn udp((from, to): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let words = [from, to, length, 0].map(u16::to_be_bytes);
    [words.as_flattened(), payload].concat()
}

/// A TCP SYN without options, and without a checksum that anybody would accept.
pub fn syn((from, to): (u16, u16)) -> Vec<u8> {
    let ports = [from, to].map(u16::to_be_bytes);
    let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    [ports.as_flattened(), &rest].concat()
}

/// A TCP acknowledgement without options and data, with a right checksum.
pub fn ack((from, to): ([u8; 4], [u8; 4]), (sport, dport): (u16, u16)) -> Vec<u8> {
    let ports = [sport, dport].map(u16::to_be_bytes);
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    let mut header = [ports.as_flattened(), &rest].concat();
    // with the pseudo header of RFC 9293 §3.1
    let sum = checksum(&[&from[..], &to, &[0, 6, 0, 20], &header].concat());
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    header
}

/// A VXLAN header before an Ethernet frame, in UDP.
pub fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    let vni = (vni << 8).to_be_bytes();
    udp((40000, 4789), &[&[8, 0, 0, 0][..], &vni, frame].concat())
}

/// The checksum of RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            let low = pair.get(1).copied().unwrap_or(0);
            pair.first()
                .map_or(0, |high| u32::from(*high) << 8 | u32::from(low))
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_its_checksum_sums_to_nothing() {
        let packet = ipv4(17, ([10, 1, 0, 2], [10, 2, 0, 2]), &[]);
        assert_eq!(checksum(&packet), 0);
    }
}
