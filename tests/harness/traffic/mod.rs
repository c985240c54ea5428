//! Senders and echo servers inside namespaces, without any tool but `ping`.
//!
//! A socket belongs to the namespace in which it was opened, whichever thread uses it later. So
//! only the opening happens inside ([`Netns::run`](crate::Netns::run)); the rest is plain sockets.

pub mod blast;
pub mod burst;
mod cpu;
mod echo;
pub mod frame;
pub mod mroute;
mod noise;
pub mod offload;
mod ping;
mod plan;
pub mod ring;
mod socket;
mod tcp;
mod udp;

pub use blast::Blast;
pub use echo::Echo;
pub use noise::{Noise, Noised};
pub use ping::Ping;
pub use plan::{Plan, Planned, Sender};
pub(crate) use socket::deaf;
pub use tcp::Tcp;
pub use udp::Udp;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// What became of one flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The address and port that it was sent from; `None` for ICMP.
    pub source: Option<SocketAddr>,
    /// Datagrams or echo requests (UDP, ICMP) or bytes (TCP) that the kernel took.
    pub sent: u64,
    /// The same unit, come back from the echo server.
    pub received: u64,
    /// Errors of the sender's socket, by name, each once.
    pub errors: BTreeSet<String>,
}

impl Sent {
    /// Everything came back, and there was something.
    pub fn delivered(&self) -> bool {
        self.sent > 0 && self.received == self.sent && self.errors.is_empty()
    }

    /// Nothing came back.
    pub fn lost(&self) -> bool {
        self.received == 0
    }

    /// Adds a later round of the same flow.
    pub fn add(&mut self, later: Self) {
        self.source = later.source.or(self.source);
        self.sent += later.sent;
        self.received += later.received;
        self.errors.extend(later.errors);
    }

    fn note(&mut self, error: &io::Error) {
        self.errors.insert(name_of(error));
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {} received {}", self.sent, self.received)?;
        for error in &self.errors {
            write!(f, " {error}")?;
        }
        Ok(())
    }
}

/// `EMSGSIZE` and so on; what has no errno by its kind.
fn name_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
        None => error.kind().to_string(),
    }
}
