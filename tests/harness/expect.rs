//! Assertions on tracer's JSON (`tracer.check/1`, `tracer.read/1`, `tracer.audit/1`).
//!
//! What is wanted is a piece of JSON that must be contained in what there is: all its keys, with
//! equal values; other keys do not matter. A path must contain the wanted steps in their order, with
//! others in between, because kernels differ in what they show.
//!
//! ```
//! use harness::expect;
//! use serde_json::json;
//!
//! let report = json!({"findings": [], "flows": [{
//!     "proto": "udp", "src": "10.244.1.10", "dst": "10.244.2.20", "dport": 7,
//!     "scope": {"dev": "lxc-p1"}, "outcome": "forwarded",
//!     "path": [
//!         {"hop": {"dev": "lxc-p1", "dir": "in", "packets": 3, "encap": null}},
//!         {"route": {"table": 254, "dev": "vx0"}},
//!         {"hop": {"dev": "eth0", "dir": "out", "packets": 3, "encap": {"kind": "vxlan", "vni": 42}}}],
//! }]});
//! let flow = expect::flow(&report, &json!({"dst": "10.244.2.20", "scope": {"dev": "lxc-p1"}}))?;
//! expect::path(flow, &[
//!     expect::hop("lxc-p1", "in"),
//!     expect::route(&json!({"dev": "vx0"})),
//!     expect::hop_with("eth0", "out", json!({"encap": {"vni": 42}})),
//! ])?;
//! expect::no_findings(&report)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::utsname::uname;
use serde_json::{Value, json};

/// Whether all of `wanted` is in `got`: of objects the keys that `wanted` has, of anything else
/// equality.
pub fn contains(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| contains(got.get(key).unwrap_or(&Value::Null), value)),
        (Value::Number(got), Value::Number(wanted)) => got.as_f64() == wanted.as_f64(),
        _ => got == wanted,
    }
}

/// The only flow of the report that contains `wanted`, in either direction as it is written there.
pub fn flow<'r>(report: &'r Value, wanted: &Value) -> Result<&'r Value> {
    let all = list(report, "flows")?;
    let mut found = all.iter().filter(|flow| contains(flow, wanted));
    let Some(first) = found.next() else {
        bail!(
            "no flow contains {wanted}; the flows are:\n{}",
            lines(all, summary)
        );
    };
    ensure!(
        found.next().is_none(),
        "more than one flow contains {wanted}; the flows are:\n{}",
        lines(all, summary)
    );
    Ok(first)
}

/// All flows of the report that contain `wanted`.
pub fn flows<'r>(report: &'r Value, wanted: &Value) -> Result<Vec<&'r Value>> {
    Ok(list(report, "flows")?
        .iter()
        .filter(|flow| contains(flow, wanted))
        .collect())
}

/// The hop at a device, `in` or `out`, for [`path`].
pub fn hop(dev: &str, dir: &str) -> Value {
    json!({"hop": {"dev": dev, "dir": dir}})
}

/// A hop that also contains `more`: `hop_with("eth0", "out", json!({"packets": 3}))`.
pub fn hop_with(dev: &str, dir: &str, mut more: Value) -> Value {
    if let Value::Object(more) = &mut more {
        more.insert("dev".to_owned(), dev.into());
        more.insert("dir".to_owned(), dir.into());
    }
    json!({"hop": more})
}

/// A route decision that contains `wanted`, for [`path`].
pub fn route(wanted: &Value) -> Value {
    json!({"route": wanted})
}

/// Requires `wanted` as an ordered subset of the path of a flow, or of its `reply`.
pub fn path(flow: &Value, wanted: &[Value]) -> Result<()> {
    let got = list(flow, "path")?;
    let mut next = 0;
    let mut report = Vec::new();
    for want in wanted {
        let rest = got.get(next..).unwrap_or_default();
        if let Some(offset) = rest.iter().position(|step| contains(step, want)) {
            next += offset + 1;
            report.push(format!("  found as step {next}: {want}\n"));
        } else {
            let place = if next == 0 {
                "anywhere".to_owned()
            } else {
                format!("after step {next}")
            };
            bail!(
                "the path lacks a step\n{}  NOT FOUND {place}: {want}\nthe path is:\n{}",
                report.concat(),
                lines(got, Value::to_string)
            );
        }
    }
    Ok(())
}

