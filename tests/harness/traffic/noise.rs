//! 10,000 other flows through a node: small UDP packets between 100 × 100 addresses, one flow each,
//! of IPv4 and IPv6 in turn, at a pace that leaves room for the traffic under test.
//!
//! The frames are written by packet sockets, so that one namespace can be a hundred senders. What
//! has crossed the node ends at the far device, which takes no part in anything.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::frame::{Frames, ethernet, ipv4, ipv6, udp};
use crate::{Network, Topology, deadline};

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
        let device = Frames::open(network.ns("nzin")?, "eth0")?;
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
                            ensure!(device.send(frame)?, "a frame of the noise is not taken");
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

/// A frame of each flow.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::with_capacity(SIDE * SIDE);
    for number in 0..SIDE * SIDE {
        let (from, to) = (host(number / SIDE), host(number % SIDE));
        let datagram = udp((SPORT, 9), b"nnnnnnnn");
        frames.push(if number % 2 == 0 {
            let ends = ([198, 18, 1, from], [198, 19, 1, to]);
            ethernet(IN_MAC, 0x0800, &ipv4(17, ends, &datagram))
        } else {
            let address = |net, host| Ipv6Addr::new(net, 0, 0, 0, 0, 0, 1, u16::from(host));
            let ends = (address(0xfd98, from), address(0xfd99, to));
            let ends = (ends.0.octets(), ends.1.octets());
            ethernet(IN_MAC, 0x86dd, &ipv6(17, ends, &datagram))
        });
    }
    frames
}

/// Host part of an address: 1 is the node's.
fn host(number: usize) -> u8 {
    u8::try_from(number + 100).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_is_another() {
        let all: std::collections::HashSet<_> = frames().into_iter().collect();
        assert_eq!(all.len(), SIDE * SIDE);
    }
}
