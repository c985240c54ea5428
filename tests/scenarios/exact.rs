//! Counters are exact: what tracer counts at a device is what the device itself counted.

#![expect(
    clippy::print_stdout,
    reason = "what was measured and said is in the output"
)]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Blast, Tcp};
use harness::{Lab, Netns, Tracer, deadline, expect};
use serde_json::{Value, json};

/// Ethernet frames of this size, as [`Blast`] counts: with the Ethernet header, without FCS. IPv6
/// with UDP fits as well.
const FRAME: usize = 64;
const IN: (&str, &str) = ("in", "rx");
const OUT: (&str, &str) = ("out", "tx");

#[test]
fn one_flow_ipv4() -> Result<()> {
    blast("10.2.0.2:20000", 1)
}

#[test]
fn one_flow_ipv6() -> Result<()> {
    blast("[fd02::2]:20000", 1)
}

#[test]
fn a_thousand_flows_ipv4() -> Result<()> {
    blast("10.2.0.2:20000", 1000)
}

#[test]
fn a_thousand_flows_ipv6() -> Result<()> {
    blast("[fd02::2]:20000", 1000)
}

/// Packets and bytes of all flows together at both devices of the router, against what the devices
/// say.
fn blast(to: &str, flows: u32) -> Result<()> {
    let packets = deadline::amount(1_000_000, 100_000);
    let lab = quiet_router()?;
    let node = lab.node();
    let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "udp"])?;
    let before = (Counted::read(node, IN)?, Counted::read(node, OUT)?);
    let blast = Blast::to(to).packets(packets).frame(FRAME).flows(flows);
    let blasted = blast
        .limit(deadline::scaled(Duration::from_mins(1)))
        .send(lab.ns("a")?)?;
    ensure!(blasted.sent == packets, "{blasted:?}");
    let (rx, tx) = settled(node, before)?;
    let ended = tracer.interrupt(Duration::from_secs(20))?;
    let report = ended.json()?;
    println!(
        "{packets} packets of {flows} flows in {:?}: in {rx:?}, out {tx:?}",
        blasted.elapsed
    );
    // a queue may overflow before the device counts, never after
    ensure!(rx.packets > packets / 2, "most packets were lost: {rx:?}");
    expect::no_loss(&report)?;
    let seen = expect::flows(&report, &json!({"proto": "udp"}))?;
    ensure!(
        seen.len() == flows as usize,
        "{} flows in the report of {flows}",
        seen.len()
    );
    ensure!(
        sum_at(&seen, "in", "in")? == rx,
        "tracer saw {:?} come in, the device {rx:?}",
        sum_at(&seen, "in", "in")?
    );
    ensure!(
        sum_at(&seen, "out", "out")? == tx,
        "tracer saw {:?} leave, the device {tx:?}",
        sum_at(&seen, "out", "out")?
    );
    for flow in seen {
        let (packets, bytes) = (number(flow, "packets")?, number(flow, "bytes")?);
        ensure!(
            bytes == packets * FRAME as u64,
            "{bytes} bytes in {packets} packets of {FRAME}: {flow}"
        );
    }
    Ok(())
}

/// A million flows and a table for 16,384: those that are in it are exact, and each packet of the
/// others is said to be missing.
#[test]
fn more_flows_than_the_table_holds() -> Result<()> {
    const FLOWS: u64 = 1_000_000;
    let flows = deadline::amount(FLOWS, FLOWS / 10);
    let lab = quiet_router()?;
    let node = lab.node();
    let args = [
        "check", "--flows", "16384", "-o", "json", "--for", "1h", "udp",
    ];
    let tracer = Tracer::start(node, &args)?;
    let before = (Counted::read(node, IN)?, Counted::read(node, OUT)?);
    let blast = Blast::to("10.2.0.2:20000").packets(flows).frame(FRAME);
    let blasted = blast
        .flows(u32::try_from(flows)?)
        .limit(deadline::scaled(Duration::from_mins(2)))
        .send(lab.ns("a")?)?;
    let (rx, tx) = settled(node, before)?;
    let report = tracer.interrupt(Duration::from_mins(1))?.json()?;
    let seen = expect::flows(&report, &json!({"proto": "udp"}))?;
    let (came, left) = (sum_at(&seen, "in", "in")?, sum_at(&seen, "out", "out")?);
    let missing = number(&report["loss"], "evicted")?;
    println!(
        "{flows} flows in {:?}: in {rx:?}, out {tx:?}; {} flows seen, {missing} packets missing",
        blasted.elapsed,
        seen.len()
    );
    ensure!(seen.len() >= 8_192, "only {} flows", seen.len());
    ensure!(
        missing > flows / 2,
        "{missing} packets are said to be missing"
    );
    ensure!(
        came.packets + left.packets + missing == rx.packets + tx.packets,
        "{came:?} came in, {left:?} left, {missing} are missing"
    );
    Ok(())
}

