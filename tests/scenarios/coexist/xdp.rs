//! XDP on the device: what it passes is traced as always, what it takes was never there.

use anyhow::{Result, ensure};
use harness::bpf::xdp::{Action, Mode, Xdp};
use harness::{Lab, Tracer, expect};

use super::{CHECK, END, LENGTH, ROUND, round, seen_at};

#[test]
fn xdp_programs_do_what_they_did() -> Result<()> {
    for mode in [Mode::Generic, Mode::Native] {
        for action in [Action::Pass, Action::Drop, Action::Back] {
            let what = format!("{mode:?} {action:?}");
            let lab = Lab::raise("router", None)?;
            let node = lab.node();
            let xdp = Xdp::attach(node, "in", mode, LENGTH, action)?;
            let without = (round(&lab)?, xdp.packets()?);
            ensure!(without.1 == u64::from(ROUND), "{what}: {without:?}");
            let tracer = Tracer::start(node, &CHECK)?;
            let with = (round(&lab)?, xdp.packets()? - without.1);
            ensure!(
                with == without,
                "{what}: {with:?} with tracer, {without:?} without"
            );
            let report = tracer.interrupt(END)?.json()?;
            expect::no_loss(&report)?;
            println!(
                "{what}: verdict {}, {} seen coming in",
                report["verdict"],
                seen_at(&report, "in", "in")?
            );
            if action == Action::Pass {
                let all = u64::from(ROUND);
                ensure!(report["verdict"] == "pass", "{what}: {report}");
                ensure!(seen_at(&report, "in", "in")? == all, "{what}: {report}");
                ensure!(seen_at(&report, "out", "out")? == all, "{what}: {report}");
            } else {
                // invisible to all hooks: no pass may come of it
                ensure!(report["verdict"] != "pass", "{what}: {report}");
                ensure!(seen_at(&report, "out", "out")? == 0, "{what}: {report}");
            }
        }
    }
    Ok(())
}

/// XDP comes and goes while tracer runs: attaching restarts the queues of the device.
#[test]
fn xdp_may_come_while_it_traces() -> Result<()> {
    for mode in [Mode::Generic, Mode::Native] {
        let lab = Lab::raise("router", None)?;
        let tracer = Tracer::start(lab.node(), &CHECK)?;
        for _ in 0..3 {
            let _xdp = Xdp::attach(lab.node(), "in", mode, LENGTH, Action::Pass)?;
            ensure!(round(&lab)? == u64::from(ROUND));
        }
        let report = tracer.interrupt(END)?.json()?;
        let all = 3 * u64::from(ROUND);
        ensure!(seen_at(&report, "in", "in")? == all, "{mode:?}: {report}");
        ensure!(seen_at(&report, "out", "out")? == all, "{mode:?}: {report}");
    }
    Ok(())
}
