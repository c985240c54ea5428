//! What users do, key by key.

use super::*;

const SIZE: (u16, u16) = (100, 30);

fn first_flow(s: &State) -> String {
    let shown = screen(s);
    let mut rows = shown.lines().skip_while(|l| !l.starts_with("! FLOW"));
    rows.nth(1).unwrap_or_default().to_owned()
}

#[test]
fn trouble_comes_first_and_stays_selected_at_the_top() {
    let mut s = state(SIZE, picture(vec![flows()[3].clone()], Vec::new()));
    assert!(first_flow(&s).contains("answered"));
    s.update(Action::Picture(later(&usual(), 1, 0)));
    assert!(first_flow(&s).contains("DROPPED"), "{}", screen(&s));
    assert!(first_flow(&s).ends_with('<'));
}

#[test]
fn the_selection_follows_its_flow() {
    let mut s = state(SIZE, picture(vec![flows()[3].clone()], Vec::new()));
    press(&mut s, "G");
    s.update(Action::Picture(usual()));
    let shown = screen(&s);
    let selected = shown.lines().find(|l| l.ends_with('<')).unwrap();
    assert!(
        selected.contains("40000") && selected.contains("answered"),
        "{shown}"
    );
    press(&mut s, "g");
    assert!(first_flow(&s).ends_with('<'));
}

#[test]
fn filter_with_live_errors() {
    let mut s = state(SIZE, usual());
    press(&mut s, "/udp prot 7");
    let shown = screen(&s);
    assert!(shown.contains("/udp prot 7"), "{shown}");
    let above = shown.lines().nth_back(1).unwrap();
    assert!(above.contains('▼'), "no caret: {above}");
    assert_eq!(above.chars().position(|c| c == '▼'), Some("/udp ".len()));
    press(&mut s, "\n");
    assert!(
        screen(&s).contains("/udp prot 7"),
        "a wrong filter was taken"
    );
    for _ in 0.."prot 7".len() {
        s.input(Input::Key(Key::Backspace));
    }
    press(&mut s, "and ip6\n");
    let shown = screen(&s);
    assert!(shown.contains("filter: udp and ip6"), "{shown}");
    assert!(
        shown.contains("1 flow ") && first_flow(&s).contains("2001:db8"),
        "{shown}"
    );
    // the first finding is about a flow that is not shown
    assert!(
        !shown.contains("[no-route]") && shown.contains("[left-unanswered]"),
        "{shown}"
    );
    press(&mut s, "\u{1b}");
    assert!(screen(&s).contains("4 flows") && screen(&s).contains("[no-route]"));
}

#[test]
fn a_filter_turns_flows_to_the_direction_that_matches() {
    let mut s = state(SIZE, usual());
    press(&mut s, "/src host 10.244.2.20\n");
    assert!(
        first_flow(&s).contains("10.244.2.20:7 > 10.244.1.10"),
        "{}",
        screen(&s)
    );
}

#[test]
fn from_a_finding_to_its_flows_and_back() {
    let mut s = state(SIZE, usual());
    press(&mut s, "2j\n");
    let shown = screen(&s);
    assert!(shown.contains("only left-unanswered"), "{shown}");
    assert!(first_flow(&s).contains("2001:db8:44:2::20"), "{shown}");
    assert_eq!(s.flows.len(), 1);
    press(&mut s, "\u{1b}");
    assert_eq!(s.flows.len(), 4);
}

#[test]
fn copies_the_next_step() {
    let mut s = state(SIZE, usual());
    let effects = press(&mut s, "y");
    assert!(
        matches!(&effects[..], [Effect::Copy(t)] if t == "ip route get 10.244.2.20"),
        "{effects:?}"
    );
    assert!(screen(&s).contains("copied: ip route get"));
    press(&mut s, "j");
    assert!(!screen(&s).contains("copied"), "the message stays for ever");
    let mut s = state(SIZE, nothing());
    assert!(press(&mut s, "y").is_empty());
}

#[test]
fn only_trouble_and_groups_narrow_and_esc_widens() {
    let mut s = state(SIZE, usual());
    press(&mut s, "d");
    assert_eq!(s.flows.len(), 3);
    press(&mut s, "bbb");
    assert!(screen(&s).contains("by device"), "{}", screen(&s));
    press(&mut s, "\n");
    assert!(s.flows.len() < 3 && !s.flows.grouped());
    press(&mut s, "\u{1b}\u{1b}");
    assert_eq!(s.flows.len(), 4);
}

