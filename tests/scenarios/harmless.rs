//! tracer changes nothing: not the traffic, not other people's programs on the same devices, and
//! it leaves nothing behind, however it ends.

use std::hash::{DefaultHasher, Hasher as _};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::bpf::held::{Held, Kind};
use harness::bpf::{self, Answer, Foreign, Hook, Pinned, Place};
use harness::traffic::Udp;
use harness::{Lab, Netns, Tracer, deadline, expect};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

const DATAGRAMS: u32 = 3000;
const STREAM: usize = 2_000_000;
/// Datagrams of a round that is counted, and their payload; no other packet in a lab is that long.
const ROUND: u32 = 50;
const PAYLOAD: u16 = 291;
/// With Ethernet, IPv4 and UDP headers.
const LENGTH: i32 = 14 + 20 + 8 + PAYLOAD as i32;
const DEVICES: [&str; 2] = ["in", "out"];

#[test]
fn payload_and_order_stay_the_same() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let without = Transferred::over(&lab)?;
    ensure!(
        without.datagrams == DATAGRAMS && without.bytes == STREAM,
        "the lab itself loses something: {without:?}"
    );
    let modes: [&[&str]; 2] = [&["check", "--for", "1h"], &["watch", "--packets"]];
    for args in modes {
        let tracer = Tracer::start(lab.node(), args)?;
        let with = Transferred::over(&lab)?;
        ensure!(
            with == without,
            "with {args:?} {with:?}, without {without:?}"
        );
        tracer.interrupt(Duration::from_secs(20))?;
    }
    let after = Transferred::over(&lab)?;
    ensure!(after == without, "after {after:?}, before {without:?}");
    Ok(())
}

#[test]
fn foreign_tcx_programs_run_before_and_behind_it() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let lab = Lab::raise("router", None)?;
        let node = lab.node();
        let attach =
            |hook, place, answer| Foreign::attach(node, "out", (hook, place), LENGTH, answer);
        let next = attach(Hook::Egress, Place::First, Answer::Next)?;
        let pass = attach(Hook::Egress, Place::Last, Answer::Pass)?;
        // echoes come back through here
        let ingress = attach(Hook::Ingress, Place::First, Answer::Pass)?;
        round(&lab)?;
        let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "udp port 7"])?;
        ensure!(
            chain(node, "out")? == ["tracer_egress", "foreign", "foreign"],
            "tracer is not the first: {:?}",
            chain(node, "out")?
        );
        round(&lab)?;
        let late = attach(Hook::Egress, Place::First, Answer::Next)?;
        round(&lab)?;
        let expected = [3, 3, 3, 1].map(|rounds| rounds * u64::from(ROUND));
        let counts = |all: [&Foreign; 4]| -> Result<Vec<u64>> {
            all.iter().map(|program| program.packets()).collect()
        };
        let all = [&next, &pass, &ingress, &late];
        ensure!(counts(all)? == expected, "{:?} counted", counts(all)?);
        let held = Held::by(tracer.pid())?;
        end(tracer, signal, 2 * u64::from(ROUND))?;
        gone(node, &held)?;
        ensure!(chain(node, "out")? == ["foreign"; 3]);
        round(&lab)?;
        let expected = expected.map(|count| count + u64::from(ROUND));
        ensure!(counts(all)? == expected, "{:?} counted", counts(all)?);
    }
    Ok(())
}

#[test]
fn the_verdict_of_a_foreign_program_stands() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let drop = Foreign::attach(
        node,
        "out",
        (Hook::Egress, Place::Last),
        LENGTH,
        Answer::Drop,
    )?;
    let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "udp port 7"])?;
    let sent = datagrams()
        .wait(Duration::from_secs(1))
        .send(lab.ns("a")?)?;
    ensure!(
        sent.lost(),
        "what a foreign program drops came through: {sent}"
    );
    ensure!(drop.packets()? == u64::from(ROUND));
    let report = tracer
        .interrupt(Duration::from_secs(20))?
        .expect_code(3)?
        .json()?;
    let flow = expect::flow(&report, &json!({"dst": "10.2.0.2", "dport": 7}))?;
    let dropped = expect::dropped(flow, "TC_EGRESS")?;
    ensure!(dropped["count"] == ROUND, "{dropped}");
    Ok(())
}

