//! One direction of one flow: expectation, counters and report side by side.

use serde_json::Value;

use super::Row;
use super::case::{Leaves, Wanted};

/// The fields of a decision in the order in which the table shows them.
const FIELDS: [&str; 14] = [
    "type",
    "rule",
    "table",
    "matched",
    "gateway",
    "dev",
    "prefsrc",
    "errno",
    "changes",
    "source_check",
    "why",
    "bridged",
    "redirected_by",
    "how",
];

/// What is compared.
pub(super) struct Sides<'a> {
    pub(super) case: String,
    pub(super) wanted: &'a Wanted,
    /// The direction in tracer's report: the flow, or its `reply`.
    pub(super) reported: Option<&'a Value>,
    /// Why there is none.
    pub(super) missing: Option<String>,
    /// Packets by device, as counted.
    pub(super) truth: Vec<(String, u64)>,
    /// `ip route get`: device and gateway.
    pub(super) kernel: Option<Result<(String, Option<String>), String>>,
}

/// The row of one direction.
pub(super) fn row(sides: &Sides<'_>) -> Row {
    let mut wrong = Vec::new();
    let counted = !matches!(sides.wanted.leaves, Leaves::Uncounted);
    let devices: Vec<&str> = sides.truth.iter().map(|(dev, _)| dev.as_str()).collect();
    let expected = expected_devices(&sides.wanted.leaves);
    if !leaves_agree(&sides.wanted.leaves, &devices) {
        wrong.push(format!("left by {devices:?}, expected {expected}"));
    }
    let mut row = Row {
        case: sides.case.clone(),
        expected,
        truth: if counted {
            counts(&sides.truth)
        } else {
            "(not counted)".to_owned()
        },
        reported: String::new(),
        how: String::new(),
        wrong: Vec::new(),
    };
    let Some(reported) = sides.reported else {
        let missing = sides.missing.clone().unwrap_or_default();
        wrong.push(format!("not in the report: {missing}"));
        return Row { wrong, ..row };
    };
    if counted {
        let said = left_by(reported, &sides.truth, &sides.wanted.leaves);
        if !same_counts(&said, &sides.truth, sides.wanted.exact) {
            wrong.push(format!(
                "counted {}, reported {}",
                counts(&sides.truth),
                counts(&said)
            ));
        }
        row.reported = counts(&said);
    }
    for (dev, decision) in decisions(sides.wanted, &devices) {
        compare(&mut row, &mut wrong, reported, dev.as_deref(), decision);
    }
    if let Some(also) = &sides.wanted.also
        && !matches(reported, also)
    {
        wrong.push(format!("wanted {also}, got {}", only(reported, also)));
    }
    if let Some(kernel) = &sides.kernel {
        kernel_agrees(&mut row, &mut wrong, kernel, reported);
    }
    row.wrong = wrong;
    row
}

/// The wanted decisions of those devices by which packets left.
fn decisions<'w>(wanted: &'w Wanted, devices: &[&str]) -> Vec<(Option<String>, &'w Value)> {
    let among = matches!(wanted.leaves, Leaves::Among(_));
    let mut all = Vec::new();
    for (dev, decision) in &wanted.decisions {
        match dev {
            Some(dev) if among && !devices.contains(&dev.as_str()) => {}
            Some(dev) => all.push((Some(dev.clone()), decision)),
            None if devices.is_empty() || matches!(wanted.leaves, Leaves::Uncounted) => {
                all.push((None, decision));
            }
            None => all.extend(
                devices
                    .iter()
                    .map(|dev| (Some((*dev).to_owned()), decision)),
            ),
        }
    }
    all
}

fn compare(
    row: &mut Row,
    wrong: &mut Vec<String>,
    reported: &Value,
    dev: Option<&str>,
    wanted: &Value,
) {
    let empty = Value::Null;
    let route = decision_before(reported, dev).unwrap_or(&empty);
    let at = dev.map(|dev| format!("@{dev} ")).unwrap_or_default();
    let differs = different(route, wanted);
    if !differs.is_empty() {
        wrong.push(format!("{at}wrong {}: {route}", differs.join(", ")));
    }
    let shown = |value: &Value| format!(" [{}]", words(value, wanted));
    row.expected.push_str(&shown(wanted));
    row.reported.push_str(&shown(route));
    let how = route["how"].as_str().unwrap_or("-");
    if !row.how.is_empty() {
        row.how.push(' ');
    }
    row.how.push_str(how);
}

