use std::sync::Arc;

use clap::Parser as _;
use rstest::rstest;

use super::*;
use crate::{
    cli::{
        args::{Args, Command},
        output::tests::page,
    },
    model::{Flow, Loss, Outcome},
    pipeline::Ready,
    view::fixture::{self, ETH0, ETH1},
};

fn checked(line: &str, flows: Vec<Flow>, loss: Loss) -> (u8, String) {
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
        },
        inventory,
        snapshot: Arc::new(snapshot),
        findings,
    };
    let filter = output::filter(&command.filter).unwrap().unwrap();
    let (mut out, page) = page(args.options.output);
    let code = conclude(&args.options, command, &filter, &end, &mut out).unwrap();
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
