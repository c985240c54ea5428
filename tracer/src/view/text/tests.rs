use std::sync::Arc;

use rstest::rstest;

use super::*;
use crate::{
    diagnose::Severity,
    event::{
        Dir, HopKey, How, IcmpSample, Ifindex, NeighFailure, PacketSample, Proto, RouteDecision,
        RouteFailure, RouteKind, Tuple,
    },
    inventory::Inventory,
    model::{Direction, Flow, Loss, Outcome, Outcome::*, Step},
    view::{
        Limit, Question,
        changes::Change,
        check::{Judgement, Run, Verdict},
        fixture::{self, ETH0, ETH1, HOME, LXC, POD, VX0, at, ip},
        json::Session,
    },
};

const PLAIN: Style = Style {
    color: false,
    ascii: false,
    width: None,
};
const NARROW: Style = Style {
    color: false,
    ascii: false,
    width: Some(40),
};
const COLOR: Style = Style {
    color: true,
    ascii: false,
    width: None,
};
const ASCII: Style = Style {
    color: false,
    ascii: true,
    width: None,
};

fn with<R>(style: Style, inventory: &Inventory, f: impl Fn(&Text<'_>) -> R) -> R {
    let clock = fixture::clock();
    f(&Text {
        cx: fixture::cx(inventory, &clock),
        style,
    })
}

fn show(style: Style, f: &Flow) -> String {
    with(style, &fixture::inventory(), |t| flow(t, f))
}

#[test]
fn a_routed_flow() {
    insta::assert_snapshot!(show(PLAIN, &fixture::routed(Unanswered(ETH1))));
}

#[test]
fn a_tunnelled_flow_with_answers() {
    let mut f = fixture::tunnelled(Forwarded(ETH0));
    let outer = fixture::encap("192.0.2.2", "192.0.2.1");
    f.reply = fixture::direction(
        vec![
            Step::Hop(crate::model::Hop {
                encap: Some(outer.into()),
                ..fixture::hop(ETH0, Dir::In, 3, 450)
            }),
            Step::Hop(fixture::hop(VX0, Dir::In, 3, 300)),
            Step::Hop(fixture::hop(LXC, Dir::Out, 3, 300)),
        ],
        Forwarded(LXC),
        3,
        300,
    );
    insta::assert_snapshot!(show(PLAIN, &f));
}

#[test]
fn an_underlay_decision_stands_between_tunnel_and_uplink() {
    let mut f = fixture::tunnelled(Forwarded(ETH0));
    let mut d = fixture::decision(Some(254), Some(ETH0));
    d.decision.how = How::Cached;
    d.decision.gateway = Some(ip("192.0.2.254"));
    d.matched = Some("default".into());
    d.changes = 2;
    f.forward.path.insert(3, Step::Route(Arc::new(d)));
    insta::assert_snapshot!(show(PLAIN, &f));
}

#[test]
fn a_dropped_flow() {
    insta::assert_snapshot!(show(PLAIN, &fixture::dropped()));
}

fn v6_trouble() -> Flow {
    let tuple = fixture::tuple(Proto::TCP, "fd00:10:244::a", 40000, "fd00:10:244:1::b", 443);
    let mut d = fixture::decision(Some(254), None);
    d.ipv6 = true;
    d.decision.kind = RouteKind::Unreachable;
    d.decision.errno = 113;
    let path = vec![
        Step::Hop(fixture::hop(LXC, Dir::In, 1, 94)),
        Step::Route(Arc::new(d)),
    ];
    let mut f = fixture::flow(tuple, fixture::direction(path, Dropped("X".into()), 1, 94));
    let mut drop = fixture::drop_at("X", "?", LXC, 1);
    drop.place.in_dev = Some(ETH0);
    f.forward.drops = vec![drop].into();
    f.forward.retransmits = 2;
    f.forward.resets = 1;
    f.forward.icmp = vec![icmp(tuple)].into();
    f
}

fn icmp(about: Tuple) -> IcmpSample {
    IcmpSample {
        about,
        from: ip("fd00::1"),
        netns: HOME,
        dev: ETH0,
        dir: Dir::In,
        icmp_type: 2,
        code: 0,
        mtu: Some(1450),
        local: false,
        count: 3,
        first: at(5),
        last: at(6),
    }
}

#[test]
fn an_ipv6_flow_with_every_trouble() {
    insta::assert_snapshot!(show(PLAIN, &v6_trouble()));
}

#[test]
fn narrow() {
    let text = show(NARROW, &fixture::tunnelled(Unanswered(ETH0)));
    insta::assert_snapshot!(text);
    let words = text.lines().skip(1);
    assert!(words.clone().count() > 2);
}

#[test]
fn ascii_is_ascii() {
    let text = show(ASCII, &fixture::tunnelled(Dropped("X".into())));
    assert!(text.is_ascii());
    insta::assert_snapshot!(text);
}

#[test]
fn colour_says_nothing_more() {
    let strip = |s: &str| {
        let mut out = String::new();
        let mut rest = s;
        while let Some((head, tail)) = rest.split_once("\x1b[") {
            out.push_str(head);
            rest = tail.split_once('m').unwrap().1;
        }
        out + rest
    };
    for f in [
        v6_trouble(),
        fixture::tunnelled(Forwarded(ETH0)),
        fixture::dropped(),
    ] {
        let colored = show(COLOR, &f);
        assert!(colored.contains('\x1b'));
        assert_eq!(strip(&colored), show(PLAIN, &f));
    }
}

#[test]
fn numeric_names_tables_by_number() {
    let inventory = fixture::inventory();
    let clock = fixture::clock();
    let mut cx = fixture::cx(&inventory, &clock);
    cx.numeric = true;
    let text = flow(
        &Text { cx, style: PLAIN },
        &fixture::tunnelled(Forwarded(ETH0)),
    );
    assert!(text.contains("[table 254: dev vx0, lookup]"), "{text}");
}

#[test]
fn a_failed_lookup_in_a_pod() {
    let mut f = fixture::flow(fixture::udp(), Direction::default());
    f.route_failures = vec![failure("cu\u{1b}rl")].into();
    insta::assert_snapshot!(show(PLAIN, &f));
}

fn failure(comm: &str) -> RouteFailure {
    RouteFailure {
        asked: crate::event::Asked::default(),
        by_rule: false,
        tuple: fixture::udp(),
        netns: POD,
        table: 253,
        errno: 101,
        count: 4,
        first: at(1),
        last: at(900),
        pid: 4242,
        comm: comm.into(),
    }
}

#[test]
fn hostile_names_do_nothing() {
    let mut inventory = fixture::inventory();
    let home = inventory.netns.get_mut(&HOME).unwrap();
    home.links.get_mut(&LXC).unwrap().name = "\x1b]0;pwned\x07\u{202e}".into();
    let pod = inventory.netns.get_mut(&POD).unwrap();
    pod.name = Some("p\n\x1b[2J".into());
    let mut f = fixture::dropped();
    f.forward.path.push(Step::Hop(crate::model::Hop {
        netns: POD,
        ..fixture::hop(ETH0, Dir::In, 1, 1)
    }));
    f.forward.drops[0].place.symbol = "s\x1b".into();
    f.forward.drops[0].place.reason = "R\u{9b}".into();
    f.route_failures = vec![failure("\x1b[31m")].into();
    let mut finding = fixture::finding(&f);
    finding.summary = "dev \x1b[2J".into();
    finding.evidence = vec!["a\r\u{2066}b".into()];
    finding.next = "ip link show '\x07'".into();
    let text = with(PLAIN, &inventory, |t| {
        flow(t, &f) + &super::finding(t, &finding)
    });
    let bad = text.chars().filter(|c| *c != '\n');
    assert!(
        !bad.clone()
            .any(|c| c.is_control() || "\u{202e}\u{2066}".contains(c)),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

#[rstest]
#[case(Delivered, 0, "delivered")]
#[case(Forwarded(ETH0), 0, "left by eth0")]
#[case(Forwarded(ETH0), 2, "answered")]
#[case(Unanswered(ETH0), 0, "UNANSWERED")]
#[case(Dropped("X".into()), 2, "DROPPED")]
#[case(Unknown("no egress".into()), 0, "unknown: no egress")]
fn states(#[case] outcome: Outcome, #[case] answers: u64, #[case] word: &str) {
    let mut f = fixture::routed(outcome);
    f.reply.packets = answers;
    let text = show(PLAIN, &f);
    assert!(
        text.lines().next().unwrap().ends_with(&format!("  {word}")),
        "{text}"
    );
}

#[test]
fn pods_by_name() {
    let inventory = fixture::named_inventory();
    let (f, lost) = (fixture::tunnelled(Forwarded(ETH0)), fixture::dropped());
    let all = |t: &Text<'_>| flow(t, &f) + &flow(t, &lost) + &finding(t, &fixture::finding(&lost));
    insta::assert_snapshot!(with(PLAIN, &inventory, all));
    let clock = fixture::clock();
    let numeric = Text {
        cx: ViewContext {
            numeric: true,
            ..fixture::cx(&inventory, &clock)
        },
        style: PLAIN,
    };
    let nobody = with(PLAIN, &fixture::inventory(), all);
    assert_eq!(all(&numeric), nobody.replace("[main: ", "[table 254: "));
}

#[test]
fn findings() {
    let mut f = fixture::finding(&fixture::dropped());
    let inventory = fixture::inventory();
    let mut text = with(PLAIN, &inventory, |t| finding(t, &f));
    f.severity = Severity::Warning;
    text += &with(COLOR, &inventory, |t| finding(t, &f));
    insta::assert_snapshot!(text.replace('\x1b', "ESC"));
}

fn session_text(outcome: Judgement, flows: usize, all: bool) -> String {
    let flows: Vec<Flow> = (0..flows)
        .map(|n| {
            let mut f = fixture::dropped();
            f.id.tuple.sport = 1 + n as u16;
            f
        })
        .collect();
    let findings: Vec<_> = flows.first().map(fixture::finding).into_iter().collect();
    let mut snapshot = fixture::snapshot(flows);
    if outcome == Judgement::Inconclusive {
        snapshot.loss = Loss {
            events: 7,
            untracked: 1,
            ..Loss::default()
        };
        snapshot.stray_drops = vec![fixture::drop_at("CSUM", "tcp_v4_rcv", ETH0, 2)];
    }
    let verdict = Verdict {
        outcome,
        reasons: vec!["First.".into(), "Second.".into()],
        run: Run::default(),
    };
    let limits = [Limit {
        text: "No drop reasons on 5.10.".into(),
        hides: Question::Drops,
    }];
    let session = Session {
        snapshot: &snapshot,
        findings: &findings,
        limits: &limits[..usize::from(outcome == Judgement::Inconclusive)],
        filter: "",
        intent: crate::diagnose::Intent::UNKNOWN,
        verdict: Some(&verdict),
    };
    with(PLAIN, &fixture::inventory(), |t| report(t, &session, all))
}

#[test]
fn verdicts() {
    insta::assert_snapshot!(session_text(Judgement::Fail, 1, false));
    insta::assert_snapshot!(session_text(Judgement::Inconclusive, 0, false));
}

#[test]
fn many_flows_are_cut_unless_asked_for() {
    let cut = session_text(Judgement::Fail, 12, false);
    assert!(cut.contains("\nand 2 more flows (-v shows all)\n"), "{cut}");
    assert_eq!(cut.matches("DROPPED").count(), 10);
    assert_eq!(
        session_text(Judgement::Fail, 12, true)
            .matches("DROPPED")
            .count(),
        12
    );
}

fn lines(changes: &[Change], verbose: bool) -> String {
    with(PLAIN, &fixture::inventory(), |t| {
        changes
            .iter()
            .filter_map(|c| change(t, c, at(9_000), verbose))
            .collect()
    })
}

#[test]
fn watch_lines() {
    let flow = Arc::new(fixture::tunnelled(Unanswered(ETH0)));
    let dropped = Arc::new(fixture::dropped());
    let drop = dropped.forward.drops[0].clone();
    let neigh = NeighFailure {
        address: ip("192.0.2.9"),
        netns: HOME,
        dev: ETH0,
        queued: 1,
    };
    let all = [
        Change::New(flow.clone()),
        Change::Route(flow.clone()),
        Change::Unanswered(flow.clone()),
        Change::Dropping(dropped.clone()),
        Change::Drop(Some(dropped.clone()), drop.clone().into(), 3),
        Change::Drop(None, drop.into(), 1),
        Change::Icmp(flow.clone(), icmp(flow.id.tuple).into(), 2),
        Change::RouteFailure(flow.clone(), failure("curl").into(), 1),
        Change::Neigh(neigh, 2),
        Change::Finding(fixture::finding(&dropped).into()),
        Change::Loss(Loss {
            events: 1,
            ..Loss::default()
        }),
        Change::End(flow),
    ];
    insta::assert_snapshot!(lines(&all, false));
    let end = lines(&all[11..], true);
    insta::assert_snapshot!(end);
}

#[rstest]
#[case(
    fixture::udp(),
    0,
    None,
    1,
    "05:00:00.000001 lxc-p1   In  IP 10.244.1.10.40000 > 10.244.2.20.7: udp, length 142"
)]
#[case(Tuple { proto: Proto::TCP, ..fixture::udp() }, 18, None, 1, "05:00:00.000001 lxc-p1   In  IP 10.244.1.10.40000 > 10.244.2.20.7: Flags [S.], length 142")]
#[case(Tuple { proto: Proto::TCP, ..fixture::udp() }, 0, Some(42), 3, "05:00:00.000001 lxc-p1   In  vxlan 42 IP 10.244.1.10.40000 > 10.244.2.20.7: Flags [none], length 142, 3 segments")]
#[case(
    fixture::tuple(Proto::UDP, "fd00::1", 1, "fd00::2", 53),
    0,
    None,
    1,
    "05:00:00.000001 lxc-p1   In  IP6 fd00::1.1 > fd00::2.53: udp, length 142"
)]
#[case(fixture::tuple(Proto::ICMPV6, "fd00::1", 9, "fd00::2", 128 << 8), 0, None, 1, "05:00:00.000001 lxc-p1   In  IP6 fd00::1 > fd00::2: icmp6 echo request, id 9, length 142")]
#[case(Tuple { later_fragment: true, ..fixture::udp() }, 0, None, 1, "05:00:00.000001 lxc-p1   In  IP 10.244.1.10 > 10.244.2.20: udp fragment, id 77, length 142")]
fn packets(
    #[case] tuple: Tuple,
    #[case] tcp_flags: u8,
    #[case] vni: Option<u32>,
    #[case] segs: u32,
    #[case] line: &str,
) {
    let encap = vni.map(|_| fixture::encap("192.0.2.1", "192.0.2.2").key);
    let key = HopKey {
        tuple,
        encap,
        netns: HOME,
        dev: LXC,
        dir: Dir::In,
        in_dev: None,
        tunnel_key: None,
    };
    let p = PacketSample {
        key,
        len: 142,
        segs,
        tcp_flags,
        ip_id: 77,
    };
    let time = crate::event::KtimeNs(fixture::START.0 + 1_000);
    assert_eq!(
        with(PLAIN, &fixture::inventory(), |t| packet(t, time, &p)),
        format!("{line}\n")
    );
}

