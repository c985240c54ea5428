//! Packets of every size, and headers in headers.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::traffic::frame::{Frames, ethernet, ipv4, ipv6, mac, udp, vxlan};
use harness::traffic::{Tcp, Udp};
use harness::{Lab, Netns, Tracer, expect};
use serde_json::json;

use super::{END, ordinary, ordinary_is_exact};

const CHECK: [&str; 5] = ["check", "-o", "json", "--for", "1h"];
const V4: ([u8; 4], [u8; 4]) = ([10, 1, 0, 2], [10, 2, 0, 2]);

/// Frames of 9,000 bytes, and TCP in pieces of 64 KiB that the devices cut up (GSO).
#[test]
fn jumbo_frames_and_segments_are_counted_to_the_byte() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    for (ns, dev) in [("n1", "in"), ("n1", "out"), ("a", "eth0"), ("b", "eth0")] {
        let mtu = ["ip", "link", "set", dev, "mtu", "9000"];
        lab.ns(ns)?.exec(&mtu)?;
    }
    let tracer = Tracer::start(lab.node(), &CHECK)?;
    let (count, size) = (20, 8900_u16);
    let sent = Udp::to("10.2.0.2:7")
        .sport(4002)
        .count(count)
        .size(size.into())
        .send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    // an IP packet that comes in fragments
    let sent = Udp::to("10.2.0.2:7")
        .sport(4003)
        .count(2)
        .size(12_000)
        .wait(Duration::from_millis(100))
        .send(lab.ns("a")?)?;
    // the lab's sink takes later fragments for something else; they have crossed the node by then
    ensure!(sent.sent == 2, "{sent}");
    let (before, bytes) = (counted(lab.node())?, 5_000_000);
    let sent = Tcp::to("10.2.0.2:8").bytes(bytes).send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    let after = counted(lab.node())?;
    let report = tracer.interrupt(END)?.expect_code(0)?.json()?;
    expect::no_loss(&report)?;
    let flow = expect::flow(&report, &json!({"proto": "udp", "sport": 4002}))?;
    let all = u64::from(count) * (u64::from(size) + 42);
    let wanted = json!({"packets": count, "bytes": all});
    expect::path(
        flow,
        &[
            expect::hop_with("in", "in", wanted.clone()),
            expect::hop_with("out", "out", wanted),
        ],
    )?;
    let flow = expect::flow(&report, &json!({"proto": "udp", "sport": 4003}))?;
    let wanted = json!({"packets": 4, "bytes": 2 * (12_008 + 2 * 34)});
    expect::path(
        flow,
        &[
            expect::hop_with("in", "in", wanted.clone()),
            expect::hop_with("out", "out", wanted),
        ],
    )?;
    let flow = expect::flow(&report, &json!({"proto": "tcp", "dport": 8}))?;
    let wanted = json!({"bytes": after - before});
    expect::path(flow, &[expect::hop_with("out", "out", wanted)])?;
    println!("TCP: {}", flow["packets"]);
    Ok(())
}

fn counted(node: &Netns) -> Result<u64> {
    node.statistic("out", "tx_bytes")
}

/// Tags in tags and tunnels in tunnels, deeper than anything reads. What is not understood is
/// counted by what is: the outermost packet.
#[test]
fn headers_in_headers_are_followed_as_far_as_promised() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let (frames, to) = (Frames::open(lab.ns("a")?, "eth0")?, mac(node, "in")?);
    let own = Frames::open(node, "out")?;
    let tracer = Tracer::start(node, &CHECK)?;
    let mut sent = 0;
    for depth in 1..=12_u16 {
        for frame in nested(to, depth) {
            sent += u32::from(frames.send(&frame)?);
            sent += u32::from(own.send(&frame)?);
        }
        ordinary(&lab, 5)?;
    }
    let report = tracer.interrupt(END)?.json()?;
    println!("{sent} frames, loss {}", report["loss"]);
    ensure!(
        report["loss"]["undecoded"] == 0 && report["loss"]["events"] == 0,
        "{}",
        report["loss"]
    );
    ordinary_is_exact(&report, 60)?;
    // one level of encapsulation is looked into: the flow is the packet within
    let flow = expect::flow(
        &report,
        &json!({"proto": "udp", "sport": 3001, "scope": {"dev": "in"}}),
    )?;
    ensure!(flow["packets"] == 1, "{flow}");
    Ok(())
}

/// Frames with `depth` VLAN tags, IPIP headers, VXLANs, IPv6 extension headers.
fn nested(to: [u8; 6], depth: u16) -> Vec<Vec<u8>> {
    let datagram = |port| udp((port, 20_000), b"nested");
    let mut tags = ipv4(17, V4, &datagram(3000));
    let (mut ipip, mut vxlans) = (
        ipv4(17, V4, &datagram(3000 + depth)),
        ipv4(17, V4, &datagram(3100 + depth)),
    );
    let mut options = datagram(3200 + depth);
    let mut next = 17;
    let mut kind = 0x0800;
    for level in 0..depth {
        tags = [&[0, 7][..], &u16::to_be_bytes(kind), &tags].concat();
        kind = 0x8100;
        ipip = ipv4(4, V4, &ipip);
        let frame = ethernet(to, 0x0800, &vxlans);
        if 14 + frame.len() + 36 < 1500 {
            vxlans = ipv4(17, V4, &vxlan(u32::from(level), &frame));
        }
        options = [&[next, 0, 1, 4, 0, 0, 0, 0][..], &options].concat();
        next = 60;
    }
    let address = |net: u8| {
        let mut address = [0; 16];
        (address[0], address[1], address[15]) = (0xfd, net, 2);
        address
    };
    vec![
        ethernet(to, kind, &tags),
        ethernet(to, 0x0800, &ipip),
        ethernet(to, 0x0800, &vxlans),
        ethernet(to, 0x86dd, &ipv6(next, (address(1), address(2)), &options)),
    ]
}
