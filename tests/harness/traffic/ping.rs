//! ICMP echo with the system's `ping`.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::Sent;
use crate::Netns;

/// Echo requests to an address.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Ping {
    to: String,
    count: u32,
}

impl Ping {
    /// One echo request to `ADDRESS`, awaited for a second.
    pub fn to(address: &str) -> Self {
        Self {
            to: address.to_owned(),
            count: 1,
        }
    }

    /// How many, 200 ms apart.
    pub fn count(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// Sends from `ns` and waits for the answers.
    pub fn send(&self, ns: &Netns) -> Result<Sent> {
        let to: IpAddr = self
            .to
            .parse()
            .with_context(|| format!("{:?} is no address", self.to))?;
        let (to, count) = (to.to_string(), self.count.to_string());
        let output = ns.output(&["ping", "-n", "-q", "-i0.2", "-W1", "-c", &count, &to])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        // ping gives up before it sends anything where connect(2) fails
        if let Some(reason) = stderr.trim().strip_prefix("ping: connect: ") {
            return Ok(Sent {
                errors: [reason.to_owned()].into(),
                ..Sent::default()
            });
        }
        let summary = text
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let mut numbers = summary
            .with_context(|| format!("`ping {to}` said {text}{stderr}"))?
            .split(", ")
            .filter_map(|part| part.split(' ').next()?.parse::<u64>().ok());
        let (sent, received) = (numbers.next(), numbers.next());
        Ok(Sent {
            sent: sent.unwrap_or_default(),
            received: received.unwrap_or_default(),
            ..Sent::default()
        })
    }
}
