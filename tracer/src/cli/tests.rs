use std::time::Duration;

use clap::CommandFactory as _;
use rstest::rstest;

use super::{
    args::{CheckCommand, Color, Format, ProbeProto, WatchCommand},
    *,
};
use crate::{
    filter::Filter,
    view::check::{Expectations, PathExpect},
};

fn parse(line: &str) -> Result<Args, String> {
    let words = std::iter::once("tracer").chain(line.split_whitespace());
    Args::try_parse_from(args::joined(words.map(Into::into))).map_err(|e| {
        let text = e.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    })
}

fn watch(line: &str) -> WatchCommand {
    match parse(line).unwrap().command {
        Some(Command::Watch(c) | Command::Live(c)) => c,
        other => panic!("{other:?}"),
    }
}

fn check(line: &str) -> CheckCommand {
    match parse(line).unwrap().command {
        Some(Command::Check(c)) => *c,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Args::command().debug_assert();
}

#[rstest]
#[case("watch", "")]
#[case("watch udp port 53", "udp port 53")]
#[case("watch udp -n port --packets 53", "udp port 53")]
#[case(
    "watch ( tcp or udp ) and not host fd00::1",
    "( tcp or udp ) and not host fd00::1"
)]
#[case("live icmp", "icmp")]
fn the_filter_is_what_remains(#[case] line: &str, #[case] filter: &str) {
    assert_eq!(watch(line).filter.join(" "), filter);
}

#[test]
fn a_filter_without_a_command_is_watched() {
    let args = parse("-i eth0 udp port 53 --packets --for 2m").unwrap();
    assert_eq!(args.command, None);
    assert_eq!(args.filter.join(" "), "udp port 53");
    assert!(args.watch.packets);
    assert_eq!(args.watch.duration, Some(Duration::from_mins(2)));
}

#[rstest]
#[case("-o json -i eth0 -i eth1 -n -c 5 -vv --color never --netns all --ascii --btf /b watch")]
#[case("watch -o json -i eth0 -i eth1 -n -c 5 -vv --color never --netns all --ascii --btf /b")]
#[case("watch udp -ojson -ieth0 -ieth1 -nvv -c5 --color=never --netns=all --ascii --btf=/b")]
fn common_options_stand_anywhere(#[case] line: &str) {
    let o = parse(line).unwrap().options;
    assert_eq!(o.devices, ["eth0", "eth1"]);
    assert_eq!((o.output, o.color), (Format::Json, Color::Never));
    assert_eq!(
        (o.numeric, o.count, o.verbose, o.ascii),
        (true, Some(5), 2, true)
    );
    assert_eq!(o.netns, ["all"]);
    assert_eq!(o.btf.as_deref(), Some(std::path::Path::new("/b")));
}

#[rstest]
#[case("check", Expectations::default())]
#[case("check --via a --via b", Expectations { forward: PathExpect { via: vec!["a".into(), "b".into()], ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --tunnel", Expectations { forward: PathExpect { tunnel: Some(None), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --tunnel=vx0", Expectations { forward: PathExpect { tunnel: Some(Some("vx0".into())), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --tunnel vxlan udp", Expectations { forward: PathExpect { tunnel: Some(Some("vxlan".into())), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --tunnel ::1", Expectations { forward: PathExpect { tunnel: Some(None), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --tunnel udp", Expectations { forward: PathExpect { tunnel: Some(None), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --no-tunnel --not-via e --table main", Expectations { forward: PathExpect { no_tunnel: true, not_via: vec!["e".into()], table: Some("main".into()), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --reply-via a --reply-not-via b --reply-table 6", Expectations { reply: PathExpect { via: vec!["a".into()], not_via: vec!["b".into()], table: Some("6".into()), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --reply-tunnel vxlan udp", Expectations { reply: PathExpect { tunnel: Some(Some("vxlan".into())), ..PathExpect::default() }, ..Expectations::default() })]
#[case("check --reply-no-tunnel --ignore policy-drop", Expectations { reply: PathExpect { no_tunnel: true, ..PathExpect::default() }, ignore: vec!["policy-drop".into()], ..Expectations::default() })]
#[case("check --max-drops 0 --min-packets 9 --fail-on no-route", Expectations { max_drops: Some(0), min_packets: Some(9), fail_on: vec!["no-route".into()], ..Expectations::default() })]
fn expectations(#[case] line: &str, #[case] expected: Expectations) {
    assert_eq!(check(line).check.expect.expectations(), expected);
}