#[test]
fn clsact_filters_go_on_and_no_qdisc_is_added() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let lab = Lab::raise("router", None)?;
        let node = lab.node();
        node.exec(&["tc", "qdisc", "add", "dev", "out", "clsact"])?;
        let mut filters = Vec::new();
        for side in ["ingress", "egress"] {
            let filter = Pinned::new(&format!("tracer-test-{side}"), LENGTH)?;
            let path = filter.path();
            let add = ["tc", "filter", "add", "dev", "out", side, "protocol", "ip"];
            let what = ["prio", "7", "bpf", "da", "object-pinned", &path];
            node.exec(&[&add[..], &what[..]].concat())?;
            filters.push(filter);
        }
        let counts = || -> Result<[u64; 2]> { Ok([filters[0].packets()?, filters[1].packets()?]) };
        let qdiscs = || -> Result<Vec<String>> {
            DEVICES
                .iter()
                .map(|dev| node.exec(&["tc", "qdisc", "show", "dev", dev]))
                .collect()
        };
        let (before, start) = (qdiscs()?, counts()?);
        let each = u64::from(ROUND);
        round(&lab)?;
        ensure!(
            counts()? == start.map(|count| count + each),
            "{:?}",
            counts()?
        );
        let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "udp port 7"])?;
        ensure!(qdiscs()? == before, "a qdisc was added: {:?}", qdiscs()?);
        round(&lab)?;
        ensure!(
            counts()? == start.map(|count| count + 2 * each),
            "{:?}",
            counts()?
        );
        let held = Held::by(tracer.pid())?;
        end(tracer, signal, each)?;
        gone(node, &held)?;
        round(&lab)?;
        ensure!(
            counts()? == start.map(|count| count + 3 * each),
            "{:?}",
            counts()?
        );
        ensure!(
            qdiscs()? == before,
            "other qdiscs afterwards: {:?}",
            qdiscs()?
        );
    }
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGKILL,
    ] {
        let lab = Lab::raise("router", None)?;
        let node = lab.node();
        let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h", "udp port 7"])?;
        let held = Held::by(tracer.pid())?;
        ensure!(
            held.count(Kind::Program) > 0 && held.count(Kind::Map) > 0,
            "no program is loaded: {held:?}"
        );
        for dev in DEVICES {
            ensure!(
                chain(node, dev)? == ["tracer_egress"],
                "{:?}",
                chain(node, dev)?
            );
        }
        round(&lab)?;
        end(tracer, signal, u64::from(ROUND))?;
        gone(node, &held).with_context(|| format!("after {signal}"))?;
        for dev in DEVICES {
            for hook in [Hook::Ingress, Hook::Egress] {
                let left = bpf::attached(node, dev, hook)?;
                ensure!(left.is_empty(), "after {signal} {left:?} on {dev}");
            }
            for side in ["ingress", "egress"] {
                let left = node.exec(&["tc", "filter", "show", "dev", dev, side])?;
                ensure!(left.is_empty(), "after {signal}: {left}");
            }
            let qdiscs = node.exec(&["tc", "qdisc", "show", "dev", dev])?;
            ensure!(!qdiscs.contains("clsact"), "after {signal}: {qdiscs}");
        }
        round(&lab)?;
    }
    Ok(())
}

/// Ends tracer by a signal. One that it can answer yields a report, whose flow must have `packets`
/// at both devices.
fn end(tracer: Tracer, signal: Signal, packets: u64) -> Result<()> {
    tracer.signal(signal)?;
    let ended = tracer.wait(Duration::from_secs(20))?;
    if signal == Signal::SIGKILL {
        ensure!(ended.status.code().is_none(), "{}", ended.status);
        return Ok(());
    }
    // ^C ends the wait in order; what another ends is a partial verdict, which proves nothing
    let code = if signal == Signal::SIGINT { 0 } else { 4 };
    let report: Value = ended.expect_code(code)?.json()?;
    let seen = expect::flows(&report, &json!({"dst": "10.2.0.2", "dport": 7}))?;
    for (dev, dir) in [("in", "in"), ("out", "out")] {
        let hop = expect::hop(dev, dir);
        let hops = seen.iter().filter_map(|flow| flow["path"].as_array());
        let count: u64 = hops
            .flatten()
            .filter(|step| expect::contains(step, &hop))
            .filter_map(|step| step["hop"]["packets"].as_u64())
            .sum();
        ensure!(
            count == packets,
            "{count} packets at {dev}, wanted {packets}: {seen:?}"
        );
    }
    Ok(())
}

