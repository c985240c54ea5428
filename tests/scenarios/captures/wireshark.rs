//! Other programs open the files, and count the same packets.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Recorded, array, packets};

/// What a program says about a file; it must not complain.
fn asked(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot run {program}: install tshark and tcpdump"))?;
    let complaints: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| !line.starts_with("Running as user") && !line.starts_with("reading from"))
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    ensure!(
        output.status.success() && complaints.is_empty(),
        "{program} {args:?}: {}\n{}",
        output.status,
        complaints.join("\n")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Wire packets by interface, as tshark counts them: a comment says of how many segments one is.
fn by_interface(file: &str) -> Result<BTreeMap<String, u64>> {
    // neighbour discovery and group membership are in the file and in no flow
    let flows = "!(icmpv6.type in {130..137,143}) && !igmp";
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "frame.comment",
    ];
    // not the port of VXLAN that tshark knows: what is inside would not be told apart
    let cilium = "udp.port==8472,vxlan";
    let args: Vec<&str> = ["-n", "-r", file, "-d", cilium, "-Y", flows]
        .into_iter()
        .chain(fields)
        .collect();
    let mut counts = BTreeMap::new();
    for line in asked("tshark", &args)?.lines() {
        let (name, comment) = line.split_once('\t').unwrap_or((line, ""));
        let segments = comment
            .strip_suffix(" segments")
            .and_then(|c| c.rsplit([' ', ';']).next()?.parse().ok())
            .unwrap_or(1);
        *counts.entry(name.to_owned()).or_default() += segments;
    }
    Ok(counts)
}

/// Wire packets by device and direction, as tracer counts them in the kernel.
fn by_hop(report: &Value) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for flow in array(report, "flows")? {
        for direction in [flow, &flow["reply"]] {
            for step in direction["path"].as_array().into_iter().flatten() {
                let hop = &step["hop"];
                if let (Some(dev), Some(dir)) = (hop["dev"].as_str(), hop["dir"].as_str()) {
                    let n = hop["packets"].as_u64().context("no packets")?;
                    *counts.entry(format!("{dev} {dir}")).or_default() += n;
                }
            }
        }
    }
    Ok(counts)
}

/// Packets that ended, as tracer counts them in the kernel.
fn dropped(report: &Value) -> u64 {
    let flows = report["flows"].as_array().into_iter().flatten();
    flows
        .flat_map(|f| [f, &f["reply"]])
        .flat_map(|d| d["drops"].as_array().into_iter().flatten())
        .filter_map(|d| d["count"].as_u64())
        .sum()
}

fn opens(lab: &str) -> Result<(Recorded, String)> {
    let run = Recorded::of(lab, &[])?;
    let comments = is_opened(&run)?;
    Ok((run, comments))
}

/// The comments, when other programs open it and count the same.
pub(crate) fn is_opened(run: &Recorded) -> Result<String> {
    let file = run.file();
    let mut seen = by_interface(&file)?;
    let ends: u64 = seen
        .iter()
        .filter(|(name, _)| name.ends_with(" drop"))
        .map(|(_, n)| n)
        .sum();
    seen.retain(|name, _| !name.ends_with(" drop"));
    let counted = by_hop(&run.live)?;
    ensure!(seen == counted, "tshark: {seen:?}\ntracer: {counted:?}");
    ensure!(ends == dropped(&run.live), "tshark: {ends} ends");
    asked("capinfos", &[&file])?;
    let lines = asked("tcpdump", &["-n", "-r", &file])?;
    let all = packets(&run.lab, &file)?.len();
    ensure!(
        lines.lines().count() >= all,
        "tcpdump shows fewer than {all}"
    );
    asked(
        "tshark",
        &["-r", &file, "-T", "fields", "-e", "frame.comment"],
    )
}

#[test]
fn a_tunnel_and_its_route_are_in_the_comments() -> Result<()> {
    let (run, comments) = opens("native-tunnel")?;
    for wanted in [
        "route: table main via 10.244.2.0 dev vxlan7 (lookup)",
        "tunnel: vxlan vni 7 10.0.0.1 > 10.0.0.2",
    ] {
        ensure!(comments.contains(wanted), "no comment {wanted:?}");
    }
    // the same packet has the same number at each device, and another one another
    let mut places: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for p in packets(&run.lab, &run.file())? {
        let ends = [p["src"].as_str(), p["dst"].as_str()];
        let between = ["10.244.2.20", "fd44:2::20"]
            .into_iter()
            .any(|pod| ends.contains(&Some(pod)));
        if !between {
            continue;
        }
        let id = p["id"].as_u64().context("no id")?;
        // a segment that is too big for the tunnel ends, and is sent again
        let what = match &p["dropped"] {
            Value::Null => &p["dir"],
            dropped => &dropped["reason"],
        };
        let place = format!("{} {what}", p["dev"]).replace('"', "");
        places.entry(id).or_default().push(place);
    }
    let mut ways: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for way in places.into_values() {
        *ways.entry(way).or_default() += 1;
    }
    let way = |places: &[&str]| -> u64 {
        let key: Vec<String> = places.iter().map(|p| (*p).to_owned()).collect();
        ways.get(&key).copied().unwrap_or(0)
    };
    let counted = by_hop(&run.live)?;
    let requests = way(&["lxc-p1 in", "vxlan7 out", "eth0 out"]);
    let answers = way(&["eth0 in", "lxc-p1 out"]);
    ensure!(requests > 0 && answers > 0, "{ways:?}");
    // segments of one buffer are one packet here
    ensure!(requests <= counted["eth0 out"], "{ways:?}");
    let whole = requests + answers;
    let too_big = way(&["lxc-p1 in", "lxc-p1 PKT_TOO_BIG"]);
    let parts: u64 = ways.values().sum::<u64>() - whole - too_big;
    ensure!(parts == 0, "parts of packets: {ways:?}");
    Ok(())
}

#[test]
fn a_drop_has_its_bytes_a_verdict_and_its_reason() -> Result<()> {
    let (run, comments) = opens("ipv6-prefix:nodefault")?;
    ensure!(
        comments.lines().any(|c| c.starts_with("dropped: ")),
        "no drop in the comments"
    );
    let args = [
        "-r",
        &run.file(),
        "-Y",
        "frame.verdict",
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "ipv6.dst",
        "-e",
        "frame.comment",
    ];
    let drops = asked("tshark", &args)?;
    ensure!(!drops.trim().is_empty(), "no verdict");
    for line in drops.lines() {
        ensure!(line.contains(" drop\t"), "{line}");
    }
    let drop = packets(&run.lab, &run.file())?
        .into_iter()
        .find(|p| p["dropped"] != Value::Null)
        .context("no drop among the packets")?;
    ensure!(drop["dropped"]["symbol"] != json!("?"), "{drop}");
    Ok(())
}

#[test]
fn a_longer_snapshot_holds_whole_packets() -> Result<()> {
    let run = Recorded::of("native-tunnel:native", &["-s", "16384", "udp"])?;
    let args = [
        "-r",
        &run.file(),
        "-T",
        "fields",
        "-e",
        "frame.len",
        "-e",
        "frame.cap_len",
    ];
    let lengths = asked("tshark", &args)?;
    ensure!(!lengths.trim().is_empty(), "no packets");
    for line in lengths.lines() {
        let (len, captured) = line.split_once('\t').context("no lengths")?;
        ensure!(len == captured, "{line}");
    }
    ensure!(!run.sent.is_empty());
    Ok(())
}
