use serde_json::{Value, json};

use super::*;
use crate::{
    model::Loss,
    view::{
        check::{Ended, Judgement, Run, Verdict},
        fixture,
    },
};

/// Everything that `expected` says, `actual` says too; it may say more (fields may be added).
fn includes(actual: &Value, expected: &Value, at: &str) {
    match (actual, expected) {
        (Value::Object(a), Value::Object(e)) => {
            for (key, value) in e {
                let Some(found) = a.get(key) else {
                    panic!("{at}.{key} is missing")
                };
                includes(found, value, &format!("{at}.{key}"));
            }
        }
        (Value::Array(a), Value::Array(e)) => {
            assert_eq!(a.len(), e.len(), "{at}: {actual}");
            for (i, (a, e)) in a.iter().zip(e).enumerate() {
                includes(a, e, &format!("{at}[{i}]"));
            }
        }
        (a, e) => assert_eq!(a, e, "{at}"),
    }
}

fn example() -> Value {
    let inventory = fixture::inventory();
    let clock = fixture::clock();
    let mut flow = fixture::tunnelled(Outcome::Forwarded(fixture::ETH0));
    flow.forward.drops = vec![fixture::drop_at(
        "IP_OUTNOROUTES",
        "ip6_forward",
        fixture::LXC,
        3,
    )]
    .into();
    let findings = [fixture::finding(&flow)];
    let snapshot = fixture::snapshot(vec![flow]);
    let verdict = Verdict {
        outcome: Judgement::Fail,
        reasons: vec!["3 packets were dropped.".into()],
        run: Run {
            ended: Some(Ended::Time),
            ..Run::default()
        },
    };
    let session = Session {
        snapshot: &snapshot,
        findings: &findings,
        limits: &[],
        filter: "dst net fd00::/64",
        intent: diagnose::Intent::UNKNOWN,
        verdict: Some(&verdict),
    };
    let mut out = Vec::new();
    write_report(&mut out, &fixture::cx(&inventory, &clock), &session).unwrap();
    assert_eq!(std::str::from_utf8(&out).unwrap().lines().count(), 1);
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn the_documented_example() {
    let docs = include_str!("../../../../docs/json.md");
    let expected = docs
        .split("```json\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let expected: Value = serde_json::from_str(expected).unwrap();
    includes(&example(), &expected, "$");
}

#[test]
fn the_whole_object() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&example()).unwrap());
}

#[test]
fn without_a_verdict_it_is_a_reading() {
    let (inventory, clock) = (fixture::inventory(), fixture::clock());
    let mut snapshot = fixture::snapshot(vec![fixture::routed(Outcome::Unanswered(fixture::ETH1))]);
    snapshot.loss = Loss {
        events: 1,
        evicted: 2,
        undecoded: 3,
        untracked: 4,
        lookups: 5,
    };
    let session = Session {
        snapshot: &snapshot,
        findings: &[],
        limits: &[],
        filter: "",
        intent: diagnose::Intent::UNKNOWN,
        verdict: None,
    };
    let v = serde_json::to_value(report(&fixture::cx(&inventory, &clock), &session)).unwrap();
    includes(
        &v,
        &json!({"schema":"tracer.read/1","filter":null,
            "loss":{"events":1,"evicted":2,"undecoded":3,"untracked":4,"lookups":5},
            "flows":[{"outcome":"unanswered","left_by":"ens6","first":"2026-11-22T05:00:00.001Z"}]}),
        "$",
    );
    assert!(v.get("verdict").is_none() && v.get("exit_code").is_none());
}

#[test]
fn an_echo_has_an_identifier_and_no_port() {
    let (inventory, clock) = (fixture::inventory(), fixture::clock());
    let echo = fixture::tuple(event::Proto::ICMPV6, "fd00::1", 7, "fd00::2", 128 << 8);
    let f = fixture::flow(echo, Direction::default());
    let v = serde_json::to_value(flow(&fixture::cx(&inventory, &clock), &f)).unwrap();
    includes(
        &v,
        &json!({"proto":"icmp6","sport":7,"dport":null,"icmp_type":128,"icmp_code":0,
            "first":null,"outcome":"unknown","path":[]}),
        "$",
    );
}
