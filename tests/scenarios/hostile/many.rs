//! As many flows as the model keeps: what they take, and how soon it ends.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::traffic::frame::{Frames, ethernet, ipv4, mac, udp};
use harness::{Lab, Tracer, deadline, tracer};
use serde_json::Value;

use super::{Dir, END, memory};

/// Nearly what the model keeps: none is evicted.
const FLOWS: u32 = 99_000;
/// Twice as many entries as flows: each passes two devices.
const ENTRIES: &str = "262144";
/// What they may take beside what tracer takes without a flow, KiB.
const ROOM_KIB: u64 = 200 * 1024;
/// From SIGINT to the end. An optimised build takes less than a second; tests run one that is not.
const SOON: Duration = Duration::from_secs(30);

/// Sends one datagram of each flow.
fn send(lab: &Lab) -> Result<u32> {
    let flows = deadline::amount(FLOWS, 20_000);
    let (frames, to) = (Frames::open(lab.ns("a")?, "eth0")?, mac(lab.node(), "in")?);
    for number in 0..flows {
        let [_, a, b, c] = number.to_be_bytes();
        let packet = udp((4000, 20_000), b"one of many");
        let packet = ipv4(17, ([11, a, b, c], [10, 2, 0, 2]), &packet);
        frames.send(&ethernet(to, 0x0800, &packet))?;
    }
    Ok(flows)
}

/// `tracer ARGS…` that writes to a file: a test that keeps all that it says would be the largest process.
fn start(lab: &Lab, file: &str, args: &[&str]) -> Result<Tracer> {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" > \"$FILE\""]);
    command.arg(tracer::binary()?).args(args).env("FILE", file);
    let tracer = Tracer::spawn_command(lab.node(), command)?;
    tracer.wait_ready(tracer::READY_LIMIT)?;
    Ok(tracer)
}

/// Waits until each flow was told to be without an answer.
fn all_told(file: &str, flows: u32) -> Result<()> {
    let mut lines = BufReader::new(File::open(file)?);
    let (mut told, mut line) = (0, String::new());
    deadline::wait_for("the last flow", Duration::from_mins(4), || {
        while lines.read_line(&mut line)? > 0 {
            if !line.ends_with('\n') {
                // the rest comes
                break;
            }
            told += u32::from(line.contains(r#""change":"unanswered""#));
            line.clear();
        }
        Ok((told >= flows).then_some(()))
    })
}

/// Waits until its memory (`key` of `status`) has not been more than before for so long, and returns what it is
/// then, KiB. It goes up and down with each picture.
fn grown(tracer: &Tracer, key: &str, long: Duration) -> Result<u64> {
    let (mut most, mut since) = (0, Instant::now());
    deadline::wait_for("an end of growth", Duration::from_mins(4), || {
        let now = memory(tracer.pid(), key)?;
        if now > most {
            (most, since) = (now, Instant::now());
        }
        Ok((since.elapsed() > deadline::scaled(long)).then_some(now))
    })
}

#[test]
fn watch_has_room_for_the_flows_and_ends_soon() -> Result<()> {
    let dir = Dir::new("many")?;
    let file = dir.file("lines");
    let lab = Lab::raise("router", None)?;
    let filter = "net 11.0.0.0/8";
    let tracer = start(
        &lab,
        &file,
        &["watch", "-o", "json", "--flows", ENTRIES, filter],
    )?;
    let before = memory(tracer.pid(), "VmRSS:")?;
    let flows = send(&lab)?;
    all_told(&file, flows)?;
    let [now, most] = ["VmRSS:", "VmHWM:"].map(|key| memory(tracer.pid(), key));
    let (now, most) = (now?, most?);
    let begun = Instant::now();
    tracer.interrupt(END)?.expect_code(0)?;
    let took = begun.elapsed();
    let text = fs::read_to_string(&file)?;
    let end: Value = serde_json::from_str(text.lines().last().context("no line")?)?;
    println!(
        "{flows} flows: {before} KiB before, {now} KiB, {most} KiB at most; ended after {took:?}; {end}"
    );
    ensure!(end["flows"] == flows, "{end}");
    ensure!(end["loss"]["evicted"] == 0, "{end}");
    ensure!(now - before < ROOM_KIB, "{now} KiB, {before} KiB before");
    ensure!(took < deadline::scaled(SOON), "{took:?}");
    Ok(())
}

#[test]
fn a_recording_has_room_for_the_flows() -> Result<()> {
    let dir = Dir::new("recorded")?;
    let file = dir.file("a.pcapng");
    let lab = Lab::raise("router", None)?;
    let args = ["record", "-s", "64", "--flows", ENTRIES, "-w", &file];
    let tracer = Tracer::start(lab.node(), &args)?;
    let flows = send(&lab)?;
    // longer than from one picture to the next, in a debug build as well
    // without the ring buffer, which is the kernel's memory
    let now = grown(&tracer, "RssAnon:", Duration::from_secs(15))?;
    let all = memory(tracer.pid(), "VmRSS:")?;
    let begun = Instant::now();
    let ended = tracer.interrupt(END)?.expect_code(0)?;
    println!(
        "{flows} flows: {now} KiB, {all} KiB with the ring buffer; ended after {:?}; {}",
        begun.elapsed(),
        ended.stderr.trim()
    );
    ensure!(now < ROOM_KIB, "{now} KiB");
    Ok(())
}
