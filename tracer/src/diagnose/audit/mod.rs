//! What the configuration alone shows, before any packet.
//!
//! The rules themselves run over an empty picture first: some see their cause in the configuration.
//! The checks here add what a rule can only confirm with packets. They share the rule's id, because
//! it is the same fact, and warn where only traffic can tell whether it matters.

mod blackhole_route;
mod fdb;
mod forwarding_disabled;
mod neigh_unresolved;
mod no_route;
mod node;
mod onlink_prefix_mismatch;
mod overlapping_address;
mod rp_filter;
mod tunnel_mode;
mod wrong_egress;

use super::{Context, Finding, Intent, rule};
use crate::{inventory::Inventory, model::Snapshot};

type Check = fn(&Context<'_>) -> Vec<Finding>;

const CHECKS: &[Check] = &[
    tunnel_mode::tunnel_in_native_mode,
    tunnel_mode::native_in_tunnel_mode,
    onlink_prefix_mismatch::check,
    wrong_egress::check,
    forwarding_disabled::check,
    rp_filter::check,
    blackhole_route::check,
    no_route::check,
    neigh_unresolved::check,
    fdb::missing,
    overlapping_address::check,
];

/// Ids that an audit can find.
pub const AUDITED: &[&str] = &[
    "blackhole-route",
    "duplicate-default",
    "encap-mtu",
    "fdb-inconsistent",
    "fdb-missing",
    "forwarding-disabled",
    "native-in-tunnel-mode",
    "neigh-unresolved",
    "no-route",
    "onlink-prefix-mismatch",
    "overlapping-address",
    "rp-filter",
    "tunnel-in-native-mode",
    "wrong-egress",
];

/// Everything that is wrong in the configuration, the worst first, causes before symptoms. The order
/// is the same for the same input.
pub fn audit(inventory: &Inventory, intent: &Intent) -> Vec<Finding> {
    let empty = Snapshot::default();
    let ctx = Context::new(&empty, inventory).with_intent(intent);
    let mut found = rule::run(&ctx);
    for check in CHECKS {
        for finding in check(&ctx) {
            let said = found.iter().any(|f| {
                f.id == finding.id && f.subject.dev.is_some() && f.subject == finding.subject
            });
            if !said {
                found.push(finding);
            }
        }
    }
    found.sort_by_key(|f| (f.severity, rule::rank_of(f.id)));
    found
}
