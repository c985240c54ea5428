//! A segment that arrives after its connection was closed.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Tcp, frame};
use harness::{Lab, Netns, Tracer, tracer};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use super::LIMIT;

/// Of the client.
const PORT: u16 = 45_001;
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 66), 8);

/// The kernel frees it as one of a refused connection (`TCP_FLAGS` of the listener), which is no
/// loss: both sides had ended it.
#[test]
fn an_acknowledgement_after_the_end_is_no_loss() -> Result<()> {
    let lab = Lab::raise_named("aws-eni:ok")?;
    let client = lab.ns("ext")?;
    let filter = format!("tcp and host {CLIENT}");
    let words = ["check", &filter, "-o", "json", "--for", "6s"];
    let job = Tracer::spawn(lab.node(), &words)?;
    job.wait_ready(tracer::READY_LIMIT)?;
    let sent = Tcp::to(&SERVER.to_string()).sport(PORT).send(client)?;
    ensure!(sent.received > 0, "no answer: {sent:?}");
    // the server's side is gone as soon as its FIN was acknowledged
    thread::sleep(Duration::from_millis(500));
    let before = resets(lab.ns("p1")?)?;
    acknowledge(client)?;
    let report = job.wait(LIMIT)?.expect_code(0)?.json()?;
    ensure!(report["verdict"] == "pass", "{:#}", report["expectations"]);
    // otherwise the segment was not what this test is about
    ensure!(resets(lab.ns("p1")?)? == before + 1, "no reset was sent");
    Ok(())
}

/// Resets that a namespace has sent.
fn resets(ns: &Netns) -> Result<u64> {
    let snmp = ns.exec(&["cat", "/proc/net/snmp"])?;
    let mut lines = snmp.lines().filter_map(|l| l.strip_prefix("Tcp:"));
    let (names, values) = lines.next().zip(lines.next()).context("no counters")?;
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find_map(|(name, value)| (name == "OutRsts").then(|| value.parse().ok())?)
        .context("no OutRsts")
}

/// Sends an ACK without data for the connection.
fn acknowledge(client: &Netns) -> Result<()> {
    let raw = || {
        socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )
    };
    let fd = client.run(raw)?.context("cannot open a raw socket")?;
    let ends = (CLIENT.octets(), SERVER.ip().octets());
    let packet = frame::ipv4(6, ends, &frame::ack(ends, (PORT, SERVER.port())));
    let to = SockaddrIn::from(SERVER);
    let taken = sendto(fd.as_raw_fd(), &packet, &to, MsgFlags::empty())?;
    ensure!(taken == packet.len(), "{taken} of {}", packet.len());
    Ok(())
}
