//! Loss between two nodes is exact whoever translates addresses on the way.

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, expect};
use serde_json::{Value, json};

use super::compare::Lossy;

const LAB: (&str, u32) = ("native-tunnel:native", 20);
const POD: &str = "10.244.1.10";
const SERVER: &str = "10.244.2.20";
const SERVICE: &str = "10.96.0.10";

/// A service in front of the echo of pod p2.
fn service(lab: &Lab, node: &str) -> Result<()> {
    let rules = format!(
        "table ip service {{
          chain pre {{
            type nat hook prerouting priority -100
            ip daddr {SERVICE} udp dport 80 dnat to {SERVER}:7
          }}
        }}\n"
    );
    let node = lab.ns(node)?;
    node.exec_with_input(&["nft", "-f", "-"], &rules)?;
    Ok(())
}

/// The flow of one direction; there is only one.
fn flow<'a>(report: &'a Value, from: &str) -> Result<&'a Value> {
    expect::flow(report, &json!({ "from": from }))
}

#[test]
fn a_service_that_the_sender_translates_is_named() -> Result<()> {
    let run = Lossy::to(&["10.96.0.10:80"], LAB, |lab| service(lab, "n1"))?;
    let report = run.compare("a.pcapng", "b.pcapng", 3)?;
    run.is_exact(&report)?;
    let there = flow(&report, "a")?;
    ensure!(there["dst"] == json!(SERVER), "{there}");
    ensure!(there["before"]["dst"] == json!(SERVICE), "{there}");
    ensure!(there["arrives_as"] == Value::Null, "{there}");
    let back = flow(&report, "b")?;
    ensure!(back["after"]["src"] == json!(SERVICE), "{back}");
    Ok(())
}

#[test]
fn a_service_that_the_receiver_translates_is_named() -> Result<()> {
    let run = Lossy::to(&["10.96.0.10:80"], LAB, |lab| {
        let route = ["ip", "route", "add", "10.96.0.0/16", "via", "10.0.0.2"];
        lab.node().exec(&route)?;
        service(lab, "n2")
    })?;
    let report = run.compare("a.pcapng", "b.pcapng", 3)?;
    run.is_exact(&report)?;
    let there = flow(&report, "a")?;
    ensure!(there["dst"] == json!(SERVICE), "{there}");
    ensure!(there["after"]["dst"] == json!(SERVER), "{there}");
    let back = flow(&report, "b")?;
    ensure!(back["before"]["src"] == json!(SERVER), "{back}");
    Ok(())
}

#[test]
fn what_neither_node_translates_is_joined_by_its_content() -> Result<()> {
    const ELSEWHERE: &str = "192.0.2.9";
    let run = Lossy::to(&["10.244.2.20:7"], LAB, |lab| {
        let chain = |port: &str, rule: &str| {
            format!(
                "chain {port} {{
                   type filter hook ingress device \"{port}\" priority -10; policy accept;
                   {rule}
                 }}\n"
            )
        };
        let rules = format!(
            "table netdev gateway {{\n{}{}}}\n",
            chain("pn1", &format!("ip saddr {POD} ip saddr set {ELSEWHERE}")),
            chain("pn2", &format!("ip daddr {ELSEWHERE} ip daddr set {POD}")),
        );
        lab.ns("fab")?
            .exec_with_input(&["nft", "-f", "-"], &rules)?;
        let route = ["ip", "route", "add", "192.0.2.0/24", "via", "10.0.0.1"];
        lab.ns("n2")?.exec(&route).map(drop)
    })?;
    let report = run.compare("a.pcapng", "b.pcapng", 3)?;
    run.is_exact(&report)?;
    let there = flow(&report, "a")?;
    ensure!(there["src"] == json!(POD), "{there}");
    ensure!(there["arrives_as"]["src"] == json!(ELSEWHERE), "{there}");
    let back = flow(&report, "b")?;
    ensure!(back["dst"] == json!(ELSEWHERE), "{back}");
    ensure!(back["arrives_as"]["dst"] == json!(POD), "{back}");
    let offset = report["clock_offset_ns"].as_i64().context("no offset")?;
    ensure!(offset.abs() < 5_000_000, "{offset} ns between one clock");
    Ok(())
}
