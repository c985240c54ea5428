//! Headers that make no sense, at every offset, coming in and going out.

use anyhow::{Context as _, Result, ensure};
use harness::traffic::frame::{Frames, ethernet, ipv4, ipv6, mac, syn, udp, vxlan};
use harness::{Lab, Tracer, expect};
use serde_json::Value;

use super::{Dir, END, ordinary, ordinary_is_exact, read};

const V4: ([u8; 4], [u8; 4]) = ([10, 1, 0, 2], [10, 2, 0, 2]);
const ETHERTYPE_V4: u16 = 0x0800;
const ETHERTYPE_V6: u16 = 0x86dd;

/// `fd01::2` to `fd02::2`.
fn v6() -> ([u8; 16], [u8; 16]) {
    let address = |net: u8| {
        let mut address = [0; 16];
        (address[0], address[1], address[15]) = (0xfd, net, 2);
        address
    };
    (address(1), address(2))
}

/// One frame of each kind that the parser knows, to the MAC address `to`.
fn frames(to: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    let datagram = udp((3000, 20_000), b"payload");
    let inner = ipv4(17, V4, &datagram);
    let frame = |kind, payload: &[u8]| ethernet(to, kind, payload);
    let icmp_error = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &inner].concat();
    let icmp6_error = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &ipv6(17, v6(), &datagram)].concat();
    // hop-by-hop, routing, destination options, fragment
    let extensions = [
        &[43, 0, 1, 4, 0, 0, 0, 0][..],
        &[60, 0, 4, 0, 0, 0, 0, 0],
        &[44, 0, 1, 4, 0, 0, 0, 0],
        &[17, 0, 0, 0, 0, 0, 0, 1],
        &datagram,
    ]
    .concat();
    let gre = [&[0x20, 0, 8, 0, 0, 0, 0, 7][..], &inner].concat();
    let vlan = [&[0, 7, 0x88, 0xa8, 0, 8, 8, 0][..], &inner].concat();
    let mut options = ipv4(17, V4, &[&[7, 7, 4, 0, 0, 0, 0, 0][..], &datagram].concat());
    options[0] = 0x47;
    vec![
        ("IPv4 UDP", frame(ETHERTYPE_V4, &inner)),
        ("IPv4 options", frame(ETHERTYPE_V4, &options)),
        (
            "IPv4 TCP",
            frame(ETHERTYPE_V4, &ipv4(6, V4, &syn((3000, 8)))),
        ),
        ("ICMP error", frame(ETHERTYPE_V4, &ipv4(1, V4, &icmp_error))),
        ("IPv6 UDP", frame(ETHERTYPE_V6, &ipv6(17, v6(), &datagram))),
        (
            "IPv6 extensions",
            frame(ETHERTYPE_V6, &ipv6(0, v6(), &extensions)),
        ),
        (
            "ICMPv6 error",
            frame(ETHERTYPE_V6, &ipv6(58, v6(), &icmp6_error)),
        ),
        ("VLAN tags", frame(0x8100, &vlan)),
        ("IPIP", frame(ETHERTYPE_V4, &ipv4(4, V4, &inner))),
        (
            "SIT",
            frame(ETHERTYPE_V4, &ipv4(41, V4, &ipv6(17, v6(), &datagram))),
        ),
        ("GRE", frame(ETHERTYPE_V4, &ipv4(47, V4, &gre))),
        (
            "VXLAN",
            frame(
                ETHERTYPE_V4,
                &ipv4(17, V4, &vxlan(7, &frame(ETHERTYPE_V4, &inner))),
            ),
        ),
        ("SCTP", frame(ETHERTYPE_V4, &ipv4(132, V4, &datagram))),
        (
            "ARP",
            frame(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
    ]
}

/// What is made of a frame: each byte behind the addresses in turn 0, all ones, another, and the
/// frame cut at each length.
fn mutants(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    const KINDS: usize = 12;
    let changed = (KINDS..frame.len()).flat_map(move |at| {
        [|_| 0, |_| 0xff, |b: u8| b ^ 0x80, |b: u8| b.wrapping_add(1)].map(move |change| {
            let mut mutant = frame.to_vec();
            if let Some(byte) = mutant.get_mut(at) {
                *byte = change(*byte);
            }
            mutant
        })
    });
    let cut = (14..frame.len()).filter_map(move |length| Some(frame.get(..length)?.to_vec()));
    changed.chain(cut)
}

#[test]
fn headers_that_make_no_sense_hurt_nobody() -> Result<()> {
    let dir = Dir::new("malformed")?;
    let file = dir.file("a.pcapng");
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    // in from host a, and out past routing from the node itself
    let ways = [
        (Frames::open(lab.ns("a")?, "eth0")?, mac(node, "in")?),
        (Frames::open(node, "out")?, mac(lab.ns("b")?, "eth0")?),
    ];
    let check = Tracer::start(node, &["check", "-o", "json", "--for", "1h"])?;
    let record = Tracer::start(node, &["record", "-o", "json", "-s", "4096", "-w", &file])?;
    ordinary(&lab, 10)?;
    let (mut sent, mut refused) = (0, 0);
    for (device, to) in &ways {
        for (what, frame) in frames(*to) {
            for mutant in mutants(&frame) {
                if device.send(&mutant)? {
                    sent += 1;
                } else {
                    refused += 1;
                }
            }
            ordinary(&lab, 10).with_context(|| format!("after {what}"))?;
        }
    }
    println!("{sent} frames sent, {refused} not taken by the kernel");
    ensure!(sent > 5000, "too few frames: {sent}");
    let rounds = 10 * (1 + 2 * u32::try_from(frames([0; 6]).len())?);
    let report = check.interrupt(END)?.json()?;
    decoded(&report, rounds)?;
    record.interrupt(END)?.expect_code(0)?;
    let report = read(&lab, &file, "ip or ip6")?;
    ensure!(report["file"]["complete"] == true, "{}", report["file"]);
    decoded(&report, rounds)
}

fn decoded(report: &Value, rounds: u32) -> Result<()> {
    println!(
        "loss {}, {} flows",
        report["loss"],
        report["flows"].as_array().map_or(0, Vec::len)
    );
    ensure!(report["loss"]["undecoded"] == 0, "{}", report["loss"]);
    ensure!(report["loss"]["events"] == 0, "{}", report["loss"]);
    // many of them are flows: the addresses and ports were there
    ensure!(
        expect::flows(report, &serde_json::json!({}))?.len() > 100,
        "hardly any flows"
    );
    ordinary_is_exact(report, rounds)
}
