//! Names that try to disturb the screen.

use proptest::{prelude::any, proptest, strategy::Strategy as _, test_runner::Config};

use super::*;

/// Everything from outside is called `name`.
fn named(name: &str) -> Picture {
    let mut p = usual();
    let inventory = Arc::make_mut(&mut p.inventory);
    name.clone_into(&mut inventory.node);
    for netns in inventory.netns.values_mut() {
        netns.name = Some(name.to_owned());
        for link in netns.links.values_mut() {
            name.clone_into(&mut link.name);
        }
        for program in netns.programs.values_mut().flatten() {
            name.clone_into(&mut program.name);
        }
    }
    Arc::make_mut(&mut p.intent).sources = vec![name.to_owned()];
    let mut all = p.findings.to_vec();
    for f in &mut all {
        f.summary = format!("{name} is wrong");
        f.evidence = vec![name.to_owned()];
        f.next = format!("ip link show {name}");
    }
    let snapshot = Arc::make_mut(&mut p.snapshot);
    for flow in &mut snapshot.flows {
        let flow = Arc::make_mut(flow);
        for d in flow.forward.drops.iter_mut().chain(&mut flow.reply.drops) {
            (d.place.reason, d.place.symbol) = (name.into(), name.into());
        }
    }
    again(&Picture {
        findings: all.into(),
        ..p
    })
}

/// Every cell of every pane holds something that takes the columns it is given.
fn check(name: &str) {
    for size in [(80, 24), (130, 40)] {
        let mut s = state(size, named(name));
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

#[test]
fn a_name_is_shown_as_what_it_is() {
    let s = state((130, 40), named("\u{1b}[31m"));
    assert!(screen(&s).contains(r"\u{1b}[31m"), "{}", screen(&s));
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]
    #[test]
    fn any_name(name in any::<String>().prop_map(|s| s.chars().take(15).collect::<String>())) {
        check(&name);
    }
}