#[test]
fn check_looks_for_half_a_minute() {
    assert_eq!(check("check").duration, None);
    assert_eq!(args::DEFAULT_TIME, Duration::from_secs(30));
    let c = check("check dst host 10.1.2.3 --for 500ms --via ens6");
    assert_eq!(c.check.filter_text(), "dst host 10.1.2.3");
    assert_eq!(c.duration, Some(Duration::from_millis(500)));
}

#[rstest]
#[case("check --from 10.1.2.3", "src host 10.1.2.3")]
#[case(
    "check tcp or udp --from 10.1.0.0/16 --to [fd00::1]:53",
    "src net 10.1.0.0/16 and dst host fd00::1 and dst port 53 and (tcp or udp)"
)]
fn ends_are_a_part_of_the_filter(#[case] line: &str, #[case] filter: &str) {
    assert_eq!(check(line).check.filter_text(), filter);
}

#[rstest]
#[case("--probe 10.1.2.3", Ok(ProbeProto::Icmp))]
#[case("--probe 10.1.2.3:53", Ok(ProbeProto::Tcp))]
#[case("--probe [fd00::1]:53 --probe-proto udp", Ok(ProbeProto::Udp))]
#[case("--probe fd00::1 --probe-size 1280", Ok(ProbeProto::Icmp))]
#[case("--probe fd00::1 --probe-size 47", Err("at least 48"))]
#[case("--probe 10.1.2.3 --probe-proto udp", Err("need a port"))]
#[case("--probe 10.1.2.3:53 --probe-proto icmp", Err("has no port"))]
#[case("--probe 10.1.2.3:53 --probe-size 1400", Err("has no payload"))]
#[case("--probe 224.0.0.1", Err("one host"))]
#[case("--probe 255.255.255.255", Err("one host"))]
#[case("--probe 0.0.0.0", Err("one host"))]
fn probes(#[case] options: &str, #[case] expected: Result<ProbeProto, &str>) {
    let probe = check(&format!("check {options}")).check.probe;
    match (probe.proto(), expected) {
        (Ok(Some((_, proto))), Ok(wanted)) => assert_eq!(proto, wanted),
        (Err(e), Err(part)) => assert!(e.contains(part), "{e}"),
        (other, _) => panic!("{other:?}"),
    }
}

#[rstest]
#[case(
    "watch --for 10x",
    "error: invalid value '10x' for '--for <TIME>': expected a time such as 30s, 500ms or 2m"
)]
#[case(
    "watch --for 0s",
    "error: invalid value '0s' for '--for <TIME>': the time must be longer than 0"
)]
#[case(
    "watch -c 0",
    "error: invalid value '0' for '--count <N>': 0 is not in 1..18446744073709551615"
)]
#[case(
    "watch -q -v",
    "error: the argument '--quiet' cannot be used with '--verbose...'"
)]
#[case("watch -o xml", "error: invalid value 'xml' for '--output <FORMAT>'")]
#[case(
    "check --tunnel --no-tunnel",
    "error: the argument '--tunnel[=<DEV|KIND>]' cannot be used with '--no-tunnel'"
)]
#[case(
    "check --max-drops few",
    "error: invalid value 'few' for '--max-drops <N>': invalid digit found in string"
)]
#[case(
    "check --fail-on no-rout",
    "error: invalid value 'no-rout' for '--fail-on <FINDING>': there are: "
)]
#[case(
    "check --from web",
    "error: invalid value 'web' for '--from <ADDR[:PORT]|NET|POD>': expected ADDR, NET/LEN, ADDR:PORT, [ADDR]:PORT, NS/POD or \"pod NAME\""
)]
#[case(
    "check --probe 10.0.0.1 --probe-count 1001",
    "error: invalid value '1001' for '--probe-count <N>': 1001 is not in 1..=1000"
)]
#[case(
    "check --probe 10.0.0.1 --probe-interval 1ms",
    "error: invalid value '1ms' for '--probe-interval <TIME>': at least 10 ms"
)]
#[case("check --packets", "error: unexpected argument '--packets' found")]
#[case("doctor udp", "error: unexpected argument 'udp' found")]
fn usage_errors(#[case] line: &str, #[case] message: &str) {
    let error = parse(line).unwrap_err();
    // lists of names are longer than what is worth repeating here
    let whole = !message.ends_with(": ");
    assert!(
        if whole {
            error == message
        } else {
            error.starts_with(message)
        },
        "{error}"
    );
}