#[test]
fn pause_holds_the_picture_and_goes_on_with_the_newest() {
    let p = usual();
    let mut s = state(SIZE, p.clone());
    press(&mut s, "p");
    let before = screen(&s);
    assert!(before.contains("PAUSED"));
    s.update(Action::Picture(later(&p, 5, 10)));
    assert_eq!(screen(&s), before);
    press(&mut s, " ");
    let shown = screen(&s);
    assert!(shown.contains("LIVE 00:00:15"), "{shown}");
}

#[test]
fn clear_hides_what_is_not_seen_again() {
    let p = usual();
    let mut s = state(SIZE, p.clone());
    press(&mut s, "c");
    assert_eq!(s.flows.len(), 0);
    let mut next = Snapshot::clone(&p.snapshot);
    next.at.0 += 1_000_000_000;
    Arc::make_mut(&mut next.flows[3]).forward.last = next.at;
    s.update(Action::Picture(again(&Picture {
        snapshot: Arc::new(next),
        ..p
    })));
    assert_eq!(s.flows.len(), 1);
    press(&mut s, "\u{1b}");
    assert_eq!(s.flows.len(), 4);
}

#[test]
fn rates_come_from_two_pictures() {
    let p = usual();
    let mut s = state(SIZE, p.clone());
    assert!(
        screen(&s).contains("0 pkt/s"),
        "the first picture has no rate"
    );
    let mut now = p;
    for _ in 0..20 {
        now = later(&now, 1, 100);
        s.update(Action::Picture(now.clone()));
    }
    let shown = screen(&s);
    assert!(shown.contains("400 pkt/s"), "{shown}");
}

#[test]
fn sorting_by_key_and_by_click() {
    let mut s = state(SIZE, many(50));
    press(&mut s, "s");
    assert_eq!(s.flows.sort, Column::Flow);
    assert!(screen(&s).contains("FLOW▲"), "{}", screen(&s));
    press(&mut s, "r");
    assert!(first_flow(&s).contains("10.244.1.10"), "{}", screen(&s));
    let head = s.areas().head;
    let x = screen(&s)
        .lines()
        .nth(head.y.into())
        .unwrap()
        .find("PKTS")
        .unwrap();
    let x = u16::try_from(x).unwrap();
    s.input(Input::Click(x, head.y));
    assert_eq!(s.flows.sort, Column::Packets);
}

#[test]
fn every_order_is_reached_at_every_width() {
    for size in [(200, 50), (80, 24), (40, 12)] {
        let mut s = state(size, usual());
        for column in Column::ALL.into_iter().skip(1).chain([Column::Mark]) {
            press(&mut s, "s");
            assert_eq!(s.flows.sort, column);
            let shown = screen(&s);
            let said = format!("sorted by: {}", column.order());
            assert!(shown.contains(&said), "{shown}");
        }
    }
    let mut s = state((80, 24), usual());
    press(&mut s, "ssssss2");
    assert!(screen(&s).contains("sorted by rate"), "{}", screen(&s));
}

