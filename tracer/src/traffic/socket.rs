//! Sockets as probes need them.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, socket,
};

/// Bytes of the IP header without options or extensions.
pub(super) fn ip_header(v4: bool) -> u16 {
    if v4 { 20 } else { 40 }
}

/// Opens a socket that never blocks, for this peer's family.
pub(super) fn open(
    peer: &SocketAddr,
    kind: SockType,
    protocol: Option<SockProtocol>,
) -> io::Result<OwnedFd> {
    let family = if peer.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, kind, flags, protocol)?)
}

/// Connects; for TCP that begins the handshake.
pub(super) fn connect_to(fd: &OwnedFd, peer: &SocketAddr) -> io::Result<()> {
    connect(fd.as_raw_fd(), &SockaddrStorage::from(*peer)).map_err(Into::into)
}

/// Never fragments, and ignores what path MTU discovery has learned (`ip(7)`, `ipv6(7)`,
/// `IP_PMTUDISC_PROBE`): each packet has the size that it was told to have, or is refused with
/// `EMSGSIZE` when the device where it starts cannot take it.
pub(super) fn dont_fragment(fd: &OwnedFd, v4: bool) -> io::Result<()> {
    if v4 {
        set(
            fd,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )
    } else {
        set(
            fd,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )?;
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)
    }
}

fn set(fd: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, a live c_int.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `size` bytes that tell a reader of a capture where they come from.
pub(super) fn payload(size: usize) -> Vec<u8> {
    let mut bytes = b"tracer check --probe".to_vec();
    bytes.resize(size, 0);
    bytes
}
