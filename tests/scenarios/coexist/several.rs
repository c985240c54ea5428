//! Three tracers at once.

use anyhow::{Result, ensure};
use harness::bpf::held::Held;
use harness::{Lab, Tracer, deadline};
use nix::sys::signal::Signal;

use super::{CHECK, END, ROUND, round, seen_at, traced};

#[test]
fn three_at_once_see_the_same_and_none_hurts_another() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let first = Tracer::start(node, &CHECK)?;
    ensure!(round(&lab)? == u64::from(ROUND));
    let second = Tracer::start(node, &CHECK)?;
    let third = Tracer::start(node, &["watch", "--packets", "udp", "port", "7"])?;
    ensure!(round(&lab)? == u64::from(ROUND));
    // one is killed, one ends, and the first goes on
    let held = [Held::by(second.pid())?, Held::by(third.pid())?];
    third.signal(Signal::SIGKILL)?;
    third.wait(END)?;
    ensure!(round(&lab)? == u64::from(ROUND));
    let report = second.interrupt(END)?.expect_code(0)?.json()?;
    let one = u64::from(ROUND);
    for (dev, dir) in [("in", "in"), ("out", "out")] {
        let seen = seen_at(&report, dev, dir)?;
        ensure!(seen == 2 * one, "the second saw {seen} at {dev}");
    }
    for held in &held[..1] {
        held.wait_gone()?;
    }
    ensure!(traced(node, "out")?, "the first went with the others");
    ensure!(round(&lab)? == one);
    let report = first.interrupt(END)?.expect_code(0)?.json()?;
    for (dev, dir) in [("in", "in"), ("out", "out")] {
        let seen = seen_at(&report, dev, dir)?;
        ensure!(seen == 4 * one, "the first saw {seen} at {dev}");
    }
    // where there is no tcx, the next one removes what the killed one left
    if traced(node, "out")? {
        Tracer::start(node, &CHECK)?.interrupt(END)?;
    }
    held[1].wait_gone()?;
    deadline::wait_for("the end of the attachments", END, || {
        Ok((!traced(node, "in")? && !traced(node, "out")?).then_some(()))
    })?;
    ensure!(round(&lab)? == one);
    Ok(())
}
