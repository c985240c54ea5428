//! `tracer export`: its numbers are those of the kernel, and no client harms it.

mod clients;
mod forget;
mod numbers;
mod scrape;

use std::time::Duration;

use anyhow::Result;
use harness::{Lab, Tracer};

/// Where it listens: the router's address towards host `a`, which scrapes.
const LISTEN: &str = "10.1.0.1:9753";
/// The promise is a second, of a release build on an idle machine.
const END: Duration = Duration::from_secs(10);
/// Enough for whatever comes by itself.
const LIMIT: Duration = Duration::from_secs(30);

/// tracer on the router, ready, with its first picture.
fn export(lab: &Lab, args: &[&str]) -> Result<Tracer> {
    let words = [&["export", "--listen", LISTEN], args].concat();
    let tracer = Tracer::start(lab.node(), &words)?;
    scrape::wait(lab)?;
    Ok(tracer)
}
