use std::collections::BTreeMap;

use rstest::rstest;

use super::*;
use crate::{
    event::{Dir, Proto},
    model::{Direction, Outcome::*, Step},
    view::{
        Question,
        fixture::{self, ETH0, ETH1, LXC},
    },
};

fn verdict_of(expect: &Expectations, flows: Vec<Flow>) -> Verdict {
    verdict_with(expect, flows, &[], Loss::default(), &[])
}

fn verdict_with(
    expect: &Expectations,
    flows: Vec<Flow>,
    findings: &[Finding],
    loss: Loss,
    limits: &[Limit],
) -> Verdict {
    let inventory = fixture::inventory();
    let flows: Vec<Arc<Flow>> = flows.into_iter().map(Arc::new).collect();
    let evidence = Evidence {
        flows: &flows,
        findings,
        inventory: &inventory,
        loss,
        limits,
    };
    judge(expect, &evidence)
}

fn expect(option: &str) -> Expectations {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let mut e = Expectations::default();
    match name {
        "none" => {}
        "via" => e.forward.via = value.split(',').map(Into::into).collect(),
        "not-via" => e.forward.not_via = vec![value.into()],
        "tunnel" => e.forward.tunnel = Some(Some(value.to_owned()).filter(|v| !v.is_empty())),
        "no-tunnel" => e.forward.no_tunnel = true,
        "table" => e.forward.table = Some(value.into()),
        "max-drops" => e.max_drops = Some(value.parse().unwrap()),
        "min-packets" => e.min_packets = Some(value.parse().unwrap()),
        "reply-via" => e.reply.via = vec![value.into()],
        "reply-not-via" => e.reply.not_via = vec![value.into()],
        "reply-tunnel" => e.reply.tunnel = Some(None),
        "reply-no-tunnel" => e.reply.no_tunnel = true,
        "reply-table" => e.reply.table = Some(value.into()),
        "ignore" => e.ignore = vec![value.into()],
        "fail-on" => e.fail_on = vec![value.into()],
        other => panic!("{other}"),
    }
    e
}

fn answered(mut f: Flow) -> Flow {
    f.reply.packets = 3;
    f.reply.outcome = Some(Forwarded(LXC));
    f
}

/// Both ways out were taken.
fn flapping() -> Flow {
    let mut f = fixture::routed(Forwarded(ETH1));
    f.forward
        .path
        .push(Step::Hop(fixture::hop(ETH0, Dir::Out, 1, 100)));
    f
}

/// Requests in a tunnel, answers without one by ens6.
fn routed_back() -> Flow {
    let mut f = fixture::tunnelled(Forwarded(ETH0));
    f.reply = fixture::routed(Forwarded(ETH1)).forward;
    f
}

fn with_proto(mut f: Flow, proto: Proto, packets: u64) -> Flow {
    f.id.tuple.proto = proto;
    f.forward.packets = packets;
    f
}

