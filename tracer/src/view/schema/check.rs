//! Verdicts.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::Report;

/// The judgement.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict<'a> {
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: &'static str,
    /// What the process exits with.
    pub exit_code: u8,
    /// One sentence each.
    pub reasons: &'a [String],
    /// The check's name in its file; `null` when it is not from a file.
    pub name: Option<&'a str>,
    /// What ended the wait: `time`, `done`, `sigint`, `sigterm` or `sighup`; `null` when nothing
    /// was waited for.
    pub ended: Option<&'static str>,
    /// A signal ended it before it had seen what it was to see.
    pub partial: bool,
    /// What was sent for it.
    pub probe: Option<Probe<'a>>,
}

/// What a check sent by itself.
#[derive(Clone, Debug, Serialize)]
pub struct Probe<'a> {
    /// `udp`, `tcp` or `icmp`.
    pub proto: &'static str,
    /// The only address that anything was sent to.
    pub to: IpAddr,
    /// Destination port.
    pub port: Option<u16>,
    /// The namespace that it was sent from, as it was given; `null` for tracer's own.
    pub netns: Option<&'a str>,
    /// Packets (TCP: attempts to connect) that were asked for.
    pub asked: u32,
    /// Packets (TCP: attempts to connect) that were sent.
    pub sent: u32,
    /// How many of them were answered, as the sending socket saw it.
    pub answered: u32,
    /// Bytes of each packet with its IP header, sent with "don't fragment"; `null` when no size
    /// was asked for.
    pub size: Option<u16>,
    /// Packets that the kernel refused to make, by errno.
    pub refused: &'a BTreeMap<String, u32>,
    /// Errors that came back, by errno.
    pub errors: &'a BTreeMap<String, u32>,
    /// Why it could not send at all.
    pub failed: Option<&'a str>,
}

/// The verdicts of a file of checks.
#[derive(Clone, Debug, Serialize)]
pub struct Checks<'a> {
    /// [`super::CHECKS`].
    pub schema: &'static str,
    /// The worst of the verdicts: `fail`, otherwise `inconclusive`, otherwise `pass`.
    pub verdict: &'static str,
    /// What the process exits with.
    pub exit_code: u8,
    /// How many of each kind.
    pub summary: Tally,
    /// One object for each check, in the order of the file.
    pub checks: Vec<Report<'a>>,
}

/// How many verdicts of each kind there are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tally {
    /// As expected.
    pub pass: usize,
    /// Not as expected.
    pub fail: usize,
    /// Cannot be told.
    pub inconclusive: usize,
}
