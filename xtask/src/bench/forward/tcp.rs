//! One TCP connection as fast as it goes, by iperf3.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use harness::Tracer;
use serde_json::{Value, json};

use super::{
    super::numbers::Spread,
    Plan,
    load::{Over, Router},
    who::Who,
};

const SECONDS: &str = "2";

/// Prints Gbit/s, untraced and traced in turn.
pub(super) fn bulk(tracer: &Path, plan: &Plan) -> Result<Value> {
    let router = Router::open(Over::Ipv4)?;
    let all = [
        Who::Nobody,
        Who::Floor,
        Who::Live,
        Who::Tcpdump,
        Who::Bpftrace,
    ];
    let mut rates = vec![Vec::new(); all.len()];
    for _ in 0..plan.rounds {
        for (who, rates) in all.iter().zip(&mut rates) {
            let _floor = match who {
                Who::Floor => Some(harness::bpf::floor::Floor::attach(
                    router.ns("n1")?,
                    &["in", "out"],
                )?),
                _ => None,
            };
            let process = who.start(tracer, &router)?;
            rates.push(gigabits(&router)?);
            if let Some(process) = process {
                process.stop()?;
            }
        }
    }
    println!(
        "\n{:16} {:>22} {:>22}",
        "program", "TCP Gbit/s", "of untraced"
    );
    let none = rates.first().cloned().unwrap_or_default();
    let rows = all.iter().zip(&rates).map(|(who, rates)| {
        let rate = Spread::of(rates.iter().copied());
        let ratio = Spread::of(rates.iter().zip(&none).map(|(one, none)| one / none));
        println!(
            "{:16} {:>22} {:>22}",
            who.name(),
            rate.show(2),
            ratio.show(3)
        );
        json!({"program": who.name(), "gbit_per_second": rate.json(), "ratio": ratio.json()})
    });
    Ok(rows.collect())
}

fn gigabits(router: &Router) -> Result<f64> {
    let mut server = Command::new("iperf3");
    server.args(["--server", "--one-off", "--forceflush"]);
    let server = Tracer::spawn_command(router.ns("b")?, server)?;
    server.stdout_line("listening", Duration::from_secs(10), |line| {
        line.contains("listening")
    })?;
    let client = [
        "iperf3", "--json", "--time", SECONDS, "--client", "10.2.0.2",
    ];
    let said: Value = serde_json::from_str(&router.ns("a")?.exec(&client)?)?;
    server.wait(Duration::from_secs(10))?;
    let bits = said.pointer("/end/sum_received/bits_per_second");
    let bits = bits.and_then(Value::as_f64);
    Ok(bits.context("iperf3 says no bits_per_second")? / 1e9)
}
