//! Two nodes' captures: as many packets are reported lost as were really taken out between them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Sent, Udp};
use harness::{Lab, Netns, Tracer, deadline};
use serde_json::{Value, json};

use super::{Dir, END};

/// TCP repeats a segment after 200 ms, 400 ms, 800 ms.
const REST: Duration = Duration::from_secs(1);

/// Takes out part of what comes from a node's cable into the fabric, and counts it.
pub(crate) struct Taker<'a> {
    fabric: &'a Netns,
}

impl<'a> Taker<'a> {
    /// `percent` of the TCP and UDP packets of each node.
    pub(crate) fn place(lab: &'a Lab, percent: u32) -> Result<Self> {
        let fabric = lab.ns("fab")?;
        let chain = |port: &str| {
            format!(
                "counter seen_{port} {{ }}
                 counter taken_{port} {{ }}
                 chain {port} {{
                   type filter hook ingress device \"{port}\" priority 0; policy accept;
                   meta l4proto {{ tcp, udp }} counter name seen_{port}
                   meta l4proto {{ tcp, udp }} numgen random mod 100 < {percent} \
                     counter name taken_{port} drop
                 }}"
            )
        };
        let rules = format!(
            "table netdev taker {{\n{}\n{}\n}}\n",
            chain("pn1"),
            chain("pn2")
        );
        fabric.exec_with_input(&["nft", "-f", "-"], &rules)?;
        Ok(Self { fabric })
    }

    /// Packets taken out of those of n1 and of n2.
    pub(crate) fn taken(&self) -> Result<(u64, u64)> {
        self.counters("taken")
    }

    /// Packets that came from n1 and from n2.
    pub(crate) fn seen(&self) -> Result<(u64, u64)> {
        self.counters("seen")
    }

    /// Waits until nothing comes any more: TCP ends a connection, and repeats what was taken of it,
    /// after its program has got all bytes.
    pub(crate) fn settled(&self) -> Result<()> {
        let mut last = (self.seen()?, Instant::now());
        deadline::wait_for("an end of the packets", END, || {
            let now = self.seen()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
            Ok((last.1.elapsed() >= deadline::scaled(REST)).then_some(()))
        })
    }

    fn counters(&self, what: &str) -> Result<(u64, u64)> {
        let listed = self
            .fabric
            .exec(&["nft", "-j", "list", "counters", "table", "netdev", "taker"])?;
        let listed: Value = serde_json::from_str(&listed)?;
        let of = |name: &str| -> Result<u64> {
            let all = listed["nftables"].as_array().into_iter().flatten();
            all.filter_map(|o| o.get("counter"))
                .find(|c| c["name"] == json!(name))
                .and_then(|c| c["packets"].as_u64())
                .with_context(|| format!("no counter {name} in {listed}"))
        };
        Ok((of(&format!("{what}_pn1"))?, of(&format!("{what}_pn2"))?))
    }
}

/// Datagrams of pod p1 to the echo of pod p2 with loss between the nodes, recorded on both.
pub(crate) struct Lossy {
    dir: Dir,
    lab: Lab,
    sent: Vec<Sent>,
    taken: (u64, u64),
}

impl Lossy {
    /// To the pod's own addresses.
    fn of(lab: &str, percent: u32, prepare: impl FnOnce(&Lab) -> Result<()>) -> Result<Self> {
        Self::to(
            &["10.244.2.20:7", "[fd44:2::20]:7"],
            (lab, percent),
            prepare,
        )
    }

    pub(crate) fn to(
        to: &[&str],
        (lab, percent): (&str, u32),
        prepare: impl FnOnce(&Lab) -> Result<()>,
    ) -> Result<Self> {
        let dir = Dir::new(&format!("compare-{}", lab.replace(':', "-")))?;
        let lab = Lab::raise_named(lab)?;
        prepare(&lab)?;
        let taker = Taker::place(&lab, percent)?;
        let (a, b) = (dir.file("a.pcapng"), dir.file("b.pcapng"));
        let n1 = Tracer::start(lab.node(), &["record", "-w", &a])?;
        let n2 = Tracer::start(lab.ns("n2")?, &["record", "-w", &b])?;
        let mut sent = Vec::new();
        for to in to {
            let many = Udp::to(to).count(300).interval(Duration::from_millis(1));
            sent.push(many.wait(Duration::from_millis(300)).send(lab.ns("p1")?)?);
        }
        n1.interrupt(END)?.expect_code(0)?;
        n2.interrupt(END)?.expect_code(0)?;
        let taken = taker.taken()?;
        Ok(Self {
            dir,
            lab,
            sent,
            taken,
        })
    }