#[rstest]
// default
#[case("none", answered(fixture::routed(Forwarded(ETH1))), Judgement::Pass)]
#[case("none", fixture::dropped(), Judgement::Fail)]
#[case("none", fixture::routed(Unanswered(ETH1)), Judgement::Fail)]
#[case(
    "none",
    with_proto(fixture::routed(Unanswered(ETH1)), Proto::UDP, 2),
    Judgement::Pass
)]
#[case(
    "none",
    with_proto(fixture::routed(Unanswered(ETH1)), Proto::TCP, 1),
    Judgement::Fail
)]
#[case(
    "none",
    with_proto(fixture::routed(Unanswered(ETH1)), Proto(47), 9),
    Judgement::Pass
)]
// path
#[case("via=ens6", fixture::routed(Forwarded(ETH1)), Judgement::Pass)]
#[case("via=eth0", fixture::routed(Forwarded(ETH1)), Judgement::Fail)]
#[case("via=eth0,ens6", fixture::routed(Forwarded(ETH1)), Judgement::Pass)]
#[case("via=ens6", flapping(), Judgement::Fail)]
#[case("via=eth0,ens6", flapping(), Judgement::Pass)]
#[case("via=vx0", fixture::tunnelled(Forwarded(ETH0)), Judgement::Pass)]
#[case("via=eth0", fixture::tunnelled(Forwarded(ETH0)), Judgement::Pass)]
#[case("via=ens6", fixture::dropped(), Judgement::Fail)]
#[case("via=nodev", fixture::routed(Forwarded(ETH1)), Judgement::Fail)]
#[case("not-via=ens6", fixture::routed(Forwarded(ETH1)), Judgement::Fail)]
#[case("not-via=eth0", fixture::routed(Forwarded(ETH1)), Judgement::Pass)]
#[case("not-via=eth0", fixture::dropped(), Judgement::Inconclusive)]
#[case("tunnel", fixture::tunnelled(Forwarded(ETH0)), Judgement::Pass)]
#[case("tunnel=vx0", fixture::tunnelled(Forwarded(ETH0)), Judgement::Pass)]
#[case("tunnel=vxlan", fixture::tunnelled(Forwarded(ETH0)), Judgement::Pass)]
#[case("tunnel=geneve", fixture::tunnelled(Forwarded(ETH0)), Judgement::Fail)]
#[case("tunnel", fixture::routed(Forwarded(ETH1)), Judgement::Fail)]
#[case("tunnel", fixture::dropped(), Judgement::Fail)]
#[case("no-tunnel", fixture::routed(Forwarded(ETH1)), Judgement::Pass)]
#[case("no-tunnel", fixture::tunnelled(Forwarded(ETH0)), Judgement::Fail)]
#[case("table=6", fixture::routed(Forwarded(ETH1)), Judgement::Pass)]
#[case("table=main", fixture::routed(Forwarded(ETH1)), Judgement::Fail)]
#[case("table=main", fixture::tunnelled(Forwarded(ETH0)), Judgement::Pass)]
#[case("table=254", fixture::tunnelled(Forwarded(ETH0)), Judgement::Pass)]
// explicit expectations replace the default
#[case("via=ens6", fixture::routed(Unanswered(ETH1)), Judgement::Pass)]
#[case("max-drops=3", fixture::dropped(), Judgement::Pass)]
#[case("max-drops=2", fixture::dropped(), Judgement::Fail)]
// the answers
#[case("reply-via=eth0", routed_back(), Judgement::Fail)]
#[case("reply-via=ens6", routed_back(), Judgement::Pass)]
#[case("reply-not-via=ens6", routed_back(), Judgement::Fail)]
#[case("reply-not-via=eth0", routed_back(), Judgement::Pass)]
#[case("reply-tunnel", routed_back(), Judgement::Fail)]
#[case("reply-no-tunnel", routed_back(), Judgement::Pass)]
#[case("reply-table=6", routed_back(), Judgement::Pass)]
#[case("reply-table=main", routed_back(), Judgement::Fail)]
#[case(
    "reply-via=ens6",
    fixture::routed(Forwarded(ETH1)),
    Judgement::Inconclusive
)]
// nobody knows where it is
#[case(
    "none",
    fixture::routed(Unknown("not seen".into())),
    Judgement::Inconclusive
)]
#[case(
    "none",
    answered(fixture::routed(Unknown("not seen".into()))),
    Judgement::Pass
)]
#[case(
    "none",
    fixture::routed(Unknown(crate::model::SENT_TO_MANY.into())),
    Judgement::Pass
)]
// amount
#[case(
    "min-packets=3",
    answered(fixture::routed(Forwarded(ETH1))),
    Judgement::Pass
)]
#[case(
    "min-packets=4",
    answered(fixture::routed(Forwarded(ETH1))),
    Judgement::Inconclusive
)]
#[case("min-packets=4", fixture::dropped(), Judgement::Fail)]
fn one_flow(#[case] option: &str, #[case] flow: Flow, #[case] outcome: Judgement) {
    let v = verdict_of(&expect(option), vec![flow]);
    assert_eq!(v.outcome, outcome, "{:?}", v.reasons);
    assert!(!v.reasons.is_empty());
}

#[rstest]
#[case("none")]
#[case("via=ens6")]
#[case("no-tunnel")]
fn nothing_seen_is_inconclusive(#[case] option: &str) {
    let v = verdict_of(&expect(option), vec![]);
    assert_eq!((v.outcome, v.exit_code()), (Judgement::Inconclusive, 4));
    assert_eq!(v.reasons, ["No matching traffic was seen."]);
}

#[test]
fn a_route_decision_without_a_table_leaves_it_open() {
    let mut f = fixture::routed(Forwarded(ETH1));
    if let Step::Route(d) = &mut f.forward.path[1] {
        Arc::make_mut(d).decision.table = None;
    }
    assert_eq!(
        verdict_of(&expect("table=6"), vec![f]).outcome,
        Judgement::Inconclusive
    );
}

