//! A report of tracer as a few lines for whoever reads a failed test.

use serde_json::Value;

/// Verdict, findings, flows with their paths in one line per direction, losses.
pub fn brief(report: &Value) -> String {
    let mut out = format!(
        "{} {} {}\n",
        text(&report["verdict"]),
        report["exit_code"],
        report["reasons"]
    );
    for finding in items(&report["findings"]) {
        line(
            &mut out,
            &format!(
                "finding {} {} {} | {} | {}",
                text(&finding["id"]),
                text(&finding["severity"]),
                finding["subject"],
                text(&finding["summary"]),
                finding["evidence"]
            ),
        );
    }
    for flow in items(&report["flows"]) {
        line(
            &mut out,
            &format!(
                "flow {} {}:{} > {}:{} in {}/{} {} failed lookups {}",
                text(&flow["proto"]),
                text(&flow["src"]),
                flow["sport"],
                text(&flow["dst"]),
                flow["dport"],
                text(&flow["scope"]["dev"]),
                flow["scope"]["vni"],
                direction(flow),
                flow["route_failures"]
            ),
        );
        line(&mut out, &format!("  reply {}", direction(&flow["reply"])));
    }
    for (name, value) in [
        ("stray drops", &report["stray_drops"]),
        ("neighbours", &report["neigh_failures"]),
        ("limits", &report["limits"]),
        ("loss", &report["loss"]),
    ] {
        line(&mut out, &format!("{name} {value}"));
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str("  ");
    out.push_str(text);
    out.push('\n');
}

fn direction(side: &Value) -> String {
    let path: Vec<String> = items(&side["path"]).map(step).collect();
    let mut out = format!(
        "{} packets {} {} [{}]",
        side["packets"],
        text(&side["outcome"]),
        text(&side["why"]),
        path.join(" ")
    );
    for key in ["drops", "icmp_errors"] {
        if items(&side[key]).next().is_some() {
            out.extend([" ", key, " ", &side[key].to_string()]);
        }
    }
    for key in ["retransmits", "resets"] {
        if side[key].as_u64().is_some_and(|count| count > 0) {
            out.extend([" ", key, " ", &side[key].to_string()]);
        }
    }
    out
}

fn step(step: &Value) -> String {
    if let Some(hop) = step.get("hop") {
        let encap = if hop["encap"].is_null() {
            String::new()
        } else {
            hop["encap"].to_string()
        };
        return format!(
            "{} {}×{}{encap}",
            text(&hop["dir"]),
            text(&hop["dev"]),
            hop["packets"]
        );
    }
    let route = &step["route"];
    format!(
        "({} rule {} table {} {} {} via {} dev {} errno {} changes {})",
        text(&route["how"]),
        route["rule"],
        route["table"],
        text(&route["type"]),
        text(&route["matched"]),
        text(&route["gateway"]),
        text(&route["dev"]),
        route["errno"],
        route["changes"]
    )
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_the_path_and_survives_anything() {
        let report = json!({"verdict": "pass", "flows": [{"proto": "udp", "packets": 3, "path": [
            {"hop": {"dev": "lxc", "dir": "in", "packets": 3}},
            {"route": {"dev": "eth0", "how": "lookup", "table": 254}}]}]});
        let shown = brief(&report);
        assert!(shown.contains("[in lxc×3 (lookup"), "{shown}");
        assert!(brief(&json!("no report")).starts_with("- null"));
    }
}
