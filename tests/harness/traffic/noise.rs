//! 10,000 other flows through a node: small UDP packets between 100 × 100 addresses, one flow each,
//! of IPv4 and IPv6 in turn, at a pace that leaves room for the traffic under test.
//!
//! The frames are written by packet sockets, so that one namespace can be a hundred senders. What
//! has crossed the node ends at the far device, which takes no part in anything.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socket};
use serde_json::Value;

use crate::{Netns, Network, Topology, deadline};

/// Addresses on each side, of both families together.
const SIDE: usize = 100;
const IN_MAC: [u8; 6] = [2, 0, 0, 0, 0x4e, 1];
/// Packets between two pauses: far below what the queue of a CPU takes
/// (`net.core.netdev_max_backlog`, 1000).
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(1);
/// From the start until every flow has sent a packet.
const FIRST_ROUND: Duration = Duration::from_secs(30);

/// Traffic that runs until it is stopped.
#[derive(Debug)]
pub struct Noise {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Traffic that was.
#[derive(Debug, Clone, Copy)]
pub struct Noised {
    /// Packets.
    pub packets: u64,
}

impl Noised {
    /// Requires that the node forwarded nearly all of it and that tracer saw every flow: otherwise
    /// nothing ran beside.
    pub fn were_seen(&self, report: &Value) -> Result<()> {
        let flows = report["flows"].as_array().context("no flows")?;
        let seen = flows.iter().filter(|flow| {
            flow["sport"] == SPORT && flow["path"].to_string().contains("\"nzout\"")
        });
        let seen = seen.count();
        ensure!(
            seen == SIDE * SIDE,
            "tracer saw {seen} of {} other flows leave ({self:?})",
            SIDE * SIDE
        );
        Ok(())
    }
}

const SPORT: u16 = 9;

impl Noise {
    /// The lab with a way through its node for the noise.
    pub fn beside(topology: Topology, node: &str) -> Topology {
        let far = "02:00:00:00:4e:02";
        topology
            .ns(&["nzin", "nzout"])
            .forwarding(&[node])
            .veth((node, "nzin", "02:00:00:00:4e:01"), ("nzin", "eth0"))
            .veth((node, "nzout"), ("nzout", "eth0", far))
            .addr(node, "nzin", &["198.18.0.1/16", "fd98::1/64"])
            .addr(node, "nzout", &["198.19.0.1/30", "fd99:1::1/64"])
            .route(node, "198.19.1.0/24 via 198.19.0.2 dev nzout")
            .route(node, "fd99::/64 via fd99:1::2 dev nzout")
            .neigh(node, "nzout", "198.19.0.2", far)
            .neigh(node, "nzout", "fd99:1::2", far)
    }

    /// Starts it and waits until each flow has sent a packet.
    pub fn start(network: &Network) -> Result<Self> {
        let fd = open(network.ns("nzin")?)?;
        let frames = frames();
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread =
            thread::Builder::new()
                .name("noise".to_owned())
                .spawn(move || -> Result<()> {
                    for burst in frames.chunks(BURST).cycle() {
                        if stopped.load(Ordering::Relaxed) {
                            return Ok(());
                        }
                        for frame in burst {
                            send(fd.as_raw_fd(), frame, MsgFlags::empty())
                                .context("cannot send a frame of the noise")?;
                        }
                        count.fetch_add(burst.len() as u64, Ordering::Relaxed);
                        thread::sleep(PAUSE);
                    }
                    Ok(())
                })?;
        let noise = Self {
            stop,
            sent,
            thread: Some(thread),
        };
        let all = (SIDE * SIDE) as u64;
        deadline::wait_for("a packet of every other flow", FIRST_ROUND, || {
            Ok((noise.sent.load(Ordering::Relaxed) >= all).then_some(()))
        })?;
        Ok(noise)
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<Noised> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(Noised {
            packets: self.sent.load(Ordering::Relaxed),
        })
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A packet socket on `eth0` of `ns`.
fn open(ns: &Netns) -> Result<OwnedFd> {
    let index = i32::try_from(ns.ifindex("eth0")?)?;
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
    Ok(fd)
}

/// A frame of each flow.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::with_capacity(SIDE * SIDE);
    for number in 0..SIDE * SIDE {
        let (from, to) = (host(number / SIDE), host(number % SIDE));
        let mut frame = [IN_MAC, [2, 0, 0, 0, 0x4e, 3]].concat();
        if number % 2 == 0 {
            let (src, dst) = (
                Ipv4Addr::new(198, 18, 1, from),
                Ipv4Addr::new(198, 19, 1, to),
            );
            frame.extend([8, 0]);
            frame.extend(ipv4(src, dst));
        } else {
            let address = |net, host: u8| Ipv6Addr::new(net, 0, 0, 0, 0, 0, 1, u16::from(host));
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 17, 64]);
            frame.extend(address(0xfd98, from).octets());
            frame.extend(address(0xfd99, to).octets());
        }
        frame.extend(SPORT.to_be_bytes());
        frame.extend([0, 9, 0, 16, 0, 0]);
        frame.extend([b'n'; 8]);
        frames.push(frame);
    }
    frames
}

/// Host part of an address: 1 is the node's.
fn host(number: usize) -> u8 {
    u8::try_from(number + 100).unwrap_or(u8::MAX)
}

/// An IPv4 header for a UDP datagram of 16 bytes.
fn ipv4(src: Ipv4Addr, dst: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(src.octets());
    header.extend(dst.octets());
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_is_another() {
        let all: std::collections::HashSet<_> = frames().into_iter().collect();
        assert_eq!(all.len(), SIDE * SIDE);
    }

    #[test]
    fn the_header_sums_to_ones() {
        let header = ipv4(
            Ipv4Addr::new(198, 18, 1, 100),
            Ipv4Addr::new(198, 19, 1, 199),
        );
        let sum: u32 = header
            .chunks_exact(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
