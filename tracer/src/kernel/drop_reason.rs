//! Names of this kernel's drop reasons, whose numbers move from version to version.

use std::sync::Arc;

use super::btf::Btf;
use crate::inventory::DropReasons;

/// Enums of subsystem reasons and the name of their subsystem in `enum skb_drop_reason_subsys`.
/// The kernel's own type information has the one of the queueing disciplines; the others come
/// with their module.
const SUBSYSTEMS: [(&str, &str); 4] = [
    (
        "mac80211_drop_reason",
        "SKB_DROP_REASON_SUBSYS_MAC80211_UNUSABLE",
    ),
    (
        "mac80211_drop_reason",
        "SKB_DROP_REASON_SUBSYS_MAC80211_MONITOR",
    ),
    ("ovs_drop_reason", "SKB_DROP_REASON_SUBSYS_OPENVSWITCH"),
    ("qdisc_drop_reason", "SKB_DROP_REASON_SUBSYS_QDISC"),
];

/// Modules whose type information names further reasons.
pub const MODULES: [&str; 2] = ["openvswitch", "mac80211"];

/// The reasons that the type information names; none on kernels before 5.17.
pub fn from_btf(btf: &Btf) -> DropReasons {
    let mut reasons = DropReasons::default();
    for value in btf.enum_values("skb_drop_reason") {
        let name = value.name;
        if name.ends_with("_MAX") || name.ends_with("_SUBSYS_MASK") {
            continue;
        }
        let short = name
            .strip_prefix("SKB_DROP_REASON_")
            .or_else(|| name.strip_prefix("SKB_"));
        if let Ok(n) = u32::try_from(value.value) {
            reasons
                .names
                .entry(n)
                .or_insert_with(|| Arc::from(short.unwrap_or(name)));
        }
    }
    add_subsystems(&mut reasons, btf);
    reasons
}

/// Adds the reasons of subsystems: their values carry the subsystem in the upper 16 bits.
pub fn add_subsystems(reasons: &mut DropReasons, btf: &Btf) {
    for (reason_enum, subsystem) in SUBSYSTEMS {
        let Some(number) = btf.enum_value_named("skb_drop_reason_subsys", subsystem) else {
            continue;
        };
        for value in btf.enum_values(reason_enum) {
            let marker = value.name.starts_with("__") || value.name.ends_with("_MAX");
            if value.value >> 16 != number || marker {
                continue;
            }
            if let Ok(n) = u32::try_from(value.value) {
                reasons
                    .names
                    .entry(n)
                    .or_insert_with(|| Arc::from(value.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::from_btf;
    use crate::{
        decode::drop_text,
        kernel::{btf::Btf, fixtures::btf},
    };

    #[rstest]
    #[case("6.1", &[(0, "NOT_DROPPED_YET"), (1, "NOT_SPECIFIED"), (2, "NO_SOCKET")], 65)]
    #[case("6.12", &[(1, "CONSUMED"), (2, "NOT_SPECIFIED"), (3, "NO_SOCKET")], 100)]
    #[case("6.18", &[
        (2, "NOT_SPECIFIED"),
        (12, "NETFILTER_DROP"),
        (16, "IP_RPFILTER"),
        (54, "IP_OUTNOROUTES"),
        (58, "NEIGH_FAILED"),
        (73, "TC_INGRESS"),
        (88, "IP_INNOROUTES"),
        (93, "PKT_TOO_BIG"),
        (113, "NO_TX_TARGET"),
    ], 128)]
    #[case("7.2", &[
        (2, "NOT_SPECIFIED"),
        (0x3_0001, "QDISC_DROP_GENERIC"),
        (0x3_0002, "QDISC_DROP_OVERLIMIT"),
    ], 126 + 9)]
    fn numbers_are_named(
        #[case] kernel: &str,
        #[case] expected: &[(u32, &str)],
        #[case] count: usize,
    ) {
        let reasons = from_btf(btf(kernel));
        for (n, name) in expected {
            assert_eq!(reasons.names.get(n).map(|n| &**n), Some(*name), "{n}");
        }
        assert_eq!(reasons.names.len(), count, "{:?}", reasons.names);
        assert!(
            reasons
                .names
                .values()
                .all(|n| !n.contains("DROP_REASON") && !n.ends_with("_MAX"))
        );
    }

    #[test]
    fn old_kernels_have_no_reasons() {
        assert!(from_btf(btf("5.10")).names.is_empty());
        assert!(from_btf(&Btf::default()).names.is_empty());
    }

    /// Reasons that are told by the function, or that no packet on a forwarding path meets.
    const WITHOUT_WORDS: [&str; 8] = [
        "NOT_DROPPED_YET",
        "CONSUMED",
        "NOT_SPECIFIED",
        "UNIX_DISCONNECT",
        "UNIX_SKIP_OOB",
        "CAN_RX_INVALID_FRAME",
        "CANFD_RX_INVALID_FRAME",
        "CANXL_RX_INVALID_FRAME",
    ];

    #[rstest]
    fn every_reason_has_words(#[values("6.1", "6.12", "6.18", "7.2")] kernel: &str) {
        let reasons = from_btf(btf(kernel));
        let without: Vec<_> = reasons
            .names
            .values()
            .filter(|n| !drop_text::is_known(n) && !WITHOUT_WORDS.contains(&&***n))
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
