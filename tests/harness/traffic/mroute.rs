//! Multicast routing without a daemon: two devices of a namespace, and one group that goes from the first
//! to the second (`ip mroute`, `linux/mroute.h`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Result, bail, ensure};

use crate::Netns;

/// `MRT_INIT`, `MRT_ADD_VIF`, `MRT_ADD_MFC`, and the same of IPv6.
const INIT: i32 = 200;
const ADD_DEVICE: i32 = 202;
const ADD_ROUTE: i32 = 204;
/// `VIFF_USE_IFINDEX`.
const USE_IFINDEX: u8 = 8;

/// `struct vifctl`.
#[repr(C)]
struct Vif {
    number: u16,
    flags: u8,
    threshold: u8,
    rate_limit: u32,
    ifindex: i32,
    remote: [u8; 4],
}

/// `struct mfcctl`.
#[repr(C)]
struct Mfc {
    origin: [u8; 4],
    group: [u8; 4],
    parent: u16,
    /// Devices by number: packets with a larger TTL go there.
    ttls: [u8; 32],
    rest: [u32; 4],
}

/// `struct mif6ctl`.
#[repr(C)]
struct Mif {
    number: u16,
    flags: u8,
    threshold: u8,
    ifindex: u16,
    rate_limit: u32,
}

/// `struct mf6cctl`.
#[repr(C)]
struct Mfc6 {
    origin: libc::sockaddr_in6,
    group: libc::sockaddr_in6,
    parent: u16,
    /// Devices by number, a bit for each.
    devices: [u32; 8],
}

/// Sends on by `devs[1]` of `ns` what `origin` sends to `group` and comes in by `devs[0]`, until dropped.
pub fn route(ns: &Netns, devs: [&str; 2], origin: IpAddr, group: IpAddr) -> Result<OwnedFd> {
    match (origin, group) {
        (IpAddr::V4(origin), IpAddr::V4(group)) => of_ipv4(ns, devs, origin, group),
        (IpAddr::V6(origin), IpAddr::V6(group)) => of_ipv6(ns, devs, origin, group),
        _ => bail!("{origin} and {group} are of two families"),
    }
}

fn of_ipv4(ns: &Netns, devs: [&str; 2], origin: Ipv4Addr, group: Ipv4Addr) -> Result<OwnedFd> {
    let fd = raw(ns, libc::AF_INET, libc::IPPROTO_IGMP)?;
    set(&fd, libc::IPPROTO_IP, INIT, &1_i32)?;
    for (number, dev) in (0..).zip(devs) {
        let vif = Vif {
            number,
            flags: USE_IFINDEX,
            threshold: 1,
            rate_limit: 0,
            ifindex: i32::try_from(ns.ifindex(dev)?)?,
            remote: [0; 4],
        };
        set(&fd, libc::IPPROTO_IP, ADD_DEVICE, &vif)?;
    }
    let mut ttls = [0; 32];
    ttls[1] = 1;
    let entry = Mfc {
        origin: origin.octets(),
        group: group.octets(),
        parent: 0,
        ttls,
        rest: [0; 4],
    };
    set(&fd, libc::IPPROTO_IP, ADD_ROUTE, &entry)?;
    Ok(fd)
}

fn of_ipv6(ns: &Netns, devs: [&str; 2], origin: Ipv6Addr, group: Ipv6Addr) -> Result<OwnedFd> {
    let fd = raw(ns, libc::AF_INET6, libc::IPPROTO_ICMPV6)?;
    set(&fd, libc::IPPROTO_IPV6, INIT, &1_i32)?;
    for (number, dev) in (0..).zip(devs) {
        let mif = Mif {
            number,
            flags: 0,
            threshold: 1,
            ifindex: u16::try_from(ns.ifindex(dev)?)?,
            rate_limit: 0,
        };
        set(&fd, libc::IPPROTO_IPV6, ADD_DEVICE, &mif)?;
    }
    let mut devices = [0; 8];
    devices[0] = 1 << 1;
    let entry = Mfc6 {
        origin: address(origin)?,
        group: address(group)?,
        parent: 0,
        devices,
    };
    set(&fd, libc::IPPROTO_IPV6, ADD_ROUTE, &entry)?;
    Ok(fd)
}

fn address(address: Ipv6Addr) -> Result<libc::sockaddr_in6> {
    // SAFETY: sockaddr_in6 is plain data, for which all zeroes is a valid value.
    let mut to: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    to.sin6_family = u16::try_from(libc::AF_INET6)?;
    to.sin6_addr.s6_addr = address.octets();
    Ok(to)
}

fn raw(ns: &Netns, family: i32, protocol: i32) -> Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; the result is checked.
    let fd = ns.run(|| unsafe { libc::socket(family, kind, protocol) })?;
    let error = io::Error::last_os_error();
    ensure!(fd >= 0, "cannot open a raw socket: {error}");
    // SAFETY: a new descriptor, which nothing else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set<T>(fd: &OwnedFd, level: i32, option: i32, value: &T) -> Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>())?;
    let value = (&raw const *value).cast::<libc::c_void>();
    // SAFETY: pointer and length describe `value`, which is alive.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, len) };
    let error = io::Error::last_os_error();
    ensure!(result == 0, "multicast routing, option {option}: {error}");
    Ok(())
}
