//! A session without end forgets flows, and counts on when they come again.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::traffic::Udp;
use harness::{Lab, deadline};
use tracer::filter::Filter;
use tracer::model::Sums;
use tracer::pipeline::{self, PipelineEvent, SessionConfig};

/// The kernel's entry of a flow goes after 30 s without a packet, and then the flow.
const FORGOTTEN: Duration = Duration::from_mins(2);

/// Flows that are known, and the sums.
type Picture = (usize, Sums);

fn received(sums: &Sums) -> u64 {
    let volumes = sums.devices.values();
    volumes.map(|v| v.packets).sum()
}

#[test]
fn a_forgotten_flow_is_counted_on() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let config = SessionConfig {
        filter: Filter::parse("udp port 20000")?,
        forget: Some(Duration::from_secs(1)),
        ..SessionConfig::default()
    };
    let (pictures, shown) = mpsc::channel::<Picture>();
    let ns = lab.node().clone();
    let session = thread::spawn(move || {
        ns.run_with_sysfs(|| {
            pipeline::run(&config, &mut |event| match event {
                PipelineEvent::Snapshot(snapshot, _) => {
                    let picture = (
                        snapshot.flows.len(),
                        snapshot.sums.clone().unwrap_or_default(),
                    );
                    match pictures.send(picture) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(_) => ControlFlow::Break(()),
                    }
                }
                _ => ControlFlow::Continue(()),
            })
        })
    });
    let wait = |what: &str, wanted: &dyn Fn(&Picture) -> bool| {
        deadline::wait_for(what, FORGOTTEN, || {
            let ended = "the session ended";
            let picture = shown.recv_timeout(FORGOTTEN).context(ended)?;
            Ok(wanted(&picture).then_some(picture))
        })
    };
    wait("the first picture", &|_| true)?;
    let burst = Udp::to("10.2.0.2:20000")
        .sport(20_000)
        .count(5)
        .wait(Duration::ZERO);
    for round in 1..=2 {
        burst.send(lab.ns("a")?)?;
        // in and out
        let (flows, _) = wait("what was sent", &|(_, sums)| received(sums) >= round * 10)?;
        ensure!(flows == 1, "{flows} flows");
        let (_, sums) = wait("that it is forgotten", &|(flows, _)| *flows == 0)?;
        ensure!(received(&sums) == round * 10, "round {round}: {sums:?}");
    }
    drop(shown);
    let end = session
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))??;
    ensure!(end.snapshot.loss.is_zero(), "{:?}", end.snapshot.loss);
    Ok(())
}
