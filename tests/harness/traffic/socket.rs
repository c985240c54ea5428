//! Sockets with the options that the senders offer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt};
use nix::sys::socket::{socket, sockopt};

use crate::Netns;

/// Options of a socket that are set before it is bound.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) source: Option<IpAddr>,
    pub(super) sport: u16,
    pub(super) mark: u32,
    pub(super) dont_fragment: bool,
    pub(super) device: Option<String>,
    pub(super) tos: u8,
}

/// Opens a socket in the namespace that the calling thread is in.
pub(super) fn open(kind: SockType, peer: &SocketAddr, options: &Options) -> Result<OwnedFd> {
    let family = if peer.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).context("cannot open a socket")?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::Broadcast, &true)?;
    if options.mark != 0 {
        setsockopt(&fd, sockopt::Mark, &options.mark).context("cannot set the mark")?;
    }
    if let Some(device) = &options.device {
        setsockopt(&fd, sockopt::BindToDevice, &device.into())
            .with_context(|| format!("cannot bind to the device {device}"))?;
    }
    if options.tos != 0 && peer.is_ipv4() {
        setsockopt(&fd, sockopt::Ipv4Tos, &i32::from(options.tos)).context("cannot set TOS")?;
    } else if options.tos != 0 {
        setsockopt(&fd, sockopt::Ipv6TClass, &i32::from(options.tos)).context("cannot set TOS")?;
    }
    if options.dont_fragment {
        never_fragment(&fd, peer.is_ipv4()).context("cannot set don't fragment")?;
    }
    if options.source.is_some() || options.sport != 0 {
        let any: IpAddr = match peer {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let local = SocketAddr::new(options.source.unwrap_or(any), options.sport);
        bind(fd.as_raw_fd(), &SockaddrStorage::from(local))
            .with_context(|| format!("cannot bind to {local}"))?;
    }
    Ok(fd)
}

/// A UDP socket at `ADDRESS:PORT` that takes one datagram or two, because nobody reads it.
pub(crate) fn deaf(ns: &Netns, address: &str) -> Result<UdpSocket> {
    let at: SocketAddr = address
        .parse()
        .with_context(|| format!("{address:?} is no ADDRESS:PORT"))?;
    let socket = ns
        .run(|| UdpSocket::bind(at))?
        .with_context(|| format!("cannot bind to {at} in {}", ns.name()))?;
    // the kernel makes the least that it allows of it
    setsockopt(&socket, sockopt::RcvBuf, &1)?;
    Ok(socket)
}

/// Path MTU discovery "do" (`ip(7)`, `ipv6(7)`): larger datagrams fail with `EMSGSIZE`.
fn never_fragment(fd: &OwnedFd, v4: bool) -> io::Result<()> {
    let (level, option, value) = if v4 {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        )
    } else {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        )
    };
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
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