/// Waits until nothing is at the devices, and nothing of what the process held is in the kernel.
fn gone(node: &Netns, held: &Held) -> Result<()> {
    for dev in DEVICES {
        deadline::wait_for("the end of the attachments", Duration::from_secs(5), || {
            let left = chain(node, dev)?;
            Ok(left
                .iter()
                .all(|name| !name.starts_with("tracer"))
                .then_some(()))
        })?;
    }
    held.wait_gone()
}

/// Names of the programs at the egress of a device, in their order.
fn chain(node: &Netns, dev: &str) -> Result<Vec<String>> {
    let programs = bpf::attached(node, dev, Hook::Egress)?;
    Ok(programs.into_iter().map(|program| program.name).collect())
}

fn datagrams() -> Udp {
    Udp::to("10.2.0.2:7")
        .count(ROUND)
        .size(PAYLOAD.into())
        .interval(Duration::from_millis(1))
        .wait(Duration::from_secs(2))
}

/// Sends a round from a to b and back, which must arrive.
fn round(lab: &Lab) -> Result<()> {
    let sent = datagrams().send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    Ok(())
}

/// What arrived at host b of what host a sent.
#[derive(Debug, PartialEq, Eq)]
struct Transferred {
    datagrams: u32,
    datagram_hash: u64,
    bytes: usize,
    stream_hash: u64,
}

impl Transferred {
    fn over(lab: &Lab) -> Result<Self> {
        let (a, b) = (lab.ns("a")?, lab.ns("b")?);
        let (datagrams, datagram_hash) = datagrams_over(a, b)?;
        let (bytes, stream_hash) = stream_over(a, b)?;
        Ok(Self {
            datagrams,
            datagram_hash,
            bytes,
            stream_hash,
        })
    }
}

/// Datagrams of many lengths, each with its number; the hash is over all in the order in which
/// they arrived.
fn datagrams_over(a: &Netns, b: &Netns) -> Result<(u32, u64)> {
    let to: SocketAddr = "10.2.0.2:9000".parse()?;
    let receiver = b.run(|| UdpSocket::bind(to))??;
    setsockopt(&receiver, sockopt::RcvBufForce, &(32 << 20))?;
    receiver.set_read_timeout(Some(deadline::scaled(Duration::from_secs(1))))?;
    let sender = a.run(|| UdpSocket::bind("10.1.0.2:9000"))??;
    let mut buffer = vec![0; 1 << 11];
    for number in 0..DATAGRAMS {
        let length = 4 + (number as usize * 37) % 1400;
        let datagram = buffer.get_mut(..length).context("no room")?;
        datagram.fill(number as u8);
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        sender.send_to(datagram, to)?;
    }
    let (mut count, mut hash) = (0, DefaultHasher::new());
    while count < DATAGRAMS {
        let Ok(length) = receiver.recv(&mut buffer) else {
            break;
        };
        let datagram = buffer.get(..length).context("too long")?;
        ensure!(
            datagram.starts_with(&count.to_be_bytes()),
            "datagram {count} is not at its place"
        );
        hash.write_usize(length);
        hash.write(datagram);
        count += 1;
    }
    Ok((count, hash.finish()))
}

fn stream_over(a: &Netns, b: &Netns) -> Result<(usize, u64)> {
    let to: SocketAddr = "10.2.0.2:9001".parse()?;
    let listener = b.run(|| TcpListener::bind(to))??;
    let mut sender = a.run(|| TcpStream::connect(to))??;
    let (receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(deadline::scaled(Duration::from_secs(10))))?;
    let reader = thread::spawn(move || -> Result<(usize, u64)> {
        let mut receiver = receiver;
        let mut all = Vec::with_capacity(STREAM);
        receiver.read_to_end(&mut all)?;
        let mut hash = DefaultHasher::new();
        hash.write(&all);
        Ok((all.len(), hash.finish()))
    });
    let data: Vec<u8> = (0..STREAM).map(|at| (at / 251 + at) as u8).collect();
    sender.write_all(&data)?;
    sender.shutdown(Shutdown::Write)?;
    match reader.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
