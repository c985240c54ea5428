//! Tracing goes on while the program is still being attached to many devices: each packet is counted
//! once, by the program at the device or by the one that stands in for it.

#![expect(clippy::print_stdout, reason = "what was measured is in the output")]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::bpf::{self, Hook};
use harness::traffic::Blast;
use harness::{Netns, Topology, Tracer, deadline, expect};
use serde_json::{Value, json};

const DEVICES: usize = 200;
/// Those that are attached last, as many as there are senders.
const BUSY: [usize; 4] = [120, 160, 199, 200];
const FLOWS: u32 = 16;

#[test]
fn each_packet_is_counted_once() -> Result<()> {
    counted_once(&["check", "-o", "json", "--for", "1h", "udp"])
}

/// The same where the filter has tests of its own.
#[test]
fn each_packet_is_counted_once_with_a_filter() -> Result<()> {
    let filter = "udp and net 10.8.0.0/16 and portrange 20000-20063";
    counted_once(&["check", "-o", "json", "--for", "1h", filter])
}

fn counted_once(args: &[&str]) -> Result<()> {
    let mut topology = Topology::new("starting").ns(&["n1", "far"]);
    let names: Vec<String> = (1..=DEVICES).map(|n| format!("d{n}")).collect();
    for name in &names {
        topology = topology.veth(("n1", name.as_str()), ("far", name.as_str()));
    }
    let network = topology.raise()?;
    let node = network.ns("n1")?;
    for n in BUSY {
        lead_to(node, n)?;
    }
    let tracer = Tracer::start(node, args)?;
    let late = BUSY
        .into_iter()
        .filter(|n| !matches!(traced(node, *n), Ok(true)));
    let late = late.count();
    let sent = thread::scope(|scope| -> Result<BTreeMap<usize, u64>> {
        let senders = BUSY.map(|n| (n, scope.spawn(move || send(node, n))));
        let mut sent = BTreeMap::new();
        for (n, sender) in senders {
            match sender.join() {
                Ok(packets) => sent.insert(n, packets?),
                Err(panic) => std::panic::resume_unwind(panic),
            };
        }
        Ok(sent)
    })?;
    let report = tracer.interrupt(Duration::from_secs(20))?.json()?;
    println!(
        "{late} of {} devices were late; sent by device: {sent:?}",
        BUSY.len()
    );
    expect::no_loss(&report)?;
    for (n, packets) in sent {
        let (dst, dev) = (address(n), format!("d{n}"));
        let flows = expect::flows(&report, &json!({"proto": "udp", "dst": dst}))?;
        ensure!(
            flows.len() == FLOWS as usize,
            "{} flows to {dst}",
            flows.len()
        );
        let mut counted = 0;
        for flow in flows {
            counted += hop(flow, &dev)?;
            let path = flow["path"].as_array().context("no path")?;
            for step in path.iter().filter(|step| step.get("route").is_some()) {
                let route = &step["route"];
                ensure!(
                    route["changes"].as_u64().unwrap_or(0) == 0 && route["dev"] == dev.as_str(),
                    "another decision, where there was one: {flow}"
                );
            }
        }
        ensure!(
            counted == packets,
            "{packets} packets were sent by {dev}, tracer counted {counted}"
        );
    }
    // a kernel without tcx attaches quickly, and has nothing that stands in
    if late == 0 && bpf::attached(node, "d1", Hook::Egress).is_ok() {
        bail!("NOT CHECKED: all devices were attached before tracer was ready");
    }
    Ok(())
}

/// Sends until the program is at the device, and once more; returns how many packets.
fn send(node: &Netns, n: usize) -> Result<u64> {
    let to = format!("{}:20000", address(n));
    let mut sent = 0;
    let mut last = false;
    let blast = Blast::to(&to).packets(2_000).flows(FLOWS).sport(30_000);
    deadline::wait_for("the program at the device", Duration::from_mins(1), || {
        sent += blast.clone().send(node)?.sent;
        Ok(if std::mem::replace(&mut last, traced(node, n)?) {
            Some(())
        } else {
            None
        })
    })?;
    Ok(sent)
}

fn address(n: usize) -> String {
    format!("10.8.0.{n}")
}

/// Makes a device one of a pod, whose neighbour is known, so that nothing but what is sent leaves.
fn lead_to(node: &Netns, n: usize) -> Result<()> {
    let (dev, address) = (format!("d{n}"), address(n));
    for line in [
        format!("ip addr add 169.254.1.1/32 dev {dev} scope link"),
        format!("ip route add {address} dev {dev} scope link"),
        format!("ip neigh replace {address} lladdr 02:00:00:00:00:01 dev {dev} nud permanent"),
    ] {
        node.exec(&line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Whether a program of tracer is at the egress of a device.
fn traced(node: &Netns, n: usize) -> Result<bool> {
    let dev = format!("d{n}");
    match bpf::attached(node, &dev, Hook::Egress) {
        Ok(programs) => Ok(programs.iter().any(|p| p.name.starts_with("tracer_"))),
        // a kernel without tcx, where it is a filter
        Err(_) => Ok(node
            .exec(&["tc", "filter", "show", "dev", &dev, "egress"])?
            .contains("tracer_")),
    }
}

/// Packets of a flow that left by a device.
fn hop(flow: &Value, dev: &str) -> Result<u64> {
    let steps = flow["path"].as_array().into_iter().flatten();
    let mut hops = steps.filter(|step| expect::contains(step, &expect::hop(dev, "out")));
    let hop = hops
        .next()
        .with_context(|| format!("no hop {dev}: {flow}"))?;
    ensure!(hops.next().is_none(), "two hops {dev}: {flow}");
    hop["hop"]["packets"].as_u64().context("no packets")
}
