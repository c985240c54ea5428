use std::sync::Arc;

use clap::Parser as _;
use rstest::rstest;

use super::*;
use crate::{
    cli::{
        args::{Args, Command},
        output::tests::page,
    },
    filter::Filter,
    model::{Flow, Loss, Outcome},
    pipeline::Ready,
    view::fixture::{self, ETH0, ETH1},
};

fn checked(line: &str, flows: Vec<Flow>, loss: Loss) -> (u8, String) {
    ended(line, flows, loss, pipeline::Ended::Time)
}

fn ended(line: &str, flows: Vec<Flow>, loss: Loss, ended: pipeline::Ended) -> (u8, String) {
    let args = Args::try_parse_from(line.split_whitespace()).unwrap();
    let Some(Command::Check(command)) = &args.command else {
        panic!("{line}")
    };
    let inventory = Arc::new(fixture::inventory());
    let findings = flows.iter().take(1).map(fixture::finding).collect();
    let mut snapshot = fixture::snapshot(flows);
    snapshot.loss = loss;
    let end = SessionEnd {
        ready: Ready {
            inventory: inventory.clone(),
            wall_offset_ns: fixture::clock().offset_ns.cast_unsigned(),
            started: fixture::START,
            limits: vec![],
            devices: 4,
            intent: crate::diagnose::Intent::default(),
        },
        inventory,
        snapshot: Arc::new(snapshot),
        findings,
        ended,
    };
    let plan = Plan::new(&args.options, command).unwrap();
    let (mut out, page) = page(args.options.output);
    let sent = [Some(Sent {
        packets: 3,
        answers: 2,
        ..Sent::default()
    })];
    let code = conclude(&args.options, &plan, &end, &sent, &mut out).unwrap();
    (code, page.text())
}

fn flows() -> Vec<Flow> {
    let mut f = fixture::routed(Outcome::Forwarded(ETH1));
    f.id.tuple.dport = 443;
    vec![fixture::dropped(), f]
}

#[rstest]
#[case("tracer check", 3, "FAIL: ")]
#[case("tracer check port 443", 0, "PASS: 3 packets in 1 flow")]
#[case("tracer check port 443 --via eth0", 3, "FAIL: ")]
#[case("tracer check port 9", 4, "INCONCLUSIVE: No matching traffic")]
#[case(
    "tracer check src host 10.244.2.20 and port 443 --via ens6",
    4,
    "INCONCLUSIVE: "
)]
fn verdict_and_exit_code(#[case] line: &str, #[case] code: u8, #[case] head: &str) {
    let (got, text) = checked(line, flows(), Loss::default());
    assert_eq!(got, code, "{text}");
    assert!(text.starts_with(head), "{text}");
}

#[test]
fn loss_makes_a_pass_inconclusive() {
    let loss = Loss {
        events: 2,
        ..Loss::default()
    };
    let (code, text) = checked("tracer check port 443", flows(), loss);
    assert_eq!(code, 4);
    assert!(text.ends_with("tracer lost: 2 events not sent\n"), "{text}");
}

