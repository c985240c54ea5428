//! The traffic of a lab as data.

use super::{Ping, Sent, Tcp, Udp};
use crate::Netns;
use anyhow::Result;

/// Something that sends one flow.
#[derive(Debug, Clone)]
pub enum Sender {
    /// Datagrams to an echo server.
    Udp(Udp),
    /// A stream to an echo server.
    Tcp(Tcp),
    /// ICMP echo.
    Ping(Ping),
}

impl From<Udp> for Sender {
    fn from(udp: Udp) -> Self {
        Self::Udp(udp)
    }
}

impl From<Tcp> for Sender {
    fn from(tcp: Tcp) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<Ping> for Sender {
    fn from(ping: Ping) -> Self {
        Self::Ping(ping)
    }
}

impl Sender {
    /// Sends from `ns`; `round` counts the repetitions of the plan.
    pub fn send(&self, ns: &Netns, round: u16) -> Result<Sent> {
        match self {
            Self::Udp(udp) => udp.send(ns),
            Self::Tcp(tcp) => tcp.clone().in_round(round).send(ns),
            Self::Ping(ping) => ping.send(ns),
        }
    }
}

/// A named flow of a plan.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What results and expectations call it.
    pub name: String,
    /// The role that sends it.
    pub from: String,
    /// How.
    pub sender: Sender,
}

/// Echo servers, and flows in waves: the flows of a wave run at the same time, one wave after the
/// other.
#[derive(Debug, Clone)]
#[must_use = "a plan is only a description"]
pub struct Plan {
    pub(crate) echoes: Vec<(String, String)>,
    pub(crate) deaf: Vec<(String, String)>,
    pub(crate) waves: Vec<Vec<Planned>>,
}

impl Plan {
    /// No traffic.
    pub fn new() -> Self {
        Self {
            echoes: Vec::new(),
            deaf: Vec::new(),
            waves: vec![Vec::new()],
        }
    }

    /// Echo servers of `role` at `address`: UDP port 7, TCP port 8.
    pub fn echo(mut self, role: &str, address: &str) -> Self {
        self.echoes.push((role.to_owned(), address.to_owned()));
        self
    }

    /// A UDP socket of `role` at `ADDRESS:PORT` with the smallest buffer that nobody reads.
    pub fn deaf(mut self, role: &str, address: &str) -> Self {
        self.deaf.push((role.to_owned(), address.to_owned()));
        self
    }

    /// A flow called `name` from `role`, beside the others of this wave.
    pub fn flow(mut self, name: &str, role: &str, sender: impl Into<Sender>) -> Self {
        let flow = Planned {
            name: name.to_owned(),
            from: role.to_owned(),
            sender: sender.into(),
        };
        if let Some(wave) = self.waves.last_mut() {
            wave.push(flow);
        }
        self
    }

    /// Ends the wave: what follows starts when all flows so far are done.
    pub fn then(mut self) -> Self {
        self.waves.push(Vec::new());
        self
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}
