//! Model and inventory → findings: what is wrong, with evidence and the next step.
//!
//! A finding is one file with one [`Rule`]. Rules are pure functions of a [`Context`]; each needs
//! positive evidence, because a false alarm costs as much trust as a miss. [`run`] starts causes
//! before symptoms: a flow whose trouble a cause explains is not shown to the symptom's rule.

mod audit;
mod context;
mod drops;
mod finding;
mod intent;
mod lookup;
mod rule;
mod signs;
mod text;
mod trace;

mod blackhole_route;
mod csum;
mod duplicate_default;
mod encap_mtu;
mod fdb_inconsistent;
mod fdb_missing;
mod forwarding_disabled;
mod hop_limit;
mod left_unanswered;
mod martian_source;
mod native_in_tunnel_mode;
mod neigh_unresolved;
mod no_listener;
mod no_route;
mod onlink_prefix_mismatch;
mod overlapping_address;
mod policy_drop;
mod rcvbuf_full;
mod rp_filter;
mod tunnel_in_native_mode;
mod tunnel_unanswered;
mod wrong_egress;

#[cfg(test)]
mod tests;

pub use audit::{AUDITED, audit};
pub use context::Context;
pub use finding::{Finding, Severity, Subject};
pub use intent::{CniGuess, Intent, Mode, Node, Source, guess_cni};
pub use rule::{Rule, RuleInfo, rules, run};
