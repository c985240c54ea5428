//! Packets that BPF programs send on, past routing.

use super::*;
use crate::inventory::{TcHook, TcProgram};

/// A device, a hook there, and the name of the program.
type At<'a> = (&'a str, TcHook, &'a str);

/// Pods behind `lxc-p1` and `lxc-p2`, the uplink `eth0`, and programs at these hooks.
fn node(programs: &[At<'_>]) -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab.pod("lxc-p1");
    lab.pod("lxc-p2");
    for (dev, hook, name) in programs {
        let dev = lab.dev(dev);
        let netns = lab.inventory.netns.get_mut(&HOME).unwrap();
        netns.programs.entry(dev).or_default().push(TcProgram {
            hook: *hook,
            id: Some(7),
            name: (*name).into(),
        });
    }
    lab
}

fn without_dst() -> RouteDecision {
    RouteDecision {
        bypass: true,
        ..RouteDecision::unknown(How::Inferred)
    }
}

/// The names behind the only decision of a direction; `None` when it is no redirect.
fn names(direction: &Direction) -> Option<Vec<String>> {
    let mut decisions = direction.path.iter().filter_map(|s| match s {
        Step::Route(d) => Some(d),
        Step::Hop(_) => None,
    });
    let found = decisions.next().unwrap();
    assert!(decisions.next().is_none(), "{direction:#?}");
    assert_eq!(found.decision.bypass, found.redirected_by.is_some());
    let names = found.redirected_by.as_ref()?;
    Some(names.iter().map(ToString::to_string).collect())
}

#[test]
fn a_program_at_the_ingress_sent_it_on() {
    use TcHook::{Egress, Ingress};
    let cases: [(&[At<'_>], &[&str]); 4] = [
        (&[("lxc-p1", Ingress, "from_pod")], &["from_pod"]),
        // nobody knows which of them it was; the same program twice is one name
        (
            &[
                ("lxc-p1", Ingress, "first"),
                ("lxc-p1", Ingress, "second"),
                ("lxc-p1", Ingress, "first"),
            ],
            &["first", "second"],
        ),
        // programs elsewhere were not asked
        (
            &[("lxc-p1", Egress, "to_pod"), ("eth0", Ingress, "netdev")],
            &[],
        ),
        (&[("lxc-p1", Ingress, "")], &["?"]),
    ];
    for (programs, expected) in cases {
        let mut lab = node(programs);
        lab.comes(there(), "lxc-p1", 3);
        lab.leaves(there(), "lxc-p1", "eth0", 3).route = Some(without_dst());
        lab.comes(back(), "eth0", 3);
        let snapshot = lab.later();
        let flow = only(&snapshot);
        assert_eq!(names(&flow.forward).unwrap(), expected);
        assert_eq!(
            lab.path(&flow.forward),
            "in lxc-p1 3 | unknown | out eth0 3"
        );
        assert_eq!(lab.outcome(&flow.forward), "forwarded eth0");
    }
}

#[test]
fn the_table_that_a_program_asked_is_named_when_it_followed_the_answer() {
    for (advice, table) in [("eth0", Some(254)), ("lxc-p2", None)] {
        let mut lab = node(&[("lxc-p1", TcHook::Ingress, "from_pod")]);
        lab.comes(there(), "lxc-p1", 3);
        let dev = lab.dev(advice);
        lab.leaves(there(), "lxc-p1", "eth0", 3).route = Some(RouteDecision {
            table: Some(254),
            dev: Some(dev),
            ..without_dst()
        });
        let snapshot = lab.snapshot();
        let flow = only(&snapshot);
        assert_eq!(names(&flow.forward).unwrap(), ["from_pod"]);
        let Step::Route(decision) = &flow.forward.path[1] else {
            panic!("{flow:#?}")
        };
        assert_eq!(decision.decision.table, table);
        assert_eq!(decision.decision.dev.is_some(), table.is_some());
    }
}

#[test]
fn a_route_that_was_looked_up_by_a_program_is_shown_with_it() {
    let mut lab = node(&[("lxc-p1", TcHook::Ingress, "from_pod")]);
    lab.comes(there(), "lxc-p1", 3);
    let sample = lab.leaves(there(), "lxc-p1", "eth0", 3);
    sample.route.as_mut().unwrap().bypass = true;
    let snapshot = lab.snapshot();
    let flow = only(&snapshot);
    assert_eq!(names(&flow.forward).unwrap(), ["from_pod"]);
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-p1 3 | unicast dev eth0 | out eth0 3"
    );
}

#[test]
fn a_program_at_the_egress_took_it_from_the_routed_device() {
    let mut lab = node(&[("eth0", TcHook::Egress, "to_netdev")]);
    lab.comes(there(), "lxc-p1", 3);
    lab.leaves(there(), "lxc-p1", "eth0", 3);
    let meant = lab.dev("eth0");
    let sample = lab.leaves(there(), "lxc-p1", "lxc-p2", 3);
    sample.route = Some(route(RouteKind::Unicast, Some(meant)));
    let snapshot = lab.snapshot();
    let flow = only(&snapshot);
    assert_eq!(
        lab.path(&flow.forward),
        "in lxc-p1 3 | unicast dev eth0 | out eth0 3 | unicast dev eth0 | out lxc-p2 3"
    );
    let Step::Route(decision) = &flow.forward.path[3] else {
        panic!("{flow:#?}")
    };
    assert_eq!(
        decision.redirected_by.as_deref(),
        Some(["to_netdev".into()].as_slice())
    );
    assert_eq!(lab.outcome(&flow.forward), "forwarded lxc-p2");
}

#[test]
fn what_was_not_redirected_is_not_called_so() {
    // a packet socket's packet has no dst entry either, but it did not come in
    let mut lab = node(&[("lxc-p1", TcHook::Ingress, "from_pod")]);
    lab.leaves(there(), "", "eth0", 3).route = Some(without_dst());
    let snapshot = lab.snapshot();
    assert_eq!(names(&only(&snapshot).forward), None);

    // from port to port of a bridge
    let mut lab = node(&[("lxc-p1", TcHook::Ingress, "from_pod")]);
    lab.link("br0", LinkKind::Bridge, Role::Bridge);
    lab.set_master("lxc-p1", "br0");
    lab.set_master("lxc-p2", "br0");
    lab.comes(there(), "lxc-p1", 3);
    lab.leaves(there(), "lxc-p1", "lxc-p2", 3).route = Some(without_dst());
    let snapshot = lab.snapshot();
    let flow = only(&snapshot);
    assert_eq!(names(&flow.forward), None);
    assert!(matches!(&flow.forward.path[1], Step::Route(d) if d.decision.bridged));
}

#[test]
fn a_packet_that_a_program_may_have_taken_is_not_lost() {
    let mut lab = node(&[("eth0", TcHook::Ingress, "from_netdev")]);
    lab.comes(back(), "eth0", 3);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    let outcome = lab.outcome(&flow.forward);
    assert!(
        outcome.starts_with(
            "unknown device eth0 carries the tc program from_netdev, which may have taken the packet"
        ),
        "{outcome}"
    );
}
