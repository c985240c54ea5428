//! More flows than there is room for.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::random::Random;
use harness::traffic::Udp;
use harness::traffic::frame::{Frames, ethernet, ipv4, mac, syn, udp};
use harness::{Lab, Tracer, deadline, expect};
use serde_json::json;

use super::{Dir, END, memory, ordinary, ordinary_is_exact, read};

/// The kernel's table has 131,072 entries, two for each forwarded flow; the model keeps 100,000.
const FLOWS: u64 = 150_000;
const ROUNDS: u32 = 4;
/// What may come beside from the second flood on, KiB. An optimised build takes nothing more; one
/// that does not keep up fills its queue of records, which has room for 64 batches.
const NOISE_KIB: u64 = 192 * 1024;

/// Every frame is a flow of its own: UDP into the lab's sink.
fn five_tuples(random: &mut Random) -> Vec<u8> {
    let [a, b, c, d, ..] = random.number().to_be_bytes();
    let ports = (
        u16::from_be_bytes([c, d]),
        20_000 + random.below(40_000) as u16,
    );
    ipv4(17, ([11, a, b, c], [10, 2, 0, 2]), &udp(ports, b"flood"))
}

/// Every frame wants a connection with an open port, from somewhere else.
fn syns(random: &mut Random) -> Vec<u8> {
    let [a, b, c, d, ..] = random.number().to_be_bytes();
    let ports = (u16::from_be_bytes([c, d]), 8);
    ipv4(6, ([12, a, b, d], [10, 2, 0, 2]), &syn(ports))
}

#[test]
fn random_five_tuples_fill_the_table_and_memory_stays_flat() -> Result<()> {
    flooded(five_tuples, "udp port 7 or icmp or udp port 9")
}

#[test]
fn a_syn_flood_hides_no_loss() -> Result<()> {
    flooded(syns, "udp port 7 or icmp or udp port 9")
}

/// Floods several times beside a flow that is there all the time and one that is lost.
fn flooded(frame: fn(&mut Random) -> Vec<u8>, filter: &str) -> Result<()> {
    let flows = deadline::amount(FLOWS, 40_000);
    let dir = Dir::new("flood")?;
    let file = dir.file("a.pcapng");
    let (mut random, seed) = Random::seeded();
    println!("seed {seed} (TRACER_SEED)");
    let lab = Lab::raise("router", None)?;
    let (node, a) = (lab.node(), lab.ns("a")?);
    let (frames, to) = (Frames::open(a, "eth0")?, mac(node, "in")?);
    // the table of neighbours and the drops are not what is tested here
    let tracer = Tracer::start(node, &["record", "-o", "json", "-s", "64", "-w", &file])?;
    let mut flood = |from: u64| -> Result<()> {
        for number in 0..flows {
            frames.send(&ethernet(to, 0x0800, &frame(&mut random)))?;
            // both go on in the middle of it
            if number % (flows / 10) == 0 {
                ordinary(&lab, 4)?;
                lost(&lab, 4)?;
            }
        }
        println!("{} flows sent", from + flows);
        Ok(())
    };
    ordinary(&lab, 10)?;
    lost(&lab, 10)?;
    let mut resident = Vec::new();
    for round in 0..ROUNDS {
        flood(u64::from(round) * flows)?;
        resident.push(memory(tracer.pid(), "VmRSS:")?);
    }
    let live = tracer.interrupt(END)?.expect_code(0)?;
    let report = read(&lab, &file, filter)?;
    println!("KiB after each flood: {resident:?}; {}", report["loss"]);
    println!("{}", live.stderr.trim());
    ordinary_is_exact(&report, 10 + ROUNDS * 10 * 4)?;
    let flow = expect::flow(&report, &json!({"dst": "10.77.0.1", "dport": 9}))?;
    let dropped = expect::dropped(flow, "IP_INNOROUTES")?;
    ensure!(dropped["count"] == 10 + ROUNDS * 10 * 4, "{dropped}");
    if flows == FLOWS {
        let evicted = report["loss"]["evicted"].as_u64();
        ensure!(evicted > Some(0), "nothing was evicted: {}", report["loss"]);
        // the first ones fill what there is
        let (before, after) = (resident.get(1).copied(), resident.last().copied());
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        ensure!(
            after < before + before / 10 + NOISE_KIB,
            "it grows with each flood: {resident:?} KiB"
        );
    }
    Ok(())
}

/// Datagrams that the node has no route for.
fn lost(lab: &Lab, count: u32) -> Result<()> {
    let udp = Udp::to("10.77.0.1:9").sport(4001).count(count);
    let udp = udp.interval(Duration::from_millis(1));
    let sent = udp.wait(Duration::from_millis(10)).send(lab.ns("a")?)?;
    ensure!(sent.lost() && sent.sent > 0, "{sent}");
    Ok(())
}
