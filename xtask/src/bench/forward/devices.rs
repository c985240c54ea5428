//! How long tracer takes to start and to stop on a node with many devices.

use std::{fmt::Write as _, path::Path, time::Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    super::numbers::Spread,
    load::{Load, Router},
    who::Who,
};

/// Prints the times from start to `ready`, and from ^C to the end.
pub(super) fn start_and_stop(tracer: &Path, rounds: u32) -> Result<Value> {
    println!("\n{:>8} {:>24} {:>24}", "devices", "start ms", "stop ms");
    let mut rows = Vec::new();
    for devices in [10_u32, 250] {
        let router = Router::raise(&Load::all(true).remove(0))?;
        let mut batch = String::new();
        // two there are already, and each pair is two
        for pair in 0..(devices - 2) / 2 {
            writeln!(batch, "link add p{pair} up type veth peer name q{pair}")?;
            writeln!(batch, "link set q{pair} up")?;
        }
        let node = router.ns("n1")?;
        node.exec_with_input(&["ip", "-batch", "-"], &batch)?;
        let (mut start, mut stop) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = Instant::now();
            let process = Who::Live.start(tracer, &router)?;
            start.push(begun.elapsed().as_secs_f64() * 1e3);
            let begun = Instant::now();
            if let Some(process) = process {
                process.stop()?;
            }
            stop.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let (start, stop) = (Spread::of(start), Spread::of(stop));
        println!("{devices:>8} {:>24} {:>24}", start.show(0), stop.show(0));
        rows.push(json!({"devices": devices, "start_ms": start.json(), "stop_ms": stop.json()}));
    }
    Ok(json!(rows))
}