#[test]
fn quiet_is_the_verdict_alone() {
    let (_, text) = checked("tracer check -q port 443", flows(), Loss::default());
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn json_is_one_object_with_what_matches() {
    let line = "tracer check -o json port 443";
    let (code, text) = checked(line, flows(), Loss::default());
    let v: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((v["exit_code"].as_u64(), code), (Some(0), 0));
    assert_eq!(v["schema"], "tracer.check/1");
    assert_eq!(v["filter"], "port 443");
    assert_eq!(v["flows"].as_array().unwrap().len(), 1);
    // the finding is about the other flow
    assert_eq!(v["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn paths_are_judged_in_the_direction_of_the_filter() {
    let mut f = fixture::tunnelled(Outcome::Forwarded(ETH0));
    f.reply = fixture::routed(Outcome::Forwarded(ETH1)).forward;
    let via = |line: &str| checked(line, vec![f.clone()], Loss::default()).0;
    assert_eq!(via("tracer check dst host 10.244.2.20 --via eth0"), 0);
    assert_eq!(via("tracer check src host 10.244.2.20 --via ens6"), 0);
    assert_eq!(via("tracer check src host 10.244.2.20 --via eth0"), 3);
}

#[test]
fn who_ends_it_decides_whether_what_was_seen_is_enough() {
    use pipeline::Ended::{Hangup, Interrupt, Terminate, Time, Told};
    let by = |how, line: &str| ended(line, flows(), Loss::default(), how);
    for (how, code) in [
        (Time, 0),
        (Told, 0),
        (Interrupt, 0),
        (Terminate, 4),
        (Hangup, 4),
    ] {
        assert_eq!(by(how, "tracer check port 443").0, code, "{how:?}");
    }
    // what failed is said, and yet it is a part
    let (code, text) = by(Terminate, "tracer check -o json");
    let v: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 4);
    assert_eq!(
        (&v["partial"], &v["ended"]),
        (&true.into(), &"sigterm".into())
    );
    let reasons = v["reasons"].to_string();
    assert!(
        reasons.contains("SIGTERM") && reasons.contains("no-route"),
        "{reasons}"
    );
}

#[test]
fn what_was_sent_is_said() {
    let line = "tracer check --probe 10.244.2.20:443 --probe-count 3";
    let (code, text) = checked(line, flows(), Loss::default());
    // the fixture's flow to this port is UDP
    assert_eq!(code, 4, "{text}");
    let said = "probe: sent 3 connection attempts to tcp 10.244.2.20:443; 2 answered\n";
    assert!(text.contains(said), "{text}");
    let (_, json) = checked(&format!("{line} -o json"), flows(), Loss::default());
    let v: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(v["filter"], "dst host 10.244.2.20 and tcp dst port 443");
    let wanted = serde_json::json!({"proto": "tcp", "to": "10.244.2.20", "port": 443,
        "netns": null, "asked": 3, "sent": 3, "answered": 2, "size": null, "refused": {},
        "errors": {}, "failed": null});
    assert_eq!(v["probe"], wanted);
}

/// A file of checks with this text.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

const THREE: &str = r#"
    [[check]]
    name = "web"
    filter = "port 443"
    [[check]]
    name = "echo & <all>"
    filter = "port 7"
    [[check]]
    name = "nothing"
    filter = "port 9"
"#;

#[test]
fn each_check_of_a_file_has_a_verdict_and_there_is_a_summary() {
    let file = file(THREE);
    let line = format!("tracer check -q -f {}", file.path().display());
    let (code, text) = checked(&line, flows(), Loss::default());
    assert_eq!(code, 3);
    insta::assert_snapshot!(text);
    let (_, json) = checked(&format!("{line} -o json"), flows(), Loss::default());
    let v: serde_json::Value = serde_json::from_str(&json).unwrap();
    let wanted = serde_json::json!({"pass": 1, "fail": 1, "inconclusive": 1});
    assert_eq!(
        (&v["schema"], &v["summary"]),
        (&"tracer.checks/1".into(), &wanted)
    );
    let codes: Vec<_> = v["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["exit_code"])
        .collect();
    assert_eq!(codes, [0, 3, 4]);
    assert_eq!(v["checks"][1]["schema"], "tracer.check/1");
    assert_eq!(v["checks"][1]["name"], "echo & <all>");
}

#[test]
fn junit_xml_of_a_file() {
    let file = file(THREE);
    let line = format!("tracer check -o junit -f {}", file.path().display());
    let (code, xml) = checked(&line, flows(), Loss::default());
    assert_eq!(code, 3);
    insta::assert_snapshot!(xml);
    let read = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let suite = &read.test_suites[0];
    assert_eq!((suite.tests, suite.failures, suite.errors), (3, 1, 1));
}

#[test]
fn a_wrong_file_is_an_error_of_usage_that_names_the_check() {
    let file = file("[[check]]\nname = 'x'\nno-tunel = true");
    let args = format!("tracer check -f {}", file.path().display());
    let args = Args::try_parse_from(args.split_whitespace()).unwrap();
    let Some(Command::Check(command)) = &args.command else {
        panic!()
    };
    let usage = Plan::new(&args.options, command)
        .unwrap_err()
        .downcast::<Usage>()
        .unwrap();
    let said = usage.to_string();
    assert!(
        said.ends_with("check \"x\": unexpected argument '--no-tunel' found"),
        "{said}"
    );
}

#[test]
fn the_kernel_passes_what_any_check_needs() {
    let both = file("[[check]]\nfilter = 'port 7'\n[[check]]\nfilter = 'tcp or udp'");
    let all = file("[[check]]\nfilter = 'port 7'\n[[check]]\nname = 'all'");
    for (file, filter) in [
        (&both, "port 7 or (tcp or udp) or icmp or icmp6"),
        (&all, ""),
    ] {
        let args = format!("tracer check -f {}", file.path().display());
        let args = Args::try_parse_from(args.split_whitespace()).unwrap();
        let Some(Command::Check(command)) = &args.command else {
            panic!()
        };
        let plan = Plan::new(&args.options, command).unwrap();
        assert_eq!(plan.filter(), Filter::parse(filter).unwrap());
    }
}