/// The decision right before the hop `out DEV`, else the last one of the path.
fn decision_before<'r>(reported: &'r Value, dev: Option<&str>) -> Option<&'r Value> {
    let path = reported.get("path")?.as_array()?;
    let end = match dev {
        Some(dev) => path.iter().position(|step| is_exit(step, dev))?,
        None => path.len(),
    };
    let before = path.get(..end)?;
    before.iter().rev().find_map(|step| step.get("route"))
}

fn is_exit(step: &Value, dev: &str) -> bool {
    let hop = &step["hop"];
    hop["dev"] == dev && hop["dir"] == "out"
}

/// Packets by device as tracer reports them: devices that are counted, or that were expected.
fn left_by(reported: &Value, truth: &[(String, u64)], leaves: &Leaves) -> Vec<(String, u64)> {
    let expected: &[String] = match leaves {
        Leaves::By(devs) | Leaves::Among(devs) => devs,
        Leaves::Not | Leaves::Uncounted => &[],
    };
    let counted = |dev: &str| truth.iter().any(|(name, _)| name == dev);
    let mut said = std::collections::BTreeMap::new();
    let path = reported.get("path").and_then(Value::as_array);
    for hop in path
        .into_iter()
        .flatten()
        .filter_map(|step| step.get("hop"))
    {
        let dev = hop["dev"].as_str().unwrap_or_default();
        let wanted = expected.iter().any(|name| name == dev) || counted(dev);
        if hop["dir"] == "out" && (wanted || *leaves == Leaves::Not) {
            *said.entry(dev.to_owned()).or_default() += hop["packets"].as_u64().unwrap_or(0);
        }
    }
    said.into_iter().collect()
}

fn same_counts(said: &[(String, u64)], truth: &[(String, u64)], exact: bool) -> bool {
    said.len() == truth.len()
        && said
            .iter()
            .zip(truth)
            .all(|(a, b)| a.0 == b.0 && (!exact || a.1 == b.1))
}

fn leaves_agree(wanted: &Leaves, devices: &[&str]) -> bool {
    match wanted {
        Leaves::By(devs) => {
            devs.iter().all(|dev| devices.contains(&dev.as_str())) && devices.len() == devs.len()
        }
        Leaves::Among(devs) => {
            !devices.is_empty() && devices.iter().all(|dev| devs.iter().any(|d| d == dev))
        }
        Leaves::Not => devices.is_empty(),
        Leaves::Uncounted => true,
    }
}

fn expected_devices(leaves: &Leaves) -> String {
    match leaves {
        Leaves::By(devs) => devs.join(" "),
        Leaves::Among(devs) => devs.join("|"),
        Leaves::Not => "none".to_owned(),
        Leaves::Uncounted => String::new(),
    }
}

fn counts(devices: &[(String, u64)]) -> String {
    if devices.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = devices
        .iter()
        .map(|(dev, n)| format!("{dev}×{n}"))
        .collect();
    shown.join(" ")
}

/// `ip route get` and the reported decision name the same device and gateway.
fn kernel_agrees(
    row: &mut Row,
    wrong: &mut Vec<String>,
    kernel: &Result<(String, Option<String>), String>,
    reported: &Value,
) {
    match kernel {
        Ok((dev, gateway)) => {
            let via = gateway.as_deref().unwrap_or("-");
            row.truth = format!("{} (route get: via {via} dev {dev})", row.truth);
            let route = decision_before(reported, Some(dev)).unwrap_or(&Value::Null);
            if route["dev"] != dev.as_str() || route["gateway"].as_str() != gateway.as_deref() {
                wrong.push(format!(
                    "route get says via {via} dev {dev}, tracer {route}"
                ));
            }
        }
        Err(error) => {
            row.truth = format!("{} (route get: {error})", row.truth);
            wrong.push(format!("route get: {error}"));
        }
    }
}

/// Whether `got` has what `wanted` asks for; a list in `wanted` means any of its values, unless
/// `got` is a list itself.
fn matches(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (Value::Object(_), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| matches(&got[key], value))
        }
        (Value::Array(got), Value::Array(wanted)) => wanted
            .iter()
            .all(|wanted| got.iter().any(|got| matches(got, wanted))),
        (got, Value::Array(any)) => any.iter().any(|wanted| matches(got, wanted)),
        (Value::Number(got), Value::Number(wanted)) => got.as_f64() == wanted.as_f64(),
        _ => got == wanted,
    }
}