#[test]
fn bulk_tcp_with_offload() -> Result<()> {
    let bytes = deadline::amount(200_000_000, 20_000_000);
    let lab = quiet_router()?;
    let node = lab.node();
    let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "tcp port 8"])?;
    let before = (Counted::read(node, IN)?, Counted::read(node, OUT)?);
    let bulk = Tcp::to("10.2.0.2:8")
        .bytes(bytes)
        .limit(Duration::from_mins(1));
    let sent = bulk.send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    let (rx, tx) = settled(node, before)?;
    let report = tracer.interrupt(Duration::from_secs(20))?.json()?;
    expect::no_loss(&report)?;
    let flow = expect::flow(
        &report,
        &json!({"proto": "tcp", "dst": "10.2.0.2", "dport": 8}),
    )?;
    let (came, left) = (sum_at(&[flow], "in", "in")?, sum_at(&[flow], "out", "out")?);
    println!("{bytes} bytes of TCP: in {rx:?}, out {tx:?}; seen in {came:?}, out {left:?}");
    ensure!(came == left, "{came:?} came in, {left:?} left");
    // a virtual device counts the buffers that it is given whole, and their bytes likewise
    ensure!(
        came.bytes == rx.bytes && left.bytes == tx.bytes,
        "other bytes than the devices: in {rx:?}, out {tx:?}"
    );
    ensure!(
        came.packets > 2 * rx.packets,
        "no segments: {came:?} in {} buffers",
        rx.packets
    );
    // MTU 1500 without IP, TCP and timestamps; acknowledgements of the echo carry no bytes
    let (payload, least) = (bytes as u64, bytes as u64 / 1448);
    ensure!(
        came.bytes > payload && came.bytes < payload + payload / 5,
        "{payload} bytes of payload"
    );
    ensure!(
        came.packets >= least && came.packets < least * 3 + 1000,
        "{} segments for a payload of at least {least}",
        came.packets
    );
    let back = number(expect::reply(flow)?, "bytes")?;
    ensure!(back > payload, "the echo came back with {back} bytes only");
    Ok(())
}

/// What a device counted between two moments, or tracer at that device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    packets: u64,
    bytes: u64,
}

impl Counted {
    fn read(ns: &Netns, (dev, side): (&str, &str)) -> Result<Self> {
        Ok(Self {
            packets: ns.statistic(dev, &format!("{side}_packets"))?,
            bytes: ns.statistic(dev, &format!("{side}_bytes"))?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets - before.packets,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// The two-host router whose devices carry nothing but what the test sends: neighbours are
/// permanent, and the multicast reports of links that came up are over.
fn quiet_router() -> Result<Lab> {
    let lab = Lab::raise("router", None)?;
    let ends = [
        ("n1", "in", ["10.1.0.1", "fd01::1"]),
        ("a", "eth0", ["10.1.0.2", "fd01::2"]),
        ("n1", "out", ["10.2.0.1", "fd02::1"]),
        ("b", "eth0", ["10.2.0.2", "fd02::2"]),
    ];
    for ((ns, dev, _), (peer, peer_dev, addresses)) in
        [(0, 1), (1, 0), (2, 3), (3, 2)].map(|(one, other)| (ends[one], ends[other]))
    {
        let path = format!("/sys/class/net/{peer_dev}/address");
        let mac = lab.ns(peer)?.exec(&["cat", &path])?;
        for address in addresses {
            lab.ns(ns)?.exec(&[
                "ip",
                "neigh",
                "replace",
                address,
                "lladdr",
                mac.trim(),
                "dev",
                dev,
                "nud",
                "permanent",
            ])?;
        }
    }
    // what the labs' first packets left behind would be probed once more, seconds later
    for (ns, dev, _) in ends {
        lab.ns(ns)?.exec(&["ip", "neigh", "flush", "dev", dev])?;
        lab.ns(ns)?
            .exec(&["ip", "-6", "neigh", "flush", "dev", dev])?;
    }
    wait_quiet(lab.node(), Duration::from_secs(3))?;
    Ok(lab)
}

/// Waits until no device of the router counted anything for a while.
fn wait_quiet(node: &Netns, quiet: Duration) -> Result<()> {
    let read = || -> Result<Vec<Counted>> {
        [("in", "rx"), ("in", "tx"), ("out", "rx"), ("out", "tx")]
            .into_iter()
            .map(|side| Counted::read(node, side))
            .collect()
    };
    let mut last = (read()?, std::time::Instant::now());
    deadline::wait_for("silence in the lab", Duration::from_secs(30), || {
        let now = read()?;
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        Ok((last.1.elapsed() >= quiet).then_some(()))
    })
}

/// What both devices counted since `before`, once nothing comes any more.
fn settled(node: &Netns, before: (Counted, Counted)) -> Result<(Counted, Counted)> {
    wait_quiet(node, deadline::scaled(Duration::from_millis(300)))?;
    Ok((
        Counted::read(node, IN)?.since(before.0),
        Counted::read(node, OUT)?.since(before.1),
    ))
}

/// What tracer counted at one hop, over all flows.
fn sum_at(flows: &[&Value], dev: &str, dir: &str) -> Result<Counted> {
    let mut sum = Counted {
        packets: 0,
        bytes: 0,
    };
    for flow in flows {
        let hop = flow["path"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|step| expect::contains(step, &expect::hop(dev, dir)))
            .with_context(|| format!("no hop {dev} {dir}: {flow}"))?;
        sum.packets += number(&hop["hop"], "packets")?;
        sum.bytes += number(&hop["hop"], "bytes")?;
    }
    Ok(sum)
}

fn number(of: &Value, key: &str) -> Result<u64> {
    let value = of.get(key).and_then(Value::as_u64);
    value.with_context(|| format!("no number {key} in {of}"))
}
