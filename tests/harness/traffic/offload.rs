//! Segmentation and receive offload of a device (`ethtool -K DEV tso off gso off gro off`).

use std::io;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::Netns;

/// `ETHTOOL_STSO`, `ETHTOOL_SGSO`, `ETHTOOL_SGRO` of `linux/ethtool.h`.
const SETTINGS: [(&str, u32); 3] = [("tso", 0x1f), ("gso", 0x24), ("gro", 0x2c)];

/// `ETHTOOL_STXCSUM`.
const TX_CHECKSUM: u32 = 0x17;

/// `ETHTOOL_SSG`.
const SCATTER_GATHER: u32 = 0x19;

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Turns all three off for `dev` in `ns`.
pub fn off(ns: &Netns, dev: &str) -> Result<()> {
    for (name, command) in SETTINGS {
        ns.run(|| set(dev, command, 0))?.with_context(|| {
            format!(
                "`ip netns exec {} ethtool -K {dev} {name} off` failed",
                ns.name()
            )
        })?;
    }
    Ok(())
}

/// Turns receive offload on: a veth then has its packets received in batches.
pub fn receive_on(ns: &Netns, dev: &str) -> Result<()> {
    let (name, command) = SETTINGS[2];
    ns.run(|| set(dev, command, 1))?
        .with_context(|| format!("`ethtool -K {dev} {name} on` in {} failed", ns.name()))
}

/// Has the sender compute checksums (`ethtool -K DEV tx off`): a veth hands packets over without
/// one otherwise, and the receiver trusts them.
pub fn checksums_in_software(ns: &Netns, dev: &str) -> Result<()> {
    ns.run(|| set(dev, TX_CHECKSUM, 0))?
        .with_context(|| format!("`ethtool -K {dev} tx off` in {} failed", ns.name()))
}

/// Has what the device sends copied into one piece (`ethtool -K DEV sg off`), behind its tc hook and
/// before it is handed over.
pub fn gather_off(ns: &Netns, dev: &str) -> Result<()> {
    ns.run(|| set(dev, SCATTER_GATHER, 0))?
        .with_context(|| format!("`ethtool -K {dev} sg off` in {} failed", ns.name()))
}

fn set(dev: &str, command: u32, data: u32) -> Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut value = Value { command, data };
    // SAFETY: ifreq is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(
        dev.len() < request.ifr_name.len(),
        "device name {dev:?} is too long"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(dev.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: SIOCETHTOOL takes an ifreq whose data points to an ethtool_value; both are alive.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error().into())
    }
}
