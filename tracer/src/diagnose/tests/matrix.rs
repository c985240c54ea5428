//! Each fixture against all rules.

use super::{
    build::{Lab, ended, seen},
    fixtures::{all, contested, ipv6_node, native, rivals, with_mode},
};
use crate::diagnose::{Mode, Severity, rules};

#[test]
fn each_fixture_gives_exactly_its_findings_in_order() {
    for (name, lab, expected) in all() {
        assert_eq!(lab.ids(), expected, "{name}: {:#?}", lab.findings());
    }
}

#[test]
fn every_rule_has_a_fixture_that_fires_it() {
    let fired: Vec<&str> = all().iter().flat_map(|(_, _, ids)| ids.to_vec()).collect();
    for rule in rules() {
        assert!(fired.contains(&rule.id), "{} fires in no fixture", rule.id);
    }
}

#[test]
fn nothing_is_found_where_nothing_was_seen() {
    assert!(Lab::new().findings().is_empty());
    assert!(native().findings().is_empty());
}

#[test]
fn the_same_input_gives_the_same_output() {
    for (name, lab, _) in all() {
        assert_eq!(lab.findings(), lab.findings(), "{name}");
    }
}

/// Findings of every fixture name something, say something and tell what to do.
#[test]
fn findings_are_complete() {
    for (name, lab, _) in all() {
        for f in lab.findings() {
            assert!(f.summary.ends_with('.'), "{name}: {}", f.summary);
            assert!(
                !f.summary.contains("  ") && !f.next.contains("  "),
                "{name}: {f:#?}"
            );
            assert!(
                !f.evidence.is_empty() && !f.next.is_empty(),
                "{name}: {f:#?}"
            );
            let s = &f.subject;
            assert!(
                !s.flows.is_empty() || s.dev.is_some() || s.address.is_some(),
                "{name}"
            );
        }
    }
}

#[test]
fn an_unknown_intent_only_warns_and_a_known_one_decides() {
    assert_eq!(
        contested().finding("tunnel-in-native-mode").severity,
        Severity::Warning
    );
    let native = with_mode(contested(), Mode::Native);
    assert_eq!(
        native.finding("tunnel-in-native-mode").severity,
        Severity::Error
    );
    assert!(with_mode(contested(), Mode::Tunnel).ids().is_empty());
}

#[test]
fn a_duplicate_default_that_misleads_nobody_is_a_warning() {
    assert_eq!(
        rivals().finding("duplicate-default").severity,
        Severity::Warning
    );
}

#[test]
fn datagrams_without_an_answer_are_never_an_error() {
    let path = "lxc-p1 > 10.244.2.0/24 via 10.0.0.2 dev eth0 > eth0";
    let udp = native().with(seen("udp 10.244.1.10:4000 10.244.2.20:7").sent(99, path));
    assert_eq!(udp.finding("left-unanswered").severity, Severity::Warning);
    let tcp = native().with(seen("tcp 10.244.1.10:4000 10.244.2.20:8").sent(4, path));
    assert_eq!(tcp.finding("left-unanswered").severity, Severity::Error);
}

/// A filter that shows one direction, or a full table, makes every flow look unanswered.
#[test]
fn silence_means_nothing_when_answers_may_be_hidden() {
    let path = "lxc-p1 > default via fe80::1 dev eth0 > eth0";
    let mut lab = ipv6_node("2001:db8:0:a0::1/64", true)
        .with(seen("tcp [2001:db8:44:1::10]:4000 [2001:db8:44:2::20]:8").sent(4, path));
    assert_eq!(lab.ids(), ["onlink-prefix-mismatch"]);
    let one_way = lab.context().with_answers_visible(false);
    assert!(crate::diagnose::run(&one_way).is_empty());
    lab.snapshot.loss.evicted = 1;
    assert!(lab.ids().is_empty());
}

/// Several flows with one cause are one finding, the one that lost most first.
#[test]
fn flows_of_one_cause_are_merged() {
    let mut lab = native();
    for (port, count) in [(1, 2), (2, 9), (3, 4)] {
        let flow = format!("udp 10.244.1.10:{port} 10.244.2.20:7");
        let drop = ended("NETFILTER_DROP@nft_do_chain", "lxc-p1", count);
        lab = lab.with(seen(&flow).sent(9, "lxc-p1").drop(drop));
    }
    let found = lab.findings();
    assert_eq!(found.len(), 1, "{found:#?}");
    let ports: Vec<u16> = found[0]
        .subject
        .flows
        .iter()
        .map(|f| f.tuple.sport)
        .collect();
    assert_eq!(ports, [2, 3, 1]);
    assert!(
        found[0].summary.contains("15 packets"),
        "{}",
        found[0].summary
    );
}

/// Errors come before warnings whatever the rank of their rules.
#[test]
fn the_worst_comes_first() {
    let drop = ended("UDP_CSUM@udp_queue_rcv_one_skb", "lxc-p1", 2);
    let path = "ens6 > 10.0.0.66 dev lxc-p1 > lxc-p1";
    let lab = rivals().with(
        seen("udp 10.9.0.9:5000 10.0.0.66:7")
            .sent(2, path)
            .drop(drop),
    );
    assert_eq!(lab.ids(), ["csum", "duplicate-default"]);
}
