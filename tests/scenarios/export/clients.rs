//! Clients that are slow, many, or mean no good.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::{Lab, Tracer, deadline};
use nix::sys::signal::Signal;

use super::{END, LIMIT, export, scrape};

/// Bytes of memory in use (`VmRSS`).
fn memory(tracer: &Tracer) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", tracer.pid()))?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next());
    Ok(kib.context("no VmRSS")?.parse::<u64>()? * 1024)
}

fn descriptors(tracer: &Tracer) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", tracer.pid()))?.count())
}

#[test]
fn slow_and_many_clients_are_given_up() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let tracer = export(&lab, &["tcp port 443"])?;
    let (before, open) = (memory(&tracer)?, descriptors(&tracer)?);
    // more than there are places; each sends a byte now and then, and never comes to an end
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| scrape::connect(&lab))
        .collect::<Result<_>>()?;
    let until = Instant::now() + Duration::from_secs(4);
    let mut most = 0;
    while Instant::now() < until {
        for stream in &mut slow {
            // those that were closed refuse
            drop(stream.write_all(b"G"));
        }
        most = most.max(descriptors(&tracer)?);
        thread::sleep(Duration::from_millis(200));
    }
    ensure!(most <= open + 40, "{most} descriptors, {open} before");
    // a good client gets its answer although the slow ones are still there
    scrape::wait(&lab)?;
    deadline::wait_for("the end of slow clients", LIMIT, || {
        Ok((descriptors(&tracer)? <= open).then_some(()))
    })?;
    let mut closed = 0;
    for stream in &mut slow {
        let mut rest = Vec::new();
        // whatever they were told, it is over
        drop(stream.read_to_end(&mut rest));
        closed += usize::from(rest.len() < 1000);
    }
    ensure!(closed == slow.len(), "{closed} of {} closed", slow.len());
    let grown = memory(&tracer)?.saturating_sub(before);
    ensure!(grown < 16 << 20, "{grown} bytes more memory");
    ends(tracer)
}

#[test]
fn what_is_no_request_is_refused() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let tracer = export(&lab, &["tcp port 443"])?;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for nonsense in [
        "\0\0\0\0\r\n\r\n",
        "GET /metrics HTTP/9.9\r\n\r\n",
        "GET\r\n\r\n",
        &long,
        &many,
    ] {
        let mut stream = scrape::connect(&lab)?;
        // it may hang up before it has all of it
        drop(stream.write_all(nonsense.as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        let first = answer.lines().next().unwrap_or_default();
        ensure!(
            first.is_empty() || first.starts_with("HTTP/1.1 4"),
            "{first}"
        );
    }
    for (request, status) in [
        ("GET /metrics HTTP/1.0\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        (
            "PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "405",
        ),
    ] {
        let (head, _) = scrape::ask(&lab, request)?;
        let got = head.split(' ').nth(1);
        ensure!(got == Some(status), "{request:?}: {head}");
    }
    scrape::wait(&lab)?;
    ends(tracer)
}

#[test]
fn a_client_that_does_not_read_delays_no_end() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let tracer = export(&lab, &["tcp port 443"])?;
    let mut idle = scrape::connect(&lab)?;
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")?;
    let mut deaf = scrape::connect(&lab)?;
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    ends(tracer)
}

/// SIGTERM ends it in order and at once.
fn ends(tracer: Tracer) -> Result<()> {
    let begun = Instant::now();
    tracer.signal(Signal::SIGTERM)?;
    let ended = tracer.wait(END)?.expect_code(0)?;
    let took = begun.elapsed();
    writeln!(std::io::stderr(), "it ended in {took:?}")?;
    ensure!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ensure!(took < deadline::scaled(Duration::from_secs(3)), "{took:?}");
    Ok(())
}
