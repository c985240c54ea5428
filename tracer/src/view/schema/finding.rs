//! What is wrong.

use std::net::IpAddr;

use serde::Serialize;

use super::Named;

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding<'a> {
    /// Stable id.
    pub id: &'a str,
    /// `error`, `warning` or `info`.
    pub severity: &'static str,
    /// One sentence.
    pub summary: &'a str,
    /// What it is about.
    pub subject: Subject,
    /// Numbers and config lines.
    pub evidence: &'a [String],
    /// What to do.
    pub next: &'a str,
}

/// What a finding is about.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// The flow most affected.
    pub flow: Option<String>,
    /// Device.
    pub dev: Option<String>,
    /// Address.
    pub address: Option<IpAddr>,
    /// How many flows are affected.
    pub flows: usize,
    /// Who its devices and addresses belong to.
    pub names: Vec<Named>,
}