/// The fields in which `got` is not as wanted.
fn different(got: &Value, wanted: &Value) -> Vec<String> {
    let wanted = wanted.as_object().into_iter().flatten();
    wanted
        .filter(|(key, value)| !matches(&got[key.as_str()], value))
        .map(|(key, _)| key.clone())
        .collect()
}

/// The fields that `wanted` names, as `rule 32766 table 254 gateway - dev out`.
fn words(got: &Value, wanted: &Value) -> String {
    let unlisted = wanted
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str());
    let unlisted = unlisted.filter(|key| !FIELDS.contains(key));
    let fields = FIELDS.into_iter().chain(unlisted);
    let shown: Vec<String> = fields
        .filter(|field| wanted.get(field).is_some() && *field != "how")
        .map(|field| format!("{field} {}", word(&got[field])))
        .collect();
    shown.join(" ")
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(any) => any.iter().map(word).collect::<Vec<_>>().join("|"),
        other => other.to_string(),
    }
}

fn only(got: &Value, wanted: &Value) -> Value {
    let keys = wanted.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.map(|key| (key.clone(), got[key].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(dev: &str, packets: u64) -> Value {
        json!({"outcome": "forwarded", "path": [
            {"hop": {"dev": "in", "dir": "in", "packets": packets}},
            {"route": {"table": 254, "gateway": null, "dev": dev, "how": "lookup"}},
            {"hop": {"dev": dev, "dir": "out", "packets": packets}}]})
    }

    fn judged(wanted: &Wanted, reported: &Value, truth: &[(&str, u64)]) -> Row {
        row(&Sides {
            case: "c/f".into(),
            wanted,
            reported: Some(reported),
            missing: None,
            truth: truth
                .iter()
                .map(|(dev, n)| ((*dev).to_owned(), *n))
                .collect(),
            kernel: None,
        })
    }

    #[test]
    fn all_three_must_say_the_same() {
        let wanted =
            Wanted::leaves("out").decision(json!({"table": 254, "how": ["lookup", "dst"]}));
        let good = judged(&wanted, &report("out", 3), &[("out", 3)]);
        assert_eq!(good.wrong, Vec::<String>::new());
        assert_eq!(
            (good.expected.as_str(), good.how.as_str()),
            ("out [table 254]", "lookup")
        );
        for (reported, truth) in [
            (report("out", 3), ("out", 4)),
            (report("out", 3), ("other", 3)),
            (report("other", 3), ("out", 3)),
        ] {
            let row = judged(&wanted, &reported, &[truth]);
            assert!(!row.wrong.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn a_wrong_field_of_the_decision_is_named() {
        let wanted = Wanted::leaves("out").decision(json!({"table": 7, "dev": "out"}));
        let row = judged(&wanted, &report("out", 3), &[("out", 3)]);
        assert!(row.wrong[0].contains("wrong table"), "{row:?}");
    }

    #[test]
    fn the_kernels_choice_is_what_was_counted() {
        let wanted = Wanted::leaves_among(&["o1", "o2"])
            .decision_at("o1", json!({"table": 254}))
            .decision_at("o2", json!({"table": 254, "dev": "o2"}));
        assert!(
            judged(&wanted, &report("o2", 3), &[("o2", 3)])
                .wrong
                .is_empty()
        );
        assert!(
            !judged(&wanted, &report("o1", 3), &[("o2", 3)])
                .wrong
                .is_empty()
        );
        assert!(
            !judged(&wanted, &report("o3", 3), &[("o3", 3)])
                .wrong
                .is_empty()
        );
    }

    #[test]
    fn nothing_may_leave() {
        let wanted = Wanted::ends();
        assert!(!judged(&wanted, &report("out", 1), &[]).wrong.is_empty());
        let dropped = json!({"path": [{"hop": {"dev": "in", "dir": "in", "packets": 1}}]});
        assert!(judged(&wanted, &dropped, &[]).wrong.is_empty());
        assert!(!judged(&wanted, &dropped, &[("out", 1)]).wrong.is_empty());
    }
}
