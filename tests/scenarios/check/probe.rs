//! What `--probe` sends, and what is said of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::brief::brief;
use harness::{Lab, Netns, deadline, expect};
use serde_json::{Value, json};

use super::check;

/// Counts what leaves a namespace, by an nftables rule for each name.
struct Counted<'a> {
    ns: &'a Netns,
}

impl<'a> Counted<'a> {
    fn new(ns: &'a Netns, rules: &[(&str, &str)]) -> Result<Self> {
        let counters: Vec<String> = rules
            .iter()
            .map(|(name, _)| format!("counter c_{name} {{ }}"))
            .collect();
        let rules: Vec<String> = rules
            .iter()
            .map(|(name, matches)| format!("{matches} counter name c_{name}"))
            .collect();
        let table = format!(
            "table inet sent {{\n{}\nchain out {{\ntype filter hook output priority 0; policy \
             accept;\n{}\n}}\n}}",
            counters.join("\n"),
            rules.join("\n")
        );
        ns.exec_with_input(&["nft", "-f", "-"], &table)?;
        Ok(Self { ns })
    }

    fn get(&self, name: &str) -> Result<u64> {
        let text = self.ns.exec(&[
            "nft",
            "-j",
            "list",
            "counter",
            "inet",
            "sent",
            &format!("c_{name}"),
        ])?;
        let listed: Value = serde_json::from_str(&text)?;
        listed["nftables"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|entry| entry["counter"]["packets"].as_u64())
            .with_context(|| format!("no counter in {text}"))
    }
}

#[test]
fn a_probe_sends_what_it_was_told_and_only_there() -> Result<()> {
    let lab = Lab::raise("native-tunnel", Some("native"))?;
    let (p1, peer, peer6) = (lab.ns("p1")?, "10.244.2.20", "fd44:2::20");
    // neighbour and router solicitation is the kernel's own
    let counted = Counted::new(
        p1,
        &[
            ("udp", "ip daddr 10.244.2.20 udp dport 7"),
            (
                "syn",
                "ip daddr 10.244.2.20 tcp dport 8 tcp flags & (syn|ack) == syn",
            ),
            ("echo", "ip6 daddr fd44:2::20 icmpv6 type echo-request"),
            ("other4", "ip daddr != 10.244.2.20"),
            (
                "other6",
                "ip6 daddr != fd44:2::20 icmpv6 type != { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report }",
            ),
        ],
    )?;
    let from = ["--probe-netns", p1.name(), "--for", "20s"];
    let udp = format!("{peer}:7");
    let tcp = format!("{peer}:8");
    for (probe, options, proto, asked) in [
        (
            udp.as_str(),
            &[
                "--probe-proto",
                "udp",
                "--probe-count",
                "5",
                "--probe-interval",
                "20ms",
            ][..],
            "udp",
            5,
        ),
        (tcp.as_str(), &[][..], "tcp", 3),
        (peer6, &["--probe-count", "2"][..], "icmp", 2),
    ] {
        let begun = Instant::now();
        let args = [&["--probe", probe], options, &from].concat();
        let report = check(&lab, &args, 0)?;
        let wanted = json!({"verdict": "pass", "ended": "done", "findings": [],
            "probe": {"proto": proto, "asked": asked, "sent": asked, "answered": asked,
                "netns": p1.name(), "refused": {}, "errors": {}}});
        ensure!(
            expect::contains(&report, &wanted),
            "wanted {wanted}, got {}\n{}",
            report["probe"],
            brief(&report)
        );
        // it does not wait for the end of its time
        ensure!(
            begun.elapsed() < deadline::scaled(Duration::from_secs(15)),
            "{:?}",
            begun.elapsed()
        );
        let flows = expect::flows(
            &report,
            &json!({"proto": if proto == "icmp" { "icmp6" } else { proto }}),
        )?;
        ensure!(
            report["flows"].as_array().map(Vec::len) == Some(flows.len()),
            "more than was sent: {}",
            brief(&report)
        );
    }
    for (name, packets) in [
        ("udp", 5),
        ("syn", 3),
        ("echo", 2),
        ("other4", 0),
        ("other6", 0),
    ] {
        let got = counted.get(name)?;
        ensure!(
            got == packets,
            "{name}: wanted {packets} packets, got {got}"
        );
    }
    Ok(())
}

#[test]
fn a_probe_of_the_node_itself_and_of_nobody() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let report = check(&lab, &["--probe", "10.2.0.2"], 0)?;
    expect::is(
        &report,
        &json!({"probe": {"netns": null, "sent": 3, "answered": 3}}),
    )?;
    // a neighbour that there is not
    let report = check(&lab, &["--probe", "10.2.0.99:7", "--probe-proto", "udp"], 3)?;
    expect::is(&report, &json!({"probe": {"sent": 3, "answered": 0}}))?;
    // no route: no packet is made, which is what fails
    let report = check(&lab, &["--probe", "192.0.2.1"], 3)?;
    expect::is(
        &report,
        &json!({"probe": {"sent": 0, "refused": {"ENETUNREACH": 3}}}),
    )?;
    Ok(())
}

#[test]
fn an_mtu_test_finds_what_fits_and_what_does_not() -> Result<()> {
    let lab = Lab::raise("encap-loss", Some("toobig"))?;
    let p1 = lab.ns("p1")?.name().to_owned();
    let sized = |size: &str, code: i32| -> Result<Value> {
        let args = [
            "--probe",
            "10.244.2.20:7",
            "--probe-proto",
            "udp",
            "--probe-size",
            size,
            "--probe-netns",
            p1.as_str(),
        ];
        check(&lab, &args, code)
    };
    let report = sized("1450", 0)?;
    expect::is(
        &report,
        &json!({"probe": {"sent": 3, "answered": 3, "size": 1450}}),
    )?;
    let report = sized("1451", 3)?;
    let first = report.pointer("/findings/0/id").context("no finding")?;
    ensure!(first == "encap-mtu", "{}", brief(&report));
    // larger than the pod's own device takes: nothing is sent, and that is said
    let report = sized("1501", 3)?;
    expect::is(
        &report,
        &json!({"probe": {"sent": 0, "refused": {"EMSGSIZE": 3}}}),
    )?;
    let reasons = report["reasons"].to_string();
    ensure!(reasons.contains("1501 bytes"), "{reasons}");
    Ok(())
}