#[test]
fn orders_are_those_of_what_is_shown() {
    let mut s = state((200, 50), many(300));
    let rows = |s: &State| {
        let shown = screen(s);
        let rows = shown
            .lines()
            .filter(|l| l.starts_with(['✓', '✗']) && l.contains(" > 10.244"));
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    s.update(Action::SortBy(Column::Flow));
    let flows: Vec<_> = rows(&s)
        .iter()
        .map(|r| r.split_whitespace().nth(2).unwrap().to_owned())
        .collect();
    let number = |t: &String| {
        let address = t.split(':').next().unwrap();
        address.parse::<std::net::Ipv4Addr>().unwrap()
    };
    assert!(
        flows.len() > 20 && flows.is_sorted_by_key(number),
        "{flows:?}"
    );
    // turned round they are ordered as they are shown: by what is the source then
    press(&mut s, "/src host 10.244.2.20\n");
    let shown = screen(&s);
    let turned: Vec<_> = shown
        .lines()
        .filter(|l| l.starts_with(['✓', '✗']) && l.contains("10.244.2.20:7 > "))
        .collect();
    let dst = |l: &&str| {
        let to = l.split(" > ").nth(1).unwrap().split(':').next().unwrap();
        to.parse::<std::net::Ipv4Addr>().unwrap()
    };
    assert!(turned.len() > 20 && turned.is_sorted_by_key(dst), "{shown}");
}

#[test]
fn what_a_filter_said_is_asked_again_when_a_flow_changed() {
    let p = usual();
    let mut s = state((200, 50), p.clone());
    press(&mut s, "/dev ens6\n");
    assert_eq!(s.flows.len(), 2);
    // the same again, one that leaves elsewhere now, and one in front of all others
    s.update(Action::Picture(later(&p, 1, 1)));
    assert_eq!(s.flows.len(), 2);
    let mut next = Snapshot::clone(&p.snapshot);
    next.at.0 += 2_000_000_000;
    let silent = Arc::make_mut(&mut next.flows[1]);
    silent.forward.path.truncate(1);
    let mut new = fixture::routed(Outcome::Forwarded(ETH1));
    new.id.tuple.sport = 1;
    next.flows.insert(0, Arc::new(new));
    s.update(Action::Picture(again(&Picture {
        snapshot: Arc::new(next),
        ..p
    })));
    let shown = screen(&s);
    assert_eq!(s.flows.len(), 2, "{shown}");
    assert!(
        shown.contains("10.244.1.10:1 >") && !shown.contains("UNANSWERED"),
        "{shown}"
    );
}

#[test]
fn the_mouse_selects_scrolls_and_changes_panes() {
    let mut s = state(SIZE, many(500));
    let list = s.areas().list;
    s.input(Input::Click(5, list.y + 2));
    assert_eq!(s.flows.at(), 2);
    s.input(Input::Wheel(true));
    assert_eq!(s.flows.at(), 5);
    let tabs = screen(&s)
        .lines()
        .nth(s.areas().tabs.y.into())
        .unwrap()
        .to_owned();
    let x = u16::try_from(tabs.find("Drops").unwrap()).unwrap();
    s.input(Input::Click(x, s.areas().tabs.y));
    assert_eq!(s.pane, Pane::Drops);
    s.input(Input::Click(500, 500));
}

#[test]
fn scrolling_through_very_many() {
    let mut s = state(SIZE, many(100_000));
    let height = usize::from(s.areas().list.height);
    s.input(Input::Key(Key::PageDown));
    assert_eq!(s.flows.at(), height - 1);
    press(&mut s, "G");
    assert_eq!(s.flows.at(), 99_999);
    assert!(screen(&s).lines().any(|l| l.ends_with('<')));
    press(&mut s, "k");
    assert_eq!(s.flows.at(), 99_998);
}

#[test]
fn equal_addresses_in_two_vnis_are_two_rows() {
    let one = other_scope(flows()[3].clone(), 42);
    let two = other_scope(flows()[3].clone(), 43);
    let mut s = state(SIZE, picture(vec![one, two], Vec::new()));
    assert_eq!(s.flows.len(), 2);
    assert!(screen(&s).contains("vni 42"), "{}", screen(&s));
    press(&mut s, "j");
    assert!(screen(&s).contains("vni 43"));
}

#[test]
fn keys_ask_for_effects() {
    let mut s = state(SIZE, usual());
    assert!(matches!(press(&mut s, "q")[..], [Effect::Quit]));
    assert!(matches!(
        s.input(Input::Key(Key::Ctrl('z')))[..],
        [Effect::Suspend]
    ));
    assert!(matches!(
        s.input(Input::Key(Key::Ctrl('l')))[..],
        [Effect::Redraw]
    ));
    let effects = press(&mut s, "/udp\nx");
    assert!(
        matches!(&effects[..], [Effect::Export(e)] if e.filter == "udp"),
        "{effects:?}"
    );
}

#[test]
fn a_recording_is_asked_for_and_shown() {
    let mut s = state(SIZE, usual());
    let effects = press(&mut s, "/udp\nw");
    assert!(
        matches!(&effects[..], [Effect::Record(f)] if f == "udp"),
        "{effects:?}"
    );
    let file = "tracer-n1-2026-11-22T050010.000Z.pcapng";
    for (size, wanted) in [
        (
            (140, 30),
            "REC tracer-n1-2026-11-22T050010.000Z.pcapng 1.5 MiB",
        ),
        ((80, 24), "REC …00Z.pcapng 1.5 MiB"),
        ((44, 14), "REC LIVE"),
    ] {
        s.update(Action::Resize(size.0, size.1));
        s.update(Action::Recording(Some((file.to_owned(), 3 << 19))));
        assert!(screen(&s).contains(wanted), "{}", screen(&s));
        s.update(Action::Recording(None));
        assert!(!screen(&s).contains("REC "), "{}", screen(&s));
    }
    s.update(Action::Say(
        "not recorded: cannot write: No space left".into(),
        true,
    ));
    assert!(screen(&s).contains("No space left"));
}

fn replayed(size: (u16, u16)) -> State {
    let setup = Setup {
        replay: Some("now.pcapng".to_owned()),
        ..setup()
    };
    let mut s = State::new(setup, size);
    s.update(Action::Picture(usual()));
    s
}

fn at(seconds: u64, playing: bool, speed: u32) -> Action {
    let time = |s: u64| crate::event::KtimeNs(fixture::START.0 + s * 1_000_000_000);
    Action::At(Position {
        at: time(seconds),
        end: time(60),
        playing,
        speed,
    })
}

#[test]
fn a_replay_says_where_it_is_and_its_keys_move_it() {
    let mut s = replayed(SIZE);
    s.update(at(10, false, 1));
    let shown = screen(&s);
    assert!(
        shown.contains("REPLAY 05:00:10.000 00:00:10/00:01:00 paused"),
        "{shown}"
    );
    assert!(shown.contains("now.pcapng"), "{shown}");
    s.update(at(11, true, 4));
    assert!(
        screen(&s).contains("00:00:11/00:01:00 playing 4×"),
        "{}",
        screen(&s)
    );
    s.update(Action::Resize(44, 14));
    assert!(
        screen(&s).contains("REPLAY 00:00:11/00:01:00 ► 4×"),
        "{}",
        screen(&s)
    );
    for (keys, seek) in [
        ("p", Seek::Toggle),
        (" ", Seek::Toggle),
        (".", Seek::Step(true)),
        (",", Seek::Step(false)),
        ("n", Seek::Drop(true)),
        ("N", Seek::Drop(false)),
        ("<", Seek::End(false)),
        (">", Seek::End(true)),
        ("+", Seek::Faster(true)),
        ("-", Seek::Faster(false)),
    ] {
        let effects = press(&mut s, keys);
        assert!(
            matches!(effects[..], [Effect::Replay(x)] if x == seek),
            "{keys}: {effects:?}"
        );
    }
    assert!(press(&mut s, "w").is_empty(), "a recording is recorded");
    s.update(Action::Resize(100, 60));
    press(&mut s, "?");
    let help = screen(&s);
    assert!(
        help.contains("the next moment with a drop") && !help.contains("record what"),
        "{help}"
    );
    let mut live = state((100, 60), usual());
    assert!(press(&mut live, "n.").is_empty());
    press(&mut live, "?");
    let help = screen(&live);
    assert!(
        !help.contains("the next moment with a drop") && help.contains("record what"),
        "{help}"
    );
}

#[test]
fn going_back_in_time_forgets_what_came_later() {
    let early = usual();
    let late = later(&early, 10, 1000);
    let mut s = replayed(SIZE);
    s.update(Action::Picture(late));
    assert!(!screen(&s).contains(" 0 pkt/s"), "{}", screen(&s));
    press(&mut s, "c");
    s.update(Action::Picture(early));
    let shown = screen(&s);
    assert!(
        shown.contains(" 0 pkt/s") && shown.contains("4 flows"),
        "{shown}"
    );
    assert_eq!(s.flows.len(), 4);
}

#[test]
fn the_findings_say_what_is_meant() {
    let mut p = usual();
    Arc::make_mut(&mut p.intent).sources = vec!["mode native (cluster file)".into()];
    let mut s = state(SIZE, p);
    press(&mut s, "2G");
    let shown = screen(&s);
    assert!(shown.contains("what is meant"), "{shown}");
    assert!(shown.contains("mode native (cluster file)"), "{shown}");
}

#[test]
fn devices_say_what_is_attached() {
    let mut p = usual();
    let mut s = state((170, 30), p.clone());
    press(&mut s, "4");
    let shown = screen(&s);
    let row = |shown: &str, dev: &str| {
        shown
            .lines()
            .find(|l| l.starts_with(dev))
            .unwrap()
            .to_owned()
    };
    let lxc = row(&shown, "lxc");
    assert!(
        lxc.contains("tcx") && lxc.contains("in cil_from_contai out id 8"),
        "{shown}"
    );
    p.attached = None;
    let mut s = state((170, 30), p);
    press(&mut s, "4");
    assert!(!row(&screen(&s), "lxc").contains("tcx"));
}
