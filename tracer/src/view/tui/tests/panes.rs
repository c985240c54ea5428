//! Each pane: as usual, with nothing in it, in little room, with very many flows.

use std::sync::LazyLock;

use insta::assert_snapshot;
use rstest::rstest;

use super::*;

const SIZE: (u16, u16) = (80, 24);

/// Made once for all tests.
fn very_many() -> Picture {
    static MANY: LazyLock<Picture> = LazyLock::new(|| many(100_000));
    MANY.clone()
}

#[rstest]
#[case("flows", "1")]
#[case("path", "1G")]
#[case("details", "1\n")]
#[case("groups", "b")]
#[case("findings", "2")]
#[case("drops", "3")]
#[case("devices", "4")]
#[case("routes", "5")]
#[case("help", "?")]
#[case("filter", "/udp prot 7")]
#[case("filtered", "/not udp\n")]
fn each_pane(#[case] name: &str, #[case] keys: &str) {
    for (kind, size, picture) in [
        ("usual", SIZE, usual()),
        ("empty", SIZE, nothing()),
        ("narrow", (44, 14), usual()),
        ("wide", (140, 30), usual()),
        ("many", SIZE, very_many()),
    ] {
        let mut s = state(size, picture);
        press(&mut s, keys);
        assert_snapshot!(format!("{name}-{kind}"), screen(&s));
    }
}

/// All that a header can have to say: what tracer lost, what is not seen, a filter of the start, a
/// file that is written, and that the picture is held.
#[test]
fn header() {
    for (kind, size, mut picture) in [
        ("usual", SIZE, usual()),
        ("empty", SIZE, nothing()),
        ("narrow", (44, 18), usual()),
        ("wide", (160, 24), usual()),
        ("many", SIZE, very_many()),
    ] {
        Arc::make_mut(&mut picture.snapshot).loss.events = 3;
        picture.limits = Arc::from([limit()]);
        let setup = Setup {
            filter: "udp or tcp".to_owned(),
            ..setup()
        };
        let mut s = State::new(setup, size);
        s.update(Action::Picture(picture));
        let file = "tracer-n1-2026-11-22T050010.000Z.pcapng";
        s.update(Action::Recording(Some((file.to_owned(), 3 << 19))));
        press(&mut s, "dp");
        assert_snapshot!(format!("header-{kind}"), screen(&s));
    }
}

#[test]
fn replay() {
    for (kind, size, picture) in [
        ("usual", SIZE, usual()),
        ("empty", SIZE, nothing()),
        ("narrow", (44, 18), usual()),
        ("wide", (160, 24), usual()),
        ("many", SIZE, very_many()),
    ] {
        let setup = Setup {
            replay: Some("now.pcapng".to_owned()),
            ..setup()
        };
        let mut s = State::new(setup, size);
        let time = |s: u64| crate::event::KtimeNs(fixture::START.0 + s * 1_000_000_000);
        s.update(Action::At(Position {
            at: time(10),
            end: time(60),
            playing: true,
            speed: 4,
        }));
        s.update(Action::Picture(picture));
        assert_snapshot!(format!("replay-{kind}"), screen(&s));
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
    Arc::make_mut(&mut p.snapshot).loss.events = 3;
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
