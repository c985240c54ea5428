//! How a check was run, as far as the verdict depends on it.

use std::{collections::BTreeMap, net::IpAddr};

/// How a check was run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Its name in a file of checks.
    pub name: Option<String>,
    /// What ended it; `None` when nothing was waited for.
    pub ended: Option<Ended>,
    /// What was sent for it.
    pub probe: Option<ProbeReport>,
}

/// What ended a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The time was over.
    Time,
    /// Enough packets were seen, or the probe was done: there was nothing left to wait for.
    Done,
    /// SIGINT: the operator has seen enough, so that what was seen counts.
    Interrupt,
    /// SIGTERM: somebody else ended it, so that the verdict is about a part.
    Terminate,
    /// SIGHUP: the terminal went away. As for SIGTERM.
    Hangup,
}

impl Ended {
    /// The name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Done => "done",
            Self::Interrupt => "sigint",
            Self::Terminate => "sigterm",
            Self::Hangup => "sighup",
        }
    }

    /// The signal that cut the run short, when one did.
    pub(super) fn cut_by(self) -> Option<&'static str> {
        match self {
            Self::Terminate => Some("SIGTERM"),
            Self::Hangup => Some("SIGHUP"),
            Self::Time | Self::Done | Self::Interrupt => None,
        }
    }
}

impl Run {
    /// It was ended before it had seen what it was to see.
    pub fn is_partial(&self) -> bool {
        self.ended.is_some_and(|e| e.cut_by().is_some())
    }
}

/// What a check sent by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// `udp`, `tcp` or `icmp`.
    pub proto: &'static str,
    /// The only address that anything was sent to.
    pub to: IpAddr,
    /// Destination port; `None` for ICMP.
    pub port: Option<u16>,
    /// The namespace that it was sent from, as it was given; `None` for tracer's own.
    pub netns: Option<String>,
    /// How many packets (TCP: attempts to connect) it was told to send.
    pub asked: u32,
    /// How many it sent.
    pub sent: u32,
    /// How many of them were answered, as the sending socket saw it.
    pub answered: u32,
    /// Size of each packet in bytes with its IP header, when it was told; sent with "don't fragment".
    pub size: Option<u16>,
    /// Packets that the kernel refused to make, by errno.
    pub refused: BTreeMap<String, u32>,
    /// Errors that came back for packets that were sent, by errno.
    pub errors: BTreeMap<String, u32>,
    /// Why it could not send at all: no socket, no such namespace.
    pub failed: Option<String>,
}

impl ProbeReport {
    /// Who was asked, as `udp 10.1.2.3:53`.
    pub fn target(&self) -> String {
        let (proto, to) = (self.proto, self.to);
        match (self.port, to) {
            (None, _) => format!("{proto} {to}"),
            (Some(port), IpAddr::V4(to)) => format!("{proto} {to}:{port}"),
            (Some(port), IpAddr::V6(to)) => format!("{proto} [{to}]:{port}"),
        }
    }

    /// What keeps the verdict open: less was sent than was asked for, though nothing refused it.
    pub(super) fn open(&self) -> Option<String> {
        let target = self.target();
        if let Some(why) = &self.failed {
            return Some(format!("The probe of {target} could not be sent: {why}."));
        }
        let tried = self.sent + self.refused.values().sum::<u32>();
        (tried < self.asked).then(|| {
            format!(
                "Only {tried} of {} packets of the probe of {target} were sent before the end.",
                self.asked
            )
        })
    }

    /// What the kernel refused to send, one sentence for each errno.
    pub(super) fn refusals(&self) -> Vec<String> {
        let sentence = |(errno, n): (&String, &u32)| {
            let size = match self.size {
                Some(size) if errno == "EMSGSIZE" => {
                    format!(" of {size} bytes, which do not fit the MTU where it starts")
                }
                _ => String::new(),
            };
            let (target, asked) = (self.target(), self.asked);
            format!("The probe of {target} could not send {n} of {asked} packets{size}: {errno}.")
        };
        self.refused.iter().map(sentence).collect()
    }
}
