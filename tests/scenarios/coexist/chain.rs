//! Foreign tcx and clsact programs, before and behind ours, that let pass, drop and redirect.

use anyhow::{Result, ensure};
use harness::bpf::redirect::{Redirect, Way};
use harness::bpf::{self, Answer, Foreign, Hook, Pinned, Place};
use harness::{Lab, Tracer, expect};
use serde_json::{Value, json};

use super::{CHECK, END, LENGTH, ROUND, round, seen_at};

const HOOKS: [(&str, Hook); 2] = [("in", Hook::Ingress), ("out", Hook::Egress)];
const ANSWERS: [Answer; 3] = [Answer::Next, Answer::Pass, Answer::Drop];

#[test]
fn tcx_programs_do_what_they_did() -> Result<()> {
    for (dev, hook) in HOOKS {
        for place in [Place::First, Place::Last] {
            for answer in ANSWERS {
                let what = format!("{place:?} at {hook:?} of {dev}, {answer:?}");
                let lab = Lab::raise("router", None)?;
                let node = lab.node();
                let attach = || Foreign::attach(node, dev, (hook, place), LENGTH, answer);
                let foreign = attach()?;
                let without = (round(&lab)?, foreign.packets()?);
                // one that wants to be before ours comes later
                let foreign = if place == Place::First {
                    drop(foreign);
                    None
                } else {
                    Some(foreign)
                };
                let tracer = Tracer::start(node, &CHECK)?;
                let (foreign, already) = match foreign {
                    Some(foreign) => (foreign, without.1),
                    None => (attach()?, 0),
                };
                if hook == Hook::Egress {
                    let names: Vec<String> = bpf::attached(node, dev, hook)?
                        .into_iter()
                        .map(|program| program.name)
                        .collect();
                    let ours = usize::from(place == Place::First);
                    ensure!(
                        names.get(ours).is_some_and(|name| name == "tracer_egress"),
                        "{what}: {names:?}"
                    );
                }
                let with = (round(&lab)?, foreign.packets()? - already);
                ensure!(
                    with == without,
                    "{what}: {with:?} with tracer, {without:?} without"
                );
                let report = tracer.interrupt(END)?.json()?;
                if (place, hook, answer) == (Place::First, Hook::Egress, Answer::Pass) {
                    // it decides, and nobody behind it is asked: said as not known
                    ensure!(seen_at(&report, "out", "out")? == 0, "{what}: {report}");
                    let wanted = json!({"dst": "10.2.0.2", "outcome": "unknown"});
                    expect::flow(&report, &wanted)?;
                } else {
                    judged(&report, answer == Answer::Drop, &what)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn clsact_filters_do_what_they_did() -> Result<()> {
    for (dev, hook) in HOOKS {
        for answer in ANSWERS {
            for late in [false, true] {
                let what = format!("clsact at {hook:?} of {dev}, {answer:?}, late: {late}");
                let lab = Lab::raise("router", None)?;
                let filter = Pinned::answering("tracer-coexist", LENGTH, answer)?;
                add(&lab, dev, hook, &filter)?;
                let without = (round(&lab)?, filter.packets()?);
                if late {
                    lab.node()
                        .exec(&["tc", "qdisc", "del", "dev", dev, "clsact"])?;
                }
                let tracer = Tracer::start(lab.node(), &CHECK)?;
                if late {
                    add(&lab, dev, hook, &filter)?;
                }
                let with = (round(&lab)?, filter.packets()? - without.1);
                ensure!(
                    with == without,
                    "{what}: {with:?} with tracer, {without:?} without"
                );
                let report = tracer.interrupt(END)?.json()?;
                judged(&report, answer == Answer::Drop, &what)?;
                let left = filters(&lab, dev, hook)?;
                ensure!(left == 1, "{what}: {left} filters are left of one");
            }
        }
    }
    Ok(())
}

/// What goes into the sink of another device, or past routing, goes there with tracer too.
#[test]
fn redirecting_programs_do_what_they_did() -> Result<()> {
    for ((dev, hook), way, to) in [
        (("in", Hook::Ingress), Way::Neighbour, "out"),
        // back to where it came from, with an address that is not its
        (("out", Hook::Egress), Way::Device, "in"),
    ] {
        let what = format!("{way:?} from {hook:?} of {dev} to {to}");
        let lab = Lab::raise("router", None)?;
        let node = lab.node();
        let redirect = Redirect::tcx(node, (dev, hook), "foreign", (way, to))?;
        let without = round(&lab)?;
        let tracer = Tracer::start(node, &CHECK)?;
        let with = round(&lab)?;
        ensure!(
            with == without,
            "{what}: {with} came back with tracer, {without} without"
        );
        drop(redirect);
        let plain = round(&lab)?;
        ensure!(plain == u64::from(ROUND), "without the program: {plain}");
        let report = tracer.interrupt(END)?.json()?;
        expect::no_loss(&report)?;
        let both = 2 * u64::from(ROUND);
        ensure!(seen_at(&report, "in", "in")? == both, "{what}: {report}");
        println!("{what}: {with} of {ROUND} came back");
    }
    Ok(())
}

/// As Cilium does on kernels without tcx: `tc filter replace … pref 1 handle 1`, again and again.
#[test]
fn a_filter_that_replaces_handle_one_stays_when_tracer_ends() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let tracer = Tracer::start(lab.node(), &CHECK)?;
    let filter = Pinned::new("tracer-coexist", LENGTH)?;
    let node = lab.node();
    let tcx = bpf::has_tcx(node)?;
    let _exists = node.output(&["tc", "qdisc", "add", "dev", "out", "clsact"])?;
    let path = filter.path();
    let replace = [
        "tc", "filter", "replace", "dev", "out", "egress", "pref", "1", "handle", "1",
    ];
    let what = ["bpf", "da", "object-pinned", &path];
    for _ in 0..2 {
        node.exec(&[&replace[..], &what[..]].concat())?;
        ensure!(round(&lab)? == u64::from(ROUND));
    }
    let report = tracer.interrupt(END)?.json()?;
    let both = 2 * u64::from(ROUND);
    // among clsact filters of one priority the newest comes first, and it lets all pass: not known
    let seen = if tcx { both } else { 0 };
    ensure!(seen_at(&report, "out", "out")? == seen, "{report}");
    ensure!(filter.packets()? == both, "{} counted", filter.packets()?);
    ensure!(round(&lab)? == u64::from(ROUND));
    ensure!(
        filter.packets()? == both + u64::from(ROUND),
        "the foreign filter went with tracer: {} counted",
        filter.packets()?
    );
    Ok(())
}

fn add(lab: &Lab, dev: &str, hook: Hook, filter: &Pinned) -> Result<()> {
    let node = lab.node();
    // on a kernel without tcx tracer has made it
    let _exists = node.output(&["tc", "qdisc", "add", "dev", dev, "clsact"])?;
    let path = filter.path();
    let add = ["tc", "filter", "add", "dev", dev, side(hook), "prio", "7"];
    let what = ["bpf", "da", "object-pinned", &path];
    node.exec(&[&add[..], &what[..]].concat()).map(drop)
}

fn filters(lab: &Lab, dev: &str, hook: Hook) -> Result<usize> {
    let shown = lab
        .node()
        .exec(&["tc", "filter", "show", "dev", dev, side(hook)])?;
    Ok(shown
        .lines()
        .filter(|line| line.contains(" handle "))
        .count())
}

fn side(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => "ingress",
        Hook::Egress => "egress",
    }
}

/// What the program drops is told as dropped there, everything else as it went.
fn judged(report: &Value, dropped: bool, what: &str) -> Result<()> {
    expect::no_loss(report)?;
    let all = u64::from(ROUND);
    ensure!(seen_at(report, "in", "in")? == all, "{what}: {report}");
    if !dropped {
        ensure!(report["verdict"] == "pass", "{what}: {report}");
        ensure!(seen_at(report, "out", "out")? == all, "{what}: {report}");
        return Ok(());
    }
    ensure!(report["verdict"] == "fail", "{what}: {report}");
    let flow = expect::flow(report, &json!({"dst": "10.2.0.2", "dport": 7}))?;
    let count: u64 = flow["drops"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|drop| drop["count"].as_u64())
        .sum();
    ensure!(count == all, "{what}: {count} drops: {flow}");
    Ok(())
}