/// Requires exactly these devices on the path of a flow or of its `reply`, as `in lxc-p1`, each
/// passed by `packets`.
pub fn hops(flow: &Value, packets: u64, wanted: &[&str]) -> Result<()> {
    let steps = list(flow, "path")?;
    let got: Vec<String> = steps
        .iter()
        .filter_map(|step| step.get("hop"))
        .map(|hop| {
            format!(
                "{} {}×{}",
                text(hop, "dir"),
                text(hop, "dev"),
                hop["packets"]
            )
        })
        .collect();
    let wanted: Vec<String> = wanted
        .iter()
        .map(|hop| format!("{hop}×{packets}"))
        .collect();
    ensure!(
        got == wanted,
        "wanted the hops {wanted:?}, got {got:?}; the path is:\n{}",
        lines(steps, Value::to_string)
    );
    Ok(())
}

/// Packets that passed a device on the path of a flow or of its `reply`: `out ens5`.
pub fn packets(flow: &Value, hop: &str) -> u64 {
    let steps = flow.get("path").and_then(Value::as_array);
    let hops = steps
        .into_iter()
        .flatten()
        .filter_map(|step| step.get("hop"));
    hops.filter(|at| format!("{} {}", text(at, "dir"), text(at, "dev")) == hop)
        .filter_map(|at| at["packets"].as_u64())
        .sum()
}

/// Requires that `got`, a flow, a reply or a part of one, contains `wanted`.
pub fn is(got: &Value, wanted: &Value) -> Result<()> {
    ensure!(contains(got, wanted), "wanted {wanted}, got {got}");
    Ok(())
}

/// Requires that no step of the path contains `unwanted`.
pub fn not_on_path(flow: &Value, unwanted: &Value) -> Result<()> {
    let got = list(flow, "path")?;
    let found = got.iter().any(|step| contains(step, unwanted));
    ensure!(
        !found,
        "{unwanted} is on the path:\n{}",
        lines(got, Value::to_string)
    );
    Ok(())
}

/// The other direction of a flow.
pub fn reply(flow: &Value) -> Result<&Value> {
    flow.get("reply")
        .with_context(|| format!("the flow has no reply: {}", summary(flow)))
}

/// Requires an outcome of a flow or a reply.
pub fn outcome(flow: &Value, wanted: &str) -> Result<()> {
    let got = flow.get("outcome").and_then(Value::as_str);
    ensure!(
        got == Some(wanted),
        "wanted outcome {wanted}, got {}",
        summary(flow)
    );
    Ok(())
}

/// Drop reasons came with Linux 5.17. `kernel` is as `uname -r`.
pub fn has_reasons(kernel: &str) -> bool {
    let mut parts = kernel
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    (parts.next(), parts.next()) >= (Some(5), Some(17))
}

/// What this kernel says where others say `name`.
pub fn reason(name: &str) -> &str {
    // an error: what is wanted is not there then, and the test says so
    let has = uname().is_ok_and(|kernel| has_reasons(&kernel.release().to_string_lossy()));
    if has { name } else { "NOT_SPECIFIED" }
}

/// The drop with `reason` of a flow or a reply.
pub fn dropped<'f>(flow: &'f Value, name: &str) -> Result<&'f Value> {
    let reason = reason(name);
    let drops = list(flow, "drops")?;
    let found = drops
        .iter()
        .find(|drop| contains(drop, &json!({"reason": reason})));
    found.with_context(|| {
        format!(
            "no drop for {reason}; the drops are:\n{}",
            lines(drops, Value::to_string)
        )
    })
}

/// The first finding with this id.
pub fn finding<'r>(report: &'r Value, id: &str) -> Result<&'r Value> {
    let all = list(report, "findings")?;
    let found = all
        .iter()
        .find(|finding| contains(finding, &json!({"id": id})));
    found.with_context(|| {
        format!(
            "no finding {id}; the findings are:\n{}",
            lines(all, Value::to_string)
        )
    })
}