    pub(crate) fn compare(&self, a: &str, b: &str, code: i32) -> Result<Value> {
        let (a, b) = (self.dir.file(a), self.dir.file(b));
        let args = ["compare", "-o", "json", &a, &b];
        Tracer::run(self.lab.node(), &args, END)?
            .expect_code(code)?
            .json()
    }

    /// The report says what was taken, to the packet, in each direction.
    pub(crate) fn is_exact(&self, report: &Value) -> Result<()> {
        let flows = report["flows"].as_array().context("no flows")?;
        let sum = |from: &str, key: &str| -> u64 {
            let of = flows.iter().filter(|f| f["from"] == json!(from));
            of.filter_map(|f| f[key].as_u64()).sum()
        };
        let lost = (sum("a", "lost"), sum("b", "lost"));
        ensure!(
            lost == self.taken,
            "taken {:?}, reported {lost:?}",
            self.taken
        );
        ensure!(self.taken.0 > 0 && self.taken.1 > 0, "nothing was taken");
        let sent: u64 = self.sent.iter().map(|s| s.sent).sum();
        ensure!(
            sum("a", "sent") == sent,
            "{sent} sent, {} reported",
            sum("a", "sent")
        );
        let arrived = sum("a", "received");
        ensure!(arrived == sent - self.taken.0, "{arrived} arrived");
        let answers: u64 = self.sent.iter().map(|s| s.received).sum();
        ensure!(sum("b", "received") == answers, "{answers} answers");
        ensure!(
            report["totals"]["duplicated"] == json!(0),
            "{}",
            report["totals"]
        );
        ensure!(
            report["totals"]["outside"] == json!(0),
            "{}",
            report["totals"]
        );
        Ok(())
    }
}

#[test]
fn loss_is_exact_without_a_tunnel() -> Result<()> {
    let run = Lossy::of("native-tunnel:native", 20, |_| Ok(()))?;
    let report = run.compare("a.pcapng", "b.pcapng", 3)?;
    run.is_exact(&report)?;
    // one kernel, one clock
    let offset = report["clock_offset_ns"].as_i64().context("no offset")?;
    ensure!(offset.abs() < 5_000_000, "{offset} ns between one clock");
    // the other way round it is the same loss
    let turned = run.compare("b.pcapng", "a.pcapng", 3)?;
    ensure!(turned["totals"] == report["totals"], "{}", turned["totals"]);
    Ok(())
}

#[test]
fn loss_is_exact_in_a_tunnel() -> Result<()> {
    let run = Lossy::of("native-tunnel:both", 20, |_| Ok(()))?;
    run.is_exact(&run.compare("a.pcapng", "b.pcapng", 3)?)
}

#[test]
fn loss_is_exact_behind_address_translation() -> Result<()> {
    let masquerade = "table inet nat {
        chain post {
          type nat hook postrouting priority 100
          oifname \"eth0\" masquerade
        }
      }\n";
    let run = Lossy::of("native-tunnel:native", 20, |lab| {
        lab.node()
            .exec_with_input(&["nft", "-f", "-"], masquerade)
            .map(drop)
    })?;
    let report = run.compare("a.pcapng", "b.pcapng", 3)?;
    run.is_exact(&report)?;
    let flow = harness::expect::flow(&report, &json!({"from": "a", "dst": "10.244.2.20"}))?;
    ensure!(flow["src"] == json!("10.0.0.1"), "{flow}");
    Ok(())
}

