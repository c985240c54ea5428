//! What a rule is, and the registry of all of them.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Context, Finding, context::Hidden};

/// One thing that can be wrong.
pub trait Rule {
    /// Stable id: the name of its page in `docs/findings/`.
    const ID: &'static str;
    /// One line for a list of ids.
    const ABOUT: &'static str;
    /// Symptoms that this cause explains completely: their rules do not see the flows of its
    /// findings. Symptoms that add something are left in; they come later in the registry.
    const HIDES: &'static [&'static str] = &[];
    /// A rule that is checked later and whose findings are nevertheless shown before: what it finds
    /// is the greater trouble when both are found.
    const SHOWN_AFTER: Option<&'static str> = None;

    /// Looks for it: one finding per subject, with all its flows.
    fn check(&self, ctx: &Context<'_>) -> Vec<Finding>;
}

/// A rule's id and description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Stable id.
    pub id: &'static str,
    /// One line.
    pub about: &'static str,
}

struct Entry {
    info: RuleInfo,
    hides: &'static [&'static str],
    shown_after: Option<&'static str>,
    check: fn(&Context<'_>) -> Vec<Finding>,
}

macro_rules! registry {
    ($($rule:path),* $(,)?) => {
        &[$(Entry {
            info: RuleInfo { id: <$rule as Rule>::ID, about: <$rule as Rule>::ABOUT },
            hides: <$rule as Rule>::HIDES,
            shown_after: <$rule as Rule>::SHOWN_AFTER,
            check: |ctx| Rule::check(&$rule, ctx),
        }),*]
    };
}

/// Causes before symptoms: this order decides which finding of equal severity is shown first.
const REGISTRY: &[Entry] = registry![
    super::tunnel_in_native_mode::TunnelInNativeMode,
    super::native_in_tunnel_mode::NativeInTunnelMode,
    super::onlink_prefix_mismatch::OnlinkPrefixMismatch,
    super::duplicate_default::DuplicateDefault,
    super::wrong_egress::WrongEgress,
    super::forwarding_disabled::ForwardingDisabled,
    super::rp_filter::RpFilter,
    super::martian_source::MartianSource,
    super::policy_drop::PolicyDrop,
    super::blackhole_route::BlackholeRoute,
    super::no_route::NoRoute,
    super::neigh_unresolved::NeighUnresolved,
    super::fdb_missing::FdbMissing,
    super::fdb_inconsistent::FdbInconsistent,
    super::encap_mtu::EncapMtu,
    super::csum::Csum,
    super::hop_limit::HopLimit,
    super::rcvbuf_full::RcvbufFull,
    super::no_listener::NoListener,
    super::tunnel_unanswered::TunnelUnanswered,
    super::left_unanswered::LeftUnanswered,
    super::overlapping_address::OverlappingAddress,
];

pub(super) fn rank_of(id: &str) -> Option<usize> {
    REGISTRY.iter().position(|entry| entry.info.id == id)
}

/// All rules, causes before symptoms.
pub fn rules() -> impl Iterator<Item = RuleInfo> {
    REGISTRY.iter().map(|e| e.info)
}

/// Runs all rules: the worst first, among equals the cause before its symptoms, then by the number
/// of flows concerned. The order is the same for the same input.
pub fn run(ctx: &Context<'_>) -> Vec<Finding> {
    let mut hidden: BTreeMap<&str, Hidden> = BTreeMap::new();
    let mut found: Vec<((usize, usize), Finding)> = Vec::new();
    for (rank, entry) in REGISTRY.iter().enumerate() {
        let view = ctx.without(hidden.remove(entry.info.id).unwrap_or_default());
        for finding in (entry.check)(&view) {
            for symptom in entry.hides {
                hidden
                    .entry(symptom)
                    .or_default()
                    .extend(&finding.subject.flows);
            }
            let place = entry.shown_after.and_then(rank_of).unwrap_or(rank);
            found.push(((place, REGISTRY.len() - rank), finding));
        }
    }
    found.sort_by_key(|(rank, f)| (f.severity, *rank, Reverse(f.subject.flows.len())));
    found.into_iter().map(|(_, f)| f).collect()
}
