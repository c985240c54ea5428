//! Names that try to disturb the screen.

use proptest::{prelude::any, proptest, strategy::Strategy as _, test_runner::Config};

use rstest::rstest;

use super::*;
use crate::{
    event::RouteFailure,
    inventory::{Netns, Owner},
};

/// What can have a name that somebody else chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Node,
    Device,
    Netns,
    /// Of pods here and elsewhere.
    Pod,
    /// A sender that found no route.
    Process,
    /// A BPF program of others.
    Program,
    /// Reason and function of drops.
    Drop,
    /// A finding's words, and what they take to be meant.
    Finding,
}

const ALL: [Named; 8] = [
    Named::Node,
    Named::Device,
    Named::Netns,
    Named::Pod,
    Named::Process,
    Named::Program,
    Named::Drop,
    Named::Finding,
];

/// All of these are called `name`.
fn named(name: &str, what: &[Named]) -> Picture {
    let mut p = usual();
    let has = |n| what.contains(&n);
    let inventory = Arc::make_mut(&mut p.inventory);
    if has(Named::Node) {
        name.clone_into(&mut inventory.node);
    }
    if has(Named::Pod) {
        let pod = || Owner::pod(name, name, None);
        let named = fixture::named_inventory();
        let mine = named.netns[&fixture::POD].clone();
        let home = inventory.netns.get_mut(&HOME).unwrap();
        home.links.get_mut(&LXC).unwrap().peer_netns = Some(mine.id);
        let owner = Some(pod());
        inventory.netns.insert(mine.id, Netns { owner, ..mine });
        inventory.peers = named.peers.keys().map(|a| (*a, pod())).collect();
    }
    for netns in inventory.netns.values_mut() {
        if has(Named::Netns) {
            netns.name = Some(name.to_owned());
        }
        for link in netns.links.values_mut().filter(|_| has(Named::Device)) {
            name.clone_into(&mut link.name);
        }
        for program in netns.programs.values_mut().flatten() {
            if has(Named::Program) {
                name.clone_into(&mut program.name);
            }
        }
    }
    let mut all = p.findings.to_vec();
    if has(Named::Finding) {
        Arc::make_mut(&mut p.intent).sources = vec![name.to_owned()];
        for f in &mut all {
            f.summary = format!("{name} is wrong");
            f.evidence = vec![name.to_owned()];
            f.next = format!("ip link show {name}");
        }
    }
    let snapshot = Arc::make_mut(&mut p.snapshot);
    for flow in &mut snapshot.flows {
        let flow = Arc::make_mut(flow);
        for d in flow.forward.drops.iter_mut().chain(&mut flow.reply.drops) {
            if has(Named::Drop) {
                (d.place.reason, d.place.symbol) = (name.into(), name.into());
            }
        }
        if has(Named::Process) {
            flow.route_failures = vec![failure(flow, name)].into();
        }
    }
    again(&Picture {
        findings: all.into(),
        ..p
    })
}

fn failure(flow: &Flow, comm: &str) -> RouteFailure {
    RouteFailure {
        tuple: flow.id.tuple,
        netns: HOME,
        table: 254,
        errno: 101,
        asked: crate::event::Asked::default(),
        by_rule: false,
        count: 2,
        first: flow.forward.first,
        last: flow.forward.last,
        pid: 4711,
        comm: comm.to_owned(),
    }
}

/// Every cell of every pane holds something that takes the columns it is given.
fn check(name: &str) {
    for size in [(80, 24), (130, 40)] {
        let mut s = state(size, named(name, &ALL));
        s.update(Action::Recording(Some((name.to_owned(), 1))));
        for keys in ["1", "2", "3", "4", "5", "1\n", "\u{1b}b", "\u{1b}/"] {
            press(&mut s, keys);
            let buffer = buffer(&s);
            for y in 0..size.1 {
                let mut x = 0;
                while x < size.0 {
                    let symbol = buffer[(x, y)].symbol();
                    let mut chars = symbol.chars();
                    let c = chars.next().unwrap();
                    assert!(
                        chars.next().is_none(),
                        "{symbol:?} is more than a character"
                    );
                    assert!(!c.is_control(), "{c:?} at {x} {y} after {keys:?}");
                    let width = unicode_width::UnicodeWidthChar::width(c).unwrap();
                    assert!((1..=2).contains(&width), "{c:?} takes {width} columns");
                    assert!(x + width as u16 <= size.0, "{c:?} is cut in half");
                    x += width as u16;
                }
            }
        }
    }
}

#[test]
fn escape_sequences_wide_and_combining_characters() {
    for name in [
        "\u{1b}[2J\u{1b}[H\u{1b}]0;x\u{7}",
        "\u{9b}31mred",
        "漢字漢字漢字漢字",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{1f1e9}\u{1f1ea}",
        "\u{202e}0hte",
        "a\nb\rc\td",
        "",
        "x\u{0}",
        "한국어한국어",
        "ﷺﷺﷺ",
        "\u{9bf}",
    ] {
        check(name);
    }
}

/// Each by itself, where it is shown.
#[rstest]
#[case(Named::Node, "1")]
#[case(Named::Device, "4")]
#[case(Named::Netns, "4")]
#[case(Named::Pod, "1G")]
#[case(Named::Process, "3")]
#[case(Named::Program, "4")]
#[case(Named::Drop, "3")]
#[case(Named::Finding, "2")]
fn a_name_is_shown_as_what_it_is(#[case] what: Named, #[case] keys: &str) {
    for (name, shown) in [
        ("\u{1b}[31m", r"\u{1b}[31m"),
        ("\u{1b}]0;x\u{7}", r"\u{1b}]0;x"),
        ("e\u{301}x", r"e\u{301}x"),
        ("漢字", "漢 字"),
    ] {
        let mut s = state((200, 40), named(name, &[what]));
        press(&mut s, keys);
        let screen = screen(&s);
        assert!(screen.contains(shown), "{what:?} {name:?}:\n{screen}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]
    #[test]
    fn any_name(name in any::<String>().prop_map(|s| s.chars().take(15).collect::<String>())) {
        check(&name);
    }
}
