//! What the traffic is expected to do.

use crate::view::Question;

/// What the traffic is expected to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Of the direction that matches the filter.
    pub forward: PathExpect,
    /// Of the answers.
    pub reply: PathExpect,
    /// At most so many packets are dropped on this node.
    pub max_drops: Option<u64>,
    /// At least so many packets are needed to judge.
    pub min_packets: Option<u64>,
    /// Findings (ids) that fail whatever their severity.
    pub fail_on: Vec<String>,
    /// Findings (ids) that do not fail, nor do losses and silence of the flows that they are about.
    pub ignore: Vec<String>,
}

/// What one direction is expected to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathExpect {
    /// Every flow leaves by one of these devices.
    pub via: Vec<String>,
    /// No flow leaves by any of these devices.
    pub not_via: Vec<String>,
    /// Every flow is encapsulated; when a name is given, by this device or kind.
    pub tunnel: Option<Option<String>>,
    /// No flow is encapsulated.
    pub no_tunnel: bool,
    /// Every flow is routed by this table: its number or name.
    pub table: Option<String>,
}

impl PathExpect {
    pub(super) fn is_any(&self) -> bool {
        self.asks_path() || self.table.is_some()
    }

    fn asks_path(&self) -> bool {
        !self.via.is_empty() || !self.not_via.is_empty() || self.tunnel.is_some() || self.no_tunnel
    }
}

impl Expectations {
    /// Something replaces the default judgement.
    pub(super) fn is_explicit(&self) -> bool {
        self.forward.is_any() || self.reply.is_any() || self.max_drops.is_some()
    }

    /// Anything is expected.
    pub fn is_any(&self) -> bool {
        self.is_explicit() || self.min_packets.is_some() || !self.fail_on.is_empty()
    }

    /// What must be visible for a pass.
    pub(super) fn asks(&self, question: Question) -> bool {
        // a finding may be made of anything, so that its absence needs all of it
        if !self.is_explicit() || !self.fail_on.is_empty() {
            return true;
        }
        let both = [&self.forward, &self.reply];
        match question {
            Question::Drops => self.max_drops.is_some(),
            Question::Routes => both.iter().any(|e| e.table.is_some()),
            Question::Path => both.iter().any(|e| e.asks_path()),
        }
    }
}
