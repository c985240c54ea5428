//! The keys: one table for what they do and for the help about them.

use super::{
    action::Action,
    input::Key::{
        self, BackTab, Char, Ctrl, Down, End, Enter, Esc, Home, Left, PageDown, PageUp, Right, Tab,
        Up,
    },
    pane::Pane,
    replay::Seek,
};

/// Keys that do the same.
pub(super) struct Binding {
    /// The keys.
    pub(super) keys: &'static [Key],
    /// How help names them; empty to name each.
    pub(super) shown: &'static str,
    /// What help says.
    pub(super) help: &'static str,
    /// A word for the last line of the screen, for those that belong there.
    pub(super) short: &'static str,
    /// Only while a recording is shown (true), or only live.
    only: Option<bool>,
    action: fn(Key) -> Action,
}

impl Binding {
    /// Only while a recording is shown.
    const fn in_replay(self) -> Self {
        Self {
            only: Some(true),
            ..self
        }
    }

    /// Only live.
    const fn live(self) -> Self {
        Self {
            only: Some(false),
            ..self
        }
    }
}

const fn bind(
    keys: &'static [Key],
    shown: &'static str,
    short: &'static str,
    help: &'static str,
    action: fn(Key) -> Action,
) -> Binding {
    Binding {
        keys,
        shown,
        help,
        short,
        only: None,
        action,
    }
}

/// The keys that mean something: not all do while a recording is shown.
pub(super) fn shown(replay: bool) -> impl Iterator<Item = &'static Binding> {
    KEYS.iter()
        .filter(move |b| b.only.is_none_or(|only| only == replay))
}

