//! Each mode of each lab, and what no lab has: the file says what the run said, and other programs
//! read it without a word.

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Tcp, Udp};
use harness::{Lab, expect};
use serde_json::{Value, json};

use super::Recorded;
use super::parity::is_replayed;
use super::wireshark::is_opened;

fn each_mode_of(scenario: &str) -> Result<()> {
    let scenarios = Lab::scenarios();
    let found = scenarios.iter().find(|s| s.name == scenario);
    let modes = found.context("no such lab")?.modes;
    for mode in modes {
        let lab = format!("{scenario}:{}", mode.name);
        let run = Recorded::of(&lab, &[])?;
        is_replayed(&run).with_context(|| lab.clone())?;
        is_opened(&run).with_context(|| lab.clone())?;
    }
    Ok(())
}

#[test]
fn native_tunnel() -> Result<()> {
    each_mode_of("native-tunnel")
}

#[test]
fn aws_eni() -> Result<()> {
    each_mode_of("aws-eni")
}

#[test]
fn overlapping_vpc() -> Result<()> {
    each_mode_of("overlapping-vpc")
}

#[test]
fn ipv6_prefix() -> Result<()> {
    each_mode_of("ipv6-prefix")
}

#[test]
fn encap_loss() -> Result<()> {
    each_mode_of("encap-loss")
}

#[test]
fn translation_and_fragments() -> Result<()> {
    const SERVICES: &str = "table inet service {
        chain pre {
          type nat hook prerouting priority -100
          ip daddr 10.96.0.10 udp dport 80 dnat ip to 10.244.2.20:7
          ip daddr 10.96.0.10 tcp dport 80 dnat ip to 10.244.2.20:8
          ip6 daddr fd96::10 udp dport 80 dnat ip6 to [fd44:2::20]:7
        }
        chain post {
          type nat hook postrouting priority 100
          ip daddr 10.244.2.20 tcp dport 8 masquerade
        }
      }\n";
    let run = Recorded::with("native-tunnel:native", &[], |lab| {
        let node = lab.node();
        node.exec_with_input(&["nft", "-f", "-"], SERVICES)?;
        let pod = lab.ns("p1")?;
        // three fragments each
        for to in ["10.96.0.10:80", "[fd96::10]:80", "10.244.2.20:7"] {
            let sent = Udp::to(to).count(3).size(4000).send(pod)?;
            ensure!(sent.received == 3, "{to}: {sent:?}");
        }
        let sent = Tcp::to("10.96.0.10:80").bytes(50_000).send(pod)?;
        ensure!(sent.received == sent.sent, "{sent:?}");
        Ok(Vec::new())
    })?;
    for (proto, dst, packets) in [
        ("udp", "10.96.0.10", Some(9)),
        ("udp", "fd96::10", Some(9)),
        ("tcp", "10.96.0.10", None),
    ] {
        let flow = expect::flow(&run.live, &json!({"proto": proto, "dst": dst}))?;
        ensure!(flow["nat"] != Value::Null, "{flow}");
        if let Some(packets) = packets {
            ensure!(flow["packets"] == json!(packets), "{flow}");
        }
    }
    is_replayed(&run)?;
    is_opened(&run)?;
    Ok(())
}
