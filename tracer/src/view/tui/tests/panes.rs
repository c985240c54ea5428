//! Each pane: as usual, with nothing in it, in little room, with very many flows.

use insta::assert_snapshot;
use rstest::rstest;

use super::*;

const SIZE: (u16, u16) = (80, 24);

#[rstest]
#[case("flows", '1')]
#[case("findings", '2')]
#[case("drops", '3')]
#[case("devices", '4')]
#[case("routes", '5')]
#[case("help", '?')]
fn each_pane(#[case] name: &str, #[case] key: char) {
    for (kind, size, picture) in [
        ("usual", SIZE, usual()),
        ("empty", SIZE, nothing()),
        ("narrow", (44, 14), usual()),
        ("wide", (140, 30), usual()),
        ("many", SIZE, many(100_000)),
    ] {
        let mut s = state(size, picture);
        press(&mut s, &key.to_string());
        assert_snapshot!(format!("{name}-{kind}"), screen(&s));
    }
}

#[test]
fn details() {
    let mut s = state(SIZE, usual());
    press(&mut s, "\n");
    assert_snapshot!("details-lost", screen(&s));
    press(&mut s, "\u{1b}jj\n");
    assert_snapshot!("details-asymmetric", screen(&s));
    press(&mut s, "jj");
    assert_snapshot!("details-scrolled", screen(&s));
}

#[test]
fn groups() {
    let mut s = state(SIZE, usual());
    for by in ["source", "destination", "device", "reason", "scope"] {
        press(&mut s, "b");
        assert_snapshot!(format!("group-{by}"), screen(&s));
    }
}

#[test]
fn losses_of_tracer_and_limits_are_on_the_first_screen() {
    let mut p = usual();
    Arc::get_mut(&mut p.snapshot).unwrap().loss.events = 3;
    p.limits = Arc::from([limit()]);
    let s = state(SIZE, p.clone());
    let shown = screen(&s);
    assert!(shown.contains("tracer lost 3"), "{shown}");
    assert!(shown.contains("1 not seen"), "{shown}");
    let mut s = state((160, 40), p);
    press(&mut s, "2G");
    let shown = screen(&s);
    assert!(shown.contains("eth9 could not be attached"), "{shown}");
}

#[test]
fn ascii_is_ascii() {
    let mut setup = setup();
    setup.style.ascii = true;
    for size in [SIZE, (140, 40)] {
        let mut s = State::new(setup.clone(), size);
        s.update(Action::Picture(usual()));
        for key in ["1", "2", "3", "4", "5", "1\n", "?", "\u{1b}b", "/udp prot"] {
            press(&mut s, key);
            let shown = screen(&s);
            assert!(shown.is_ascii(), "after {key:?}:\n{shown}");
        }
    }
}

/// Marks and words say what colours say; without colours no cell has one.
#[rstest]
#[case(true)]
#[case(false)]
fn colours_only_when_asked_for_and_never_a_background(#[case] color: bool) {
    use ratatui::style::Color;
    let mut setup = setup();
    setup.style.color = color;
    let mut s = State::new(setup, SIZE);
    s.update(Action::Picture(usual()));
    let buffer = buffer(&s);
    let mut colours: Vec<Color> = buffer.content.iter().map(|c| c.fg).collect();
    assert!(buffer.content.iter().all(|c| c.bg == Color::Reset));
    colours.retain(|c| *c != Color::Reset);
    assert_eq!(!colours.is_empty(), color);
    let basic = [Color::Red, Color::Yellow, Color::Green];
    assert!(colours.iter().all(|c| basic.contains(c)));
}

#[test]
fn every_size_can_be_drawn() {
    for pane in ['1', '2', '3', '4', '5', '?'] {
        let mut s = state(SIZE, usual());
        press(&mut s, &pane.to_string());
        for width in [1, 2, 5, 10, 20, 39, 40, 64, 81, 111, 300] {
            for height in [1, 2, 3, 5, 8, 12, 13, 17, 25, 60] {
                s.update(Action::Resize(width, height));
                assert_eq!(screen(&s).lines().count(), usize::from(height));
                press(&mut s, "/udp prot 53");
                screen(&s);
                press(&mut s, "\u{1b}");
            }
        }
    }
}

#[test]
fn before_the_first_picture() {
    let s = State::new(setup(), SIZE);
    assert!(screen(&s).contains("starting"));
}