/// All keys but those of the filter line.
const KEYS: &[Binding] = &[
    bind(&[Up, Char('k')], "Up k", "", "row up", |_| Action::Move(-1)),
    bind(&[Down, Char('j')], "Down j", "", "row down", |_| {
        Action::Move(1)
    }),
    bind(&[PageUp, Ctrl('b')], "PgUp ^B", "", "page up", |_| {
        Action::Page(-1)
    }),
    bind(&[PageDown, Ctrl('f')], "PgDn ^F", "", "page down", |_| {
        Action::Page(1)
    }),
    bind(
        &[Home, Char('g')],
        "Home g",
        "",
        "first row, and stay there",
        |_| Action::Top,
    ),
    bind(&[End, Char('G')], "End G", "", "last row", |_| {
        Action::Bottom
    }),
    bind(&[Tab], "", "", "next pane", |_| Action::Cycle(true)),
    bind(&[BackTab], "", "", "pane before", |_| Action::Cycle(false)),
    bind(
        &[Char('1'), Char('2'), Char('3'), Char('4'), Char('5')],
        "1 - 5",
        "",
        "flows, findings, drops, devices, routes",
        pane,
    ),
    bind(
        &[Enter],
        "",
        "open",
        "open: details, the flows of a finding or group",
        |_| Action::Open,
    ),
    bind(
        &[Esc],
        "",
        "",
        "back: close, then end group, filter and pause",
        |_| Action::Back,
    ),
    bind(
        &[Char('/')],
        "",
        "filter",
        "filter what is shown (tcpdump's language)",
        |_| Action::Filter,
    ),
    bind(
        &[Char('p'), Char(' ')],
        "p space",
        "play",
        "play, or pause",
        |_| Action::Replay(Seek::Toggle),
    )
    .in_replay(),
    bind(
        &[Char('.'), Right],
        ". Right",
        "step",
        "the next moment (a second)",
        |_| Action::Replay(Seek::Step(true)),
    )
    .in_replay(),
    bind(
        &[Char(','), Left],
        ", Left",
        "",
        "the moment before",
        |_| Action::Replay(Seek::Step(false)),
    )
    .in_replay(),
    bind(
        &[Char('n')],
        "",
        "next drop",
        "the next moment with a drop, from the end on the first",
        |_| Action::Replay(Seek::Drop(true)),
    )
    .in_replay(),
    bind(&[Char('N')], "", "", "the drop before", |_| {
        Action::Replay(Seek::Drop(false))
    })
    .in_replay(),
    bind(&[Char('<')], "", "", "the beginning", |_| {
        Action::Replay(Seek::End(false))
    })
    .in_replay(),
    bind(&[Char('>')], "", "", "the end", |_| {
        Action::Replay(Seek::End(true))
    })
    .in_replay(),
    bind(&[Char('+'), Char('=')], "+", "", "play faster", |_| {
        Action::Replay(Seek::Faster(true))
    })
    .in_replay(),
    bind(&[Char('-')], "", "", "play slower", |_| {
        Action::Replay(Seek::Faster(false))
    })
    .in_replay(),
    bind(
        &[Char('d')],
        "",
        "trouble",
        "only flows in trouble, or all",
        |_| Action::OnlyTrouble,
    ),
    bind(&[Char('s')], "", "sort", "sort by the next column", |_| {
        Action::Sort
    }),
    bind(&[Char('r')], "", "", "sort the other way round", |_| {
        Action::Reverse
    }),
    bind(
        &[Char('b')],
        "",
        "group",
        "group by source, destination, device, reason, scope",
        |_| Action::Group,
    ),
    bind(
        &[Char('c')],
        "",
        "",
        "clear: hide what is not seen again",
        |_| Action::Clear,
    ),
    bind(
        &[Char('y')],
        "",
        "copy",
        "copy the command of the next step",
        |_| Action::Copy,
    ),
    bind(
        &[Char('p'), Char(' ')],
        "p space",
        "pause",
        "pause, or go on",
        |_| Action::Pause,
    )
    .live(),
    bind(
        &[Char('w')],
        "",
        "record",
        "record what is shown to a file, or stop",
        |_| Action::Record,
    )
    .live(),
    bind(
        &[Char('x')],
        "",
        "",
        "export what is shown to a JSON file",
        |_| Action::Export,
    ),
    bind(&[Char('?'), Char('h')], "? h", "help", "this help", |_| {
        Action::Help
    }),
    bind(&[Ctrl('l')], "", "", "draw the screen again", |_| {
        Action::Redraw
    }),
    bind(&[Ctrl('z')], "", "", "stop; fg comes back", |_| {
        Action::Suspend
    }),
    bind(&[Char('q'), Ctrl('c')], "q ^C", "quit", "quit", |_| {
        Action::Quit
    }),
];

fn pane(key: Key) -> Action {
    let number = match key {
        Char(c) => c.to_digit(10).unwrap_or(1) as usize,
        _ => 1,
    };
    Action::Go(Pane::ALL[number.clamp(1, Pane::ALL.len()) - 1])
}

/// What a key does.
pub(super) fn action(key: Key, replay: bool) -> Option<Action> {
    let binding = shown(replay).find(|b| b.keys.contains(&key))?;
    Some((binding.action)(key))
}

impl Binding {
    /// How the keys are named.
    pub(super) fn name(&self) -> String {
        if self.shown.is_empty() {
            let names: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
            names.join(" ")
        } else {
            self.shown.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_key_does_one_thing_and_is_explained() {
        for replay in [false, true] {
            let mut seen = HashSet::new();
            for binding in shown(replay) {
                assert!(!binding.help.is_empty() && !binding.name().is_empty());
                for key in binding.keys {
                    assert!(seen.insert(*key), "{key} is bound twice");
                    assert!(action(*key, replay).is_some());
                }
            }
        }
        assert!(action(Char('Z'), false).is_none());
        assert!(action(Char('w'), true).is_none() && action(Char('n'), false).is_none());
    }

    #[test]
    fn digits_choose_panes() {
        assert!(matches!(
            action(Char('5'), true),
            Some(Action::Go(Pane::Routes))
        ));
    }
}
