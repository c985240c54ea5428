//! What tracer adds to the time that a packet takes.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer, deadline};

use super::END;

/// Echoes in one round.
const ECHOES: usize = 2000;
/// Rounds with and without it take turns, so that what else runs on the machine meets both.
const ROUNDS: usize = 5;

#[test]
fn the_time_of_a_packet_stays_within_the_noise() -> Result<()> {
    let echoes = deadline::amount(ECHOES, 200);
    let lab = Lab::raise("router", None)?;
    let socket = lab.ns("a")?.run(|| UdpSocket::bind("10.1.0.2:0"))??;
    socket.connect("10.2.0.2:7")?;
    socket.set_read_timeout(Some(deadline::scaled(Duration::from_secs(2))))?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(median(&socket, echoes)?);
        let tracer = Tracer::start(lab.node(), &["check", "-o", "json", "--for", "1h"])?;
        with.push(median(&socket, echoes)?);
        tracer.interrupt(END)?.expect_code(0)?;
    }
    without.sort_unstable();
    with.sort_unstable();
    let (best, worst) = (without.first().copied(), without.last().copied());
    let (best, worst) = (best.context("no round")?, worst.context("no round")?);
    let traced = with.get(ROUNDS / 2).copied().context("no round")?;
    println!("there and back, medians of {echoes}: without {without:?}, with {with:?}");
    // eight programs there and back: about 4 µs of some 50 µs. A quarter is far above it and far
    // below anything that waits
    let most = worst.max(best + best / 4) + Duration::from_micros(15);
    ensure!(
        traced <= deadline::scaled(most),
        "{traced:?} with tracer, {best:?} to {worst:?} without"
    );
    Ok(())
}

/// The median time of echoes over the node.
fn median(socket: &UdpSocket, echoes: usize) -> Result<Duration> {
    let mut times = Vec::with_capacity(echoes);
    let mut answer = [0; 128];
    for number in 0..echoes {
        let sent = [number as u8; 64];
        let begun = Instant::now();
        socket.send(&sent)?;
        let length = socket.recv(&mut answer)?;
        times.push(begun.elapsed());
        ensure!(
            answer.get(..length) == Some(&sent),
            "echo {number} is another packet"
        );
    }
    times.sort_unstable();
    times.get(echoes / 2).copied().context("no echo")
}