#[test]
fn exit_codes_of_usage() {
    let code = |line: &str| {
        let words = std::iter::once("tracer").chain(line.split_whitespace());
        Args::try_parse_from(words).unwrap_err().exit_code()
    };
    assert_eq!(code("watch --nonsense"), i32::from(USAGE));
    assert_eq!(code("--help"), 0);
    assert_eq!(code("--version"), 0);
}

#[rstest]
#[case(&["udp", "port", "53"], true)]
#[case(&["udp port 53"], true)]
#[case(&[], true)]
#[case(&["port", "nonsense", "host"], false)]
fn filters_are_parsed_before_anything_starts(#[case] words: &[&str], #[case] good: bool) {
    let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    assert_eq!(output::filter(&words).unwrap().is_some(), good);
}

#[test]
fn help() {
    let mut top = Args::command().term_width(100);
    insta::assert_snapshot!("help", top.render_help());
    top.build();
    let check = top
        .find_subcommand_mut("check")
        .unwrap()
        .clone()
        .term_width(100);
    insta::assert_snapshot!("help_check", check.clone().render_help());
}

#[test]
fn a_closed_pipe_is_no_error() {
    let closed = io::Error::from(io::ErrorKind::BrokenPipe);
    let through_json = serde_json::Error::io(io::Error::from(io::ErrorKind::BrokenPipe));
    assert!(is_broken_pipe(
        &anyhow::Error::from(closed).context("writing")
    ));
    assert!(is_broken_pipe(&io::Error::from(through_json).into()));
    assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
}

/// Every example of a help text is a command that tracer takes, filter and all.
#[test]
fn examples_can_be_typed() {
    let mut tracer = Args::command();
    tracer.build();
    let help = |c: &clap::Command| c.get_after_help().map(ToString::to_string);
    let commands = tracer.get_subcommands().filter(|c| !c.is_hide_set());
    for command in commands.chain([&tracer]) {
        let name = command.get_name();
        let help = help(command).unwrap_or_else(|| panic!("{name} has no examples"));
        let (_, examples) = help
            .split_once("Examples:\n")
            .unwrap_or_else(|| panic!("{name}"));
        let examples: Vec<&str> = examples
            .lines()
            .map_while(|line| line.strip_prefix("  "))
            .collect();
        assert!(examples.len() > 1, "{name}");
        for example in examples {
            // behind it a comment in a column of its own, or another program
            let line = example.trim().split("  ").next().unwrap_or_default();
            let line = line.split(['|', '>']).next().unwrap_or_default().trim();
            let words = line
                .strip_prefix("tracer")
                .unwrap_or_else(|| panic!("{line}"));
            let args = parse(words).unwrap_or_else(|e| panic!("{line}: {e}"));
            let filter = filter_of(&args).join(" ");
            Filter::parse(&filter).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
}

fn filter_of(args: &Args) -> &[String] {
    match &args.command {
        Some(Command::Watch(c) | Command::Live(c)) => &c.filter,
        Some(Command::Check(c)) => &c.check.filter,
        Some(Command::Record(c)) => &c.filter,
        Some(Command::Read(c)) => &c.filter,
        Some(Command::Compare(c)) => &c.filter,
        Some(Command::Report(c)) => &c.filter,
        Some(Command::Export(c)) => &c.filter,
        Some(
            Command::Audit | Command::Doctor | Command::Completions { .. } | Command::Man { .. },
        )
        | None => &args.filter,
    }
}
