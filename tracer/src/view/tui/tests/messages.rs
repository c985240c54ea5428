//! What is told in the last rows, and when it goes away.

use super::*;

const NAME: &str =
    "tracer-ip-10-0-12-34.eu-central-1.compute.internal-2026-11-30T140957.229Z.pcapng";

fn said(size: (u16, u16), text: &str) -> State {
    let mut s = state(size, usual());
    s.update(Action::Say(text.to_owned(), true));
    s
}

#[test]
fn a_message_that_is_longer_than_a_row_takes_several() {
    let text =
        format!("not recorded: cannot write {NAME}; it holds what came before: No space left");
    let shown = screen(&said((80, 24), &text));
    let rows: Vec<&str> = shown.lines().collect();
    assert_eq!(rows.len(), 24);
    let last: String = rows[21..].iter().flat_map(|r| r.chars()).collect();
    assert!(last.contains("No space left"), "{shown}");
    // the name is broken where a row ends
    let text: String = last.split_whitespace().collect();
    assert!(text.contains(&format!("{NAME};")), "{shown}");
}

#[test]
fn a_message_never_takes_more_than_three_rows() {
    let shown = screen(&said((40, 12), &"many words ".repeat(40)));
    let rows = shown.lines().filter(|l| l.contains("many words"));
    assert_eq!(rows.count(), 3, "{shown}");
    assert!(
        shown.trim_end().ends_with('…'),
        "cut off, and it shows: {shown}"
    );
    // on a screen of one row there is one
    assert_eq!(
        screen(&said((40, 1), &"many words ".repeat(40)))
            .lines()
            .count(),
        1
    );
}

#[test]
fn keys_and_the_mouse_take_a_message_away() {
    for input in [
        Input::Key(Key::Down),
        Input::Click(5, 9),
        Input::Wheel(true),
    ] {
        let mut s = said((80, 24), "sorted by: drops");
        assert!(screen(&s).contains("sorted by: drops"));
        s.input(input.clone());
        assert!(!screen(&s).contains("sorted by: drops"), "{input:?}");
    }
}

#[test]
fn a_recording_that_starts_is_told_from_one_that_runs_where_its_name_has_no_room() {
    let mut s = state((44, 14), usual());
    s.update(Action::Recording(Some((String::new(), 0))));
    assert!(screen(&s).contains("REC… LIVE"), "{}", screen(&s));
    s.update(Action::Recording(Some((NAME.to_owned(), 512))));
    assert!(screen(&s).contains("REC LIVE"), "{}", screen(&s));
}

#[test]
fn the_way_out_is_shown_on_every_screen_that_has_room_for_it() {
    for width in [20, 40, 80, 120] {
        let shown = screen(&state((width, 24), usual()));
        let last = shown.lines().next_back().unwrap_or_default();
        assert!(
            last.contains("? help") && last.contains("q quit"),
            "{shown}"
        );
    }
}