/// Requires that there is no finding with this id.
pub fn no_finding(report: &Value, id: &str) -> Result<()> {
    let all = list(report, "findings")?;
    let found = all
        .iter()
        .find(|finding| contains(finding, &json!({"id": id})));
    ensure!(
        found.is_none(),
        "an unwanted finding: {}",
        found.unwrap_or(&Value::Null)
    );
    Ok(())
}

/// Requires a report of a healthy cluster.
pub fn no_findings(report: &Value) -> Result<()> {
    let all = list(report, "findings")?;
    ensure!(
        all.is_empty(),
        "unwanted findings:\n{}",
        lines(all, Value::to_string)
    );
    Ok(())
}

/// Requires that nothing was lost between the kernel and the report. A lookup may come upon another one at any
/// time, and more so on preemptible kernels: that is counted, and is no fault.
pub fn no_loss(report: &Value) -> Result<()> {
    let loss = report
        .get("loss")
        .and_then(Value::as_object)
        .context("the report has no loss")?;
    ensure!(
        (loss.iter()).all(|(what, count)| what == "lookups" || *count == 0),
        "events were lost: {}",
        json!(loss)
    );
    Ok(())
}

fn list<'v>(value: &'v Value, key: &str) -> Result<&'v [Value]> {
    let found = value.get(key).and_then(Value::as_array);
    Ok(found.with_context(|| format!("there is no list {key:?} in {value}"))?)
}

fn lines(values: &[Value], show: impl Fn(&Value) -> String) -> String {
    if values.is_empty() {
        return "  (none)".to_owned();
    }
    values
        .iter()
        .map(|value| format!("  {}", show(value)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A flow without its path.
fn summary(flow: &Value) -> String {
    let text = |key| text(flow, key);
    format!(
        "{} {}:{} > {}:{} scope {} packets {} outcome {} drops {}",
        text("proto"),
        text("src"),
        text("sport"),
        text("dst"),
        text("dport"),
        text("scope"),
        text("packets"),
        text("outcome"),
        text("drops"),
    )
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(steps: &[Value]) -> Value {
        json!({"path": steps})
    }

    #[test]
    fn contains_ignores_other_keys_and_nothing_else() {
        let got = json!({"a": 1, "b": {"c": "x", "d": null}});
        assert!(contains(&got, &json!({"b": {"c": "x"}})));
        assert!(contains(&got, &json!({"b": {"d": null}})));
        assert!(!contains(&got, &json!({"b": {"c": "y"}})));
        assert!(!contains(&got, &json!({"e": 1})));
        assert!(!contains(&got, &json!("a")));
    }

    #[test]
    fn path_wants_its_steps_in_order() {
        let flow = path_of(&[
            hop("a", "in"),
            route(&json!({"table": 254})),
            hop("b", "out"),
        ]);
        path(&flow, &[hop("a", "in"), hop("b", "out")]).expect("a subset in order");
        let error = path(&flow, &[hop("b", "out"), hop("a", "in")]).expect_err("wrong order");
        let text = error.to_string();
        assert!(
            text.contains("found as step 3") && text.contains("NOT FOUND after step 3"),
            "{text}"
        );
    }

    #[test]
    fn one_step_does_not_count_twice() {
        let flow = path_of(&[hop("a", "in")]);
        path(&flow, &[hop("a", "in"), hop("a", "in")]).expect_err("only one such step");
    }

    #[test]
    fn flow_must_be_the_only_one() {
        let report = json!({"flows": [{"dst": "x", "sport": 1}, {"dst": "x", "sport": 2}]});
        flow(&report, &json!({"dst": "x"})).expect_err("two of them");
        let found = flow(&report, &json!({"sport": 2})).expect("one of them");
        assert_eq!(found["sport"], 2);
    }

    #[test]
    fn loss_is_any_count_above_zero() {
        no_loss(&json!({"loss": {"events": 0, "evicted": 0, "lookups": 1}})).expect("no loss");
        no_loss(&json!({"loss": {"events": 0, "evicted": 1}})).expect_err("loss");
        no_loss(&json!({})).expect_err("a report without loss counters proves nothing");
    }
}
