//! What the traffic is expected to do.

use crate::view::Question;

/// What the traffic is expected to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
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
    /// At most so many packets are dropped on this node.
    pub max_drops: Option<u64>,
    /// At least so many packets are needed to judge.
    pub min_packets: Option<u64>,
    /// Findings (ids) that fail whatever their severity.
    pub fail_on: Vec<String>,
}

impl Expectations {
    /// Something replaces the default judgement.
    pub(super) fn is_explicit(&self) -> bool {
        !self.via.is_empty()
            || !self.not_via.is_empty()
            || self.tunnel.is_some()
            || self.no_tunnel
            || self.table.is_some()
            || self.max_drops.is_some()
    }

    /// What must be visible for a pass.
    pub(super) fn asks(&self, question: Question) -> bool {
        if !self.is_explicit() {
            return true;
        }
        match question {
            Question::Drops => self.max_drops.is_some(),
            Question::Routes => self.table.is_some(),
            Question::Path => {
                !self.via.is_empty()
                    || !self.not_via.is_empty()
                    || self.tunnel.is_some()
                    || self.no_tunnel
            }
        }
    }
}
