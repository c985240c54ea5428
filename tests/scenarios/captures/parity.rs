//! Live and replay say the same.

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer};
use serde_json::{Value, json};

use super::{Dir, END, Recorded, array, read, same};

/// What `read` makes of the file is what the run that wrote it said, to the last byte.
fn replays(lab: &str) -> Result<()> {
    let run = Recorded::of(lab, &[])?;
    // TRACER_FIXTURES=fixtures/captures makes the fixtures of the unit tests anew
    if let Some(dir) = std::env::var_os("TRACER_FIXTURES") {
        let name = format!("{}.pcapng", lab.replace(':', "-"));
        std::fs::copy(run.file(), std::path::Path::new(&dir).join(name))?;
    }
    is_replayed(&run)
}

pub(crate) fn is_replayed(run: &Recorded) -> Result<()> {
    ensure!(!array(&run.live, "flows")?.is_empty(), "no traffic");
    let mut replayed = run.read(&[])?;
    let file = replayed["file"].take();
    if let Some(object) = replayed.as_object_mut() {
        object.remove("file");
    }
    same(&run.live, &replayed)?;
    ensure!(file["complete"] == json!(true), "{file}");
    ensure!(file["unreadable"] == json!(0), "{file}");
    ensure!(file["packets_lost"] == json!(0), "{file}");
    Ok(())
}

#[test]
fn native_tunnel() -> Result<()> {
    replays("native-tunnel")
}

#[test]
fn aws_eni() -> Result<()> {
    replays("aws-eni")
}

#[test]
fn overlapping_vpc() -> Result<()> {
    replays("overlapping-vpc")
}

#[test]
fn ipv6_prefix() -> Result<()> {
    replays("ipv6-prefix")
}

#[test]
fn encap_loss() -> Result<()> {
    replays("encap-loss")
}

/// What of a report does not depend on when it was begun and ended.
fn essence(report: &Value) -> Result<Vec<Value>> {
    let direction = |d: &Value| {
        let path = d["path"].as_array().cloned().unwrap_or_default();
        let steps: Vec<Value> = path
            .iter()
            .map(|step| match (&step["hop"], &step["route"]) {
                (Value::Null, r) => {
                    json!([r["table"], r["type"], r["gateway"], r["dev"], r["errno"]])
                }
                (h, _) => json!([h["dev"], h["dir"], h["packets"], h["bytes"], h["encap"]]),
            })
            .collect();
        json!([d["packets"], d["bytes"], d["outcome"], d["drops"], steps])
    };
    let mut flows: Vec<Value> = array(report, "flows")?
        .iter()
        .map(|f| {
            json!([
                f["proto"],
                f["src"],
                f["sport"],
                f["dst"],
                f["dport"],
                f["scope"],
                direction(f),
                direction(&f["reply"])
            ])
        })
        .collect();
    flows.sort_by_key(Value::to_string);
    let ids = array(report, "findings")?
        .iter()
        .map(|f| json!([f["id"], f["severity"], f["subject"]["flows"]]));
    flows.extend(ids);
    Ok(flows)
}

/// Another tracer, beside the recording, with its own programs and tables.
fn agrees_with_check(lab: &str) -> Result<()> {
    let dir = Dir::new("beside")?;
    let file = dir.file("a.pcapng");
    let lab = Lab::raise_named(lab)?;
    let check = Tracer::start(lab.node(), &["check", "-o", "json", "--for", "1h"])?;
    let record = Tracer::start(lab.node(), &["record", "-w", &file])?;
    lab.traffic(1)?;
    record.interrupt(END)?.expect_code(0)?;
    let live = check.interrupt(END)?.json()?;
    let replayed = read(&lab, &file, &[])?;
    let (live, replayed) = (essence(&live)?, essence(&replayed)?);
    for (a, b) in live.iter().zip(&replayed) {
        ensure!(a == b, "check:\n{a}\nread:\n{b}");
    }
    ensure!(live.len() == replayed.len());
    Ok(())
}

#[test]
fn a_check_beside_it_agrees_about_tunnels() -> Result<()> {
    agrees_with_check("native-tunnel")
}

#[test]
fn a_check_beside_it_agrees_about_drops() -> Result<()> {
    agrees_with_check("ipv6-prefix:nodefault")
}

#[test]
fn an_expectation_judges_a_file_as_it_judges_a_node() -> Result<()> {
    let run = Recorded::of("native-tunnel", &[])?;
    let args = ["read", "-o", "json", &run.file(), "udp", "--no-tunnel"];
    let judged = Tracer::run(run.lab.node(), &args, END)?.expect_code(3)?;
    let judged = judged.json()?;
    ensure!(judged["verdict"] == json!("fail"), "{judged}");
    let reason = judged["reasons"][0].as_str().context("no reason")?;
    ensure!(reason.contains("vxlan7"), "{reason}");
    Ok(())
}

#[test]
fn a_file_is_read_without_root() -> Result<()> {
    let run = Recorded::of("native-tunnel", &[])?;
    // as nobody, in a namespace where nothing of the lab is
    let script = "chmod 644 \"$0\" && exec setpriv --reuid 65534 --regid 65534 --clear-groups \
                  -- \"$1\" read -o json \"$0\"";
    let copy = run.dir.file("b.pcapng");
    std::fs::copy(run.file(), &copy)?;
    let binary = harness::tracer::binary()?.display().to_string();
    let output = std::process::Command::new("sh")
        .args(["-c", script, &copy, &binary])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let replayed: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(replayed["flows"] == run.live["flows"]);
    Ok(())
}