#[test]
fn loss_forbids_a_pass_but_not_a_failure() {
    let loss = Loss {
        evicted: 1,
        ..Loss::default()
    };
    let good = answered(fixture::routed(Forwarded(ETH1)));
    let v = verdict_with(&expect("none"), vec![good.clone()], &[], loss, &[]);
    assert_eq!(v.outcome, Judgement::Inconclusive);
    let v = verdict_with(
        &expect("none"),
        vec![good, fixture::dropped()],
        &[],
        loss,
        &[],
    );
    assert_eq!((v.outcome, v.exit_code()), (Judgement::Fail, 3));
    insta::assert_snapshot!(v.reasons.join("\n"), @r"
    udp 10.244.1.10:40000 > 10.244.2.20:7 lost 3 packets: IP_OUTNOROUTES at ip6_forward.
    The view is incomplete: 1 flows or drops found their table full.
    ");
}

/// The kernel tells of a sender without a route by its lookup alone.
#[test]
fn a_lookup_that_was_not_seen_matters_where_there_may_be_no_packet() {
    let loss = Loss {
        lookups: 2,
        ..Loss::default()
    };
    let judged = |flows: Vec<Flow>| {
        let v = verdict_with(&expect("none"), flows, &[], loss, &[]);
        (v.outcome, v.reasons.join(" "))
    };
    let passed = answered(fixture::routed(Forwarded(ETH1)));
    assert!(passed.id.scope.dev.is_some());
    let mut sent = passed.clone();
    sent.id.scope.dev = None;
    assert_eq!(judged(vec![passed]).0, Judgement::Pass);
    for flows in [vec![sent], vec![]] {
        let (outcome, reasons) = judged(flows);
        assert_eq!(outcome, Judgement::Inconclusive);
        assert!(
            reasons.contains("2 route lookups were not seen"),
            "{reasons}"
        );
    }
}

#[rstest]
#[case("none", Question::Drops, Judgement::Inconclusive)]
#[case("max-drops=0", Question::Drops, Judgement::Inconclusive)]
#[case("via=ens6", Question::Drops, Judgement::Pass)]
#[case("via=ens6", Question::Path, Judgement::Inconclusive)]
#[case("table=6", Question::Routes, Judgement::Inconclusive)]
#[case("no-tunnel", Question::Routes, Judgement::Pass)]
fn what_the_kernel_hides_matters_when_it_was_asked_for(
    #[case] option: &str,
    #[case] hides: Question,
    #[case] outcome: Judgement,
) {
    let limits = [Limit {
        text: "This kernel does not show it.".into(),
        hides,
    }];
    let flows = vec![answered(fixture::routed(Forwarded(ETH1)))];
    let v = verdict_with(&expect(option), flows, &[], Loss::default(), &limits);
    assert_eq!(v.outcome, outcome, "{:?}", v.reasons);
}

#[rstest]
#[case("none", Severity::Error, true, Judgement::Fail)]
#[case("none", Severity::Error, false, Judgement::Pass)]
#[case("none", Severity::Warning, true, Judgement::Pass)]
#[case("via=ens6", Severity::Error, true, Judgement::Pass)]
#[case("fail-on=no-route", Severity::Info, true, Judgement::Fail)]
#[case("fail-on=encap-mtu", Severity::Info, true, Judgement::Pass)]
#[case("fail-on=no-route", Severity::Info, false, Judgement::Pass)]
#[case("ignore=no-route", Severity::Error, true, Judgement::Pass)]
#[case("ignore=encap-mtu", Severity::Error, true, Judgement::Fail)]
fn findings_fail_when_they_concern_the_flows(
    #[case] option: &str,
    #[case] severity: Severity,
    #[case] ours: bool,
    #[case] outcome: Judgement,
) {
    let flow = answered(fixture::routed(Forwarded(ETH1)));
    let mut about = flow.clone();
    if ours {
        // the caller may have turned the flow round
        about.id.tuple = about.id.tuple.reversed();
    } else {
        about.id.tuple.dport = 9;
    }
    let finding = Finding {
        severity,
        ..fixture::finding(&about)
    };
    let v = verdict_with(
        &expect(option),
        vec![flow],
        &[finding],
        Loss::default(),
        &[],
    );
    assert_eq!(v.outcome, outcome, "{:?}", v.reasons);
}

#[test]
fn what_an_ignored_finding_explains_does_not_fail() {
    let lost = fixture::dropped();
    let finding = fixture::finding(&lost);
    let ignoring = |flows| {
        verdict_with(
            &expect("ignore=no-route"),
            flows,
            std::slice::from_ref(&finding),
            Loss::default(),
            &[],
        )
    };
    let v = ignoring(vec![lost.clone()]);
    assert_eq!(v.outcome, Judgement::Pass, "{:?}", v.reasons);
    assert!(v.reasons[0].contains("no-route ignored"), "{:?}", v.reasons);
    // the loss of another flow is not what was ignored
    let mut other = lost.clone();
    other.id.tuple.sport += 1;
    assert_eq!(ignoring(vec![lost, other]).outcome, Judgement::Fail);
}

fn probe() -> ProbeReport {
    ProbeReport {
        proto: "udp",
        to: "10.244.2.20".parse().unwrap(),
        port: Some(7),
        netns: None,
        asked: 3,
        sent: 3,
        answered: 3,
        size: None,
        refused: BTreeMap::new(),
        errors: BTreeMap::new(),
        failed: None,
    }
}

#[rstest]
#[case::complete(probe(), Judgement::Pass)]
#[case::cut_short(ProbeReport { sent: 2, ..probe() }, Judgement::Inconclusive)]
#[case::not_sent(ProbeReport { sent: 0, failed: Some("no socket".into()), ..probe() }, Judgement::Inconclusive)]
#[case::refused(ProbeReport { sent: 0, refused: [("EMSGSIZE".to_owned(), 3)].into(), ..probe() }, Judgement::Fail)]
fn a_probe_that_was_not_sent_forbids_a_pass(
    #[case] probe: ProbeReport,
    #[case] outcome: Judgement,
) {
    let inventory = fixture::inventory();
    let flows = [Arc::new(answered(fixture::routed(Forwarded(ETH1))))];
    let evidence = Evidence {
        flows: &flows,
        findings: &[],
        inventory: &inventory,
        loss: Loss::default(),
        limits: &[],
    };
    let run = Run {
        probe: Some(probe),
        ..Run::default()
    };
    let v = judge_run(&Expectations::default(), &evidence, run);
    assert_eq!(v.outcome, outcome, "{:?}", v.reasons);
}

#[test]
fn a_finding_that_must_not_appear_needs_a_complete_view() {
    let limits = [Limit {
        text: "This kernel does not show it.".into(),
        hides: Question::Drops,
    }];
    let mut e = expect("via=ens6");
    e.fail_on = vec!["no-route".into()];
    let flows = vec![answered(fixture::routed(Forwarded(ETH1)))];
    let v = verdict_with(&e, flows, &[], Loss::default(), &limits);
    assert_eq!(v.outcome, Judgement::Inconclusive, "{:?}", v.reasons);
}

#[test]
fn a_failed_lookup_is_traffic() {
    let mut f = fixture::flow(fixture::udp(), Direction::default());
    f.route_failures = vec![crate::event::RouteFailure {
        asked: crate::event::Asked::default(),
        by_rule: false,
        tuple: fixture::udp(),
        netns: fixture::HOME,
        table: 253,
        errno: 101,
        count: 2,
        first: fixture::at(1),
        last: fixture::at(2),
        pid: 7,
        comm: "curl".into(),
    }]
    .into();
    let v = verdict_of(&expect("none"), vec![f.clone()]);
    assert_eq!(v.outcome, Judgement::Fail);
    assert!(
        v.reasons[0].contains("no route: ENETUNREACH"),
        "{:?}",
        v.reasons
    );
    assert_eq!(
        verdict_of(&expect("via=ens6"), vec![f]).outcome,
        Judgement::Fail
    );
}

#[test]
fn many_flows_are_counted_not_listed() {
    let flows = (0..10u16).map(|n| {
        let mut f = fixture::routed(Forwarded(ETH1));
        f.id.tuple.sport = n + 1;
        f
    });
    let v = verdict_of(&expect("via=eth0"), flows.collect());
    insta::assert_snapshot!(v.reasons.join("\n"), @r"
    udp 10.244.1.10:1 > 10.244.2.20:7 left by ens6, not by eth0.
    udp 10.244.1.10:2 > 10.244.2.20:7 left by ens6, not by eth0.
    udp 10.244.1.10:3 > 10.244.2.20:7 left by ens6, not by eth0 (and 7 more flows).
    ");
}

#[test]
fn path_mtu_discovery_that_works_is_no_loss() {
    let with_drop = |outcome: Outcome, reason: &str| {
        let mut f = answered(fixture::routed(outcome));
        f.forward
            .drops
            .push(fixture::drop_at(reason, "ip_forward", LXC, 2));
        verdict_of(&expect("none"), vec![f]).outcome
    };
    let judged = [
        with_drop(Forwarded(ETH1), "PKT_TOO_BIG"),
        with_drop(Forwarded(ETH1), "NETFILTER_DROP"),
        with_drop(Dropped("PKT_TOO_BIG".into()), "PKT_TOO_BIG"),
    ];
    assert_eq!(judged, [Judgement::Pass, Judgement::Fail, Judgement::Fail]);
}