#[test]
fn an_unknown_device_has_a_number() {
    let mut f = fixture::routed(Forwarded(Ifindex(99)));
    f.forward.path = vec![Step::Hop(fixture::hop(Ifindex(99), Dir::Out, 1, 1))];
    assert!(show(PLAIN, &f).contains("left by if99\n  if99\n"));
}

#[test]
fn doctor_says_what_to_do() {
    let list = [
        Feature {
            what: "BTF of the kernel".into(),
            ok: true,
            remedy: "never shown".into(),
        },
        Feature {
            what: "CAP_BPF".into(),
            ok: false,
            remedy: "run as root".into(),
        },
    ];
    insta::assert_snapshot!(features(PLAIN, &list));
}

#[test]
fn last_line_of_watch() {
    let loss = Loss {
        evicted: 2,
        ..Loss::default()
    };
    let s = Summary {
        packets: 1,
        flows: 2,
        drops: 3,
        loss: Loss::default(),
    };
    insta::assert_snapshot!(summary(&s) + &summary(&Summary { loss, ..s }));
}

#[rstest]
#[case(&[], "[redirected, not by a tc program that is known, inferred]")]
#[case(&["from_pod"], "[redirected by tc program from_pod, inferred]")]
#[case(&["from_pod", "evil\u{1b}"], "[redirected by tc program from_pod or evil\\u{1b}, inferred]")]
fn who_may_have_redirected(#[case] by: &[&str], #[case] expected: &str) {
    let mut f = fixture::routed(Forwarded(ETH1));
    let Step::Route(d) = &mut f.forward.path[1] else {
        panic!("no decision")
    };
    let d = Arc::make_mut(d);
    d.rule = None;
    d.decision = RouteDecision::unknown(How::Inferred);
    d.redirected_by = Some(by.iter().map(|name| Arc::from(*name)).collect());
    let text = show(PLAIN, &f);
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_redirect_along_a_route_shows_the_route() {
    let mut f = fixture::routed(Forwarded(ETH1));
    let Step::Route(d) = &mut f.forward.path[1] else {
        panic!("no decision")
    };
    let d = Arc::make_mut(d);
    d.redirected_by = Some(vec!["from_pod".into()]);
    let text = show(PLAIN, &f);
    let expected = "[redirected by tc program from_pod: rule 1536 table 6: via 10.0.0.1, lookup]";
    assert!(text.contains(expected), "{text}");
}