/// Moves all times of a capture; the lines keep their length, so that blocks stay as they are.
fn shift_clock(from: &str, to: &str, hours: u64) -> Result<()> {
    let mut bytes = std::fs::read(from)?;
    let shift = hours * 3_600_000_000_000;
    let mut at = 0;
    while at + 12 <= bytes.len() {
        let word =
            |at: usize| -> Result<u32> { Ok(u32::from_le_bytes(bytes[at..at + 4].try_into()?)) };
        let (kind, len) = (word(at)?, word(at + 4)? as usize);
        if kind == 6 {
            let time = (u64::from(word(at + 12)?) << 32 | u64::from(word(at + 16)?)) + shift;
            bytes[at + 12..at + 16].copy_from_slice(&((time >> 32) as u32).to_le_bytes());
            bytes[at + 16..at + 20].copy_from_slice(&(time as u32).to_le_bytes());
        }
        at += len;
    }
    let key = b"\"wall_offset_ns\":";
    let start = bytes
        .windows(key.len())
        .position(|w| w == key)
        .context("no wall_offset_ns")?
        + key.len();
    let digits = bytes[start..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let offset: u64 = std::str::from_utf8(&bytes[start..start + digits])?.parse()?;
    let moved = (offset + shift).to_string();
    ensure!(moved.len() == digits, "the number has another length");
    bytes[start..start + digits].copy_from_slice(moved.as_bytes());
    std::fs::write(to, bytes)?;
    Ok(())
}

#[test]
fn clocks_that_are_hours_apart_change_nothing() -> Result<()> {
    let run = Lossy::of("native-tunnel:native", 20, |_| Ok(()))?;
    let before = run.compare("a.pcapng", "b.pcapng", 3)?;
    shift_clock(&run.dir.file("b.pcapng"), &run.dir.file("late.pcapng"), 7)?;
    let after = run.compare("a.pcapng", "late.pcapng", 3)?;
    run.is_exact(&after)?;
    let offset = |report: &Value| report["clock_offset_ns"].as_i64().context("no offset");
    let moved = offset(&after)? - offset(&before)?;
    ensure!(moved == 7 * 3_600_000_000_000, "moved by {moved} ns");
    ensure!(after["flows"] == before["flows"], "the flows differ");
    Ok(())
}

#[test]
fn a_drop_on_the_other_node_is_no_loss_between() -> Result<()> {
    let dir = Dir::new("compare-drop")?;
    let lab = Lab::raise_named("native-tunnel:native")?;
    let n2 = lab.ns("n2")?;
    let rules = "table inet wall {
        chain c {
          type filter hook forward priority 0
          udp dport 7 drop
        }
      }\n";
    n2.exec_with_input(&["nft", "-f", "-"], rules)?;
    let (a, b) = (dir.file("a.pcapng"), dir.file("b.pcapng"));
    let first = Tracer::start(lab.node(), &["record", "-w", &a])?;
    let second = Tracer::start(n2, &["record", "-w", &b])?;
    let sent = Udp::to("10.244.2.20:7").count(5).send(lab.ns("p1")?)?;
    let dropped = "the drops in the file";
    deadline::wait_for(dropped, Duration::from_secs(20), || {
        let all = super::packets(&lab, &b)?;
        let ends = all.iter().filter(|p| p["dropped"] != Value::Null).count();
        Ok((ends as u64 >= sent.sent).then_some(()))
    })?;
    first.interrupt(END)?.expect_code(0)?;
    second.interrupt(END)?.expect_code(0)?;
    let args = ["compare", "-o", "json", &a, &b, "udp"];
    let report = Tracer::run(lab.node(), &args, END)?
        .expect_code(0)?
        .json()?;
    let flow = harness::expect::flow(&report, &json!({"from": "a", "dst": "10.244.2.20"}))?;
    ensure!(
        flow["lost"] == json!(0) && flow["received"] == json!(sent.sent),
        "{flow}"
    );
    ensure!(flow["dropped"][0]["count"] == json!(sent.sent), "{flow}");
    Ok(())
}

#[test]
fn captures_with_nothing_in_common_are_inconclusive() -> Result<()> {
    let dir = Dir::new("compare-nothing")?;
    let lab = Lab::raise_named("native-tunnel:native")?;
    let (a, b) = (dir.file("a.pcapng"), dir.file("b.pcapng"));
    for file in [&a, &b] {
        let args = ["record", "-w", file, "--for", "1s", "tcp port 1"];
        Tracer::run(lab.node(), &args, END)?.expect_code(0)?;
    }
    Tracer::run(lab.node(), &["compare", &a, &b], END)?.expect_code(4)?;
    Ok(())
}
