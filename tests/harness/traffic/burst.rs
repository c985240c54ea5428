//! Datagrams of many senders in one burst, written by a packet socket of one namespace.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType};

use crate::Netns;

/// Source of the frames; nobody answers to it.
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0x4e, 3];
/// Payload of each datagram.
const PAYLOAD: [u8; 8] = [b'n'; 8];

/// A UDP datagram between two ends of the same family, in a frame to a device. It has no checksum: it
/// is for nodes that pass it on.
pub fn udp(to: [u8; 6], (src, dst): (SocketAddr, SocketAddr)) -> Vec<u8> {
    let mut frame = [to, SOURCE].concat();
    match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.extend([8, 0]);
            frame.extend(ipv4(src.octets(), dst.octets()));
        }
        (src, dst) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 17, 64]);
            frame.extend(octets(src));
            frame.extend(octets(dst));
        }
    }
    frame.extend(src.port().to_be_bytes());
    frame.extend(dst.port().to_be_bytes());
    frame.extend([0, 16, 0, 0]);
    frame.extend(PAYLOAD);
    frame
}

/// An IPv4 header for a UDP datagram of 16 bytes.
fn ipv4(src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(src);
    header.extend(dst);
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// The link address of `dev`.
pub fn mac(ns: &Netns, dev: &str) -> Result<[u8; 6]> {
    let text = ns.exec(&["cat", &format!("/sys/class/net/{dev}/address")])?;
    let octets: Result<Vec<u8>, _> = text
        .trim()
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect();
    let octets = octets.with_context(|| format!("{dev} has the address {text:?}"))?;
    octets
        .try_into()
        .map_err(|got: Vec<u8>| anyhow::anyhow!("{dev} has an address of {} bytes", got.len()))
}

/// A packet socket on a device.
pub(super) fn socket(ns: &Netns, dev: &str) -> Result<OwnedFd> {
    let index = i32::try_from(ns.ifindex(dev)?)?;
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    let fd = ns.run(|| nix::sys::socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, None))??;
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
        io::Error::last_os_error()
    );
    Ok(fd)
}

/// Sends all of `frames` by `dev` of `ns` with as few system calls as the kernel takes, on one CPU.
pub fn burst_on(cpu: usize, ns: &Netns, dev: &str, frames: &[Vec<u8>]) -> Result<()> {
    let fd = socket(ns, dev)?;
    let _back = super::cpu::pinned(cpu)?;
    let mut parts: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: mmsghdr is plain data, for which all zeroes is a valid value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let mut rest = messages.as_mut_slice();
    while !rest.is_empty() {
        let length = libc::c_uint::try_from(rest.len())?;
        // SAFETY: `rest` has `length` headers, which point to `parts` and `frames`; the kernel only
        // reads them.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), rest.as_mut_ptr(), length, 0) };
        let Ok(sent) = usize::try_from(sent) else {
            return Err(io::Error::last_os_error()).context("cannot send frames");
        };
        rest = rest.split_at_mut(sent).1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_sums_to_ones() {
        let header = ipv4([198, 18, 1, 100], [198, 19, 1, 199]);
        let sum: u32 = header
            .chunks_exact(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
