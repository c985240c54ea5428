//! Flows with something in common.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use foldhash::fast::RandomState;

use super::row::{Class, Place, Row};
use crate::{
    model::{Direction, Outcome, Scope},
    view::{ViewContext, text::Text, tui::action::Picture},
};

/// What flows are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::view::tui) enum By {
    #[default]
    Flow,
    Source,
    Destination,
    Device,
    Reason,
    Scope,
}

impl By {
    #[must_use]
    pub(in crate::view::tui) fn next(self) -> Self {
        match self {
            Self::Flow => Self::Source,
            Self::Source => Self::Destination,
            Self::Destination => Self::Device,
            Self::Device => Self::Reason,
            Self::Reason => Self::Scope,
            Self::Scope => Self::Flow,
        }
    }

    pub(in crate::view::tui) fn title(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Device => "device",
            Self::Reason => "drop reason",
            Self::Scope => "scope",
        }
    }
}

/// What the flows of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::view::tui) enum Key {
    Address(IpAddr),
    /// The last device passed.
    Device(Option<Place>),
    /// Why packets end; `None` when none does.
    Reason(Option<Arc<str>>),
    Scope(Scope),
}

impl Key {
    pub(super) fn of(row: &Row, by: By, picture: &Picture) -> Option<Self> {
        let facts = &row.facts;
        Some(match by {
            By::Flow => return None,
            By::Source => Self::Address(facts.tuple(row.turned).src),
            By::Destination => Self::Address(facts.tuple(row.turned).dst),
            By::Device => Self::Device(row.ways(facts.ends)[0][1]),
            By::Reason => Self::Reason(reason(row, picture)),
            By::Scope => Self::Scope(facts.id.scope),
        })
    }

    /// As the user reads it.
    pub(in crate::view::tui) fn label(&self, t: &Text<'_>) -> String {
        match self {
            Self::Address(a) => a.to_string(),
            Self::Device(Some((netns, dev))) => t.dev(*netns, *dev),
            Self::Device(None) => "no device".to_owned(),
            Self::Reason(Some(reason)) => t.style.name(reason).into_owned(),
            Self::Reason(None) => "no drop".to_owned(),
            Self::Scope(scope) => scope_label(&t.cx, t, scope),
        }
    }
}

/// Why packets of a flow end.
fn reason(row: &Row, picture: &Picture) -> Option<Arc<str>> {
    // most flows lose nothing, and need not be looked at
    if row.drops() == 0 && row.class != Class::Lost {
        return None;
    }
    let f = row.source(picture);
    let [first, second] = row.ways([&f.forward, &f.reply]);
    let dropped = |d: &Direction| match &d.outcome {
        Some(Outcome::Dropped(reason)) => Some(reason.clone()),
        _ => None,
    };
    let mut drops = first.drops.iter().chain(&second.drops);
    dropped(first)
        .or_else(|| dropped(second))
        .or_else(|| drops.next().map(|d| d.place.reason.clone()))
}

fn scope_label(cx: &ViewContext<'_>, t: &Text<'_>, scope: &Scope) -> String {
    let netns = cx.netns(scope.netns);
    let netns = if scope.netns == cx.inventory.home {
        String::new()
    } else {
        format!("{} ", t.style.name(&netns))
    };
    let dev = scope.dev.map_or_else(
        || "this node".to_owned(),
        |d| format!("in by {}", t.style.name(&cx.dev(scope.netns, d))),
    );
    let vni = scope.vni.map_or_else(String::new, |v| format!(" vni {v}"));
    format!("{netns}{dev}{vni}")
}

/// A group of flows.
#[derive(Clone, Debug)]
pub(in crate::view::tui) struct Group {
    pub(in crate::view::tui) key: Key,
    /// Of its worst flow.
    pub(in crate::view::tui) class: Class,
    pub(in crate::view::tui) flows: usize,
    /// Flows in trouble.
    pub(in crate::view::tui) trouble: usize,
    pub(in crate::view::tui) packets: u64,
    pub(in crate::view::tui) rate: f64,
    pub(in crate::view::tui) drops: u64,
    pub(in crate::view::tui) drop_rate: f64,
}

/// The groups of rows, those in most trouble first.
pub(super) fn groups(rows: &[&Row], by: By, picture: &Picture) -> Vec<Group> {
    let mut groups: HashMap<Key, Group, RandomState> = HashMap::default();
    for row in rows {
        let Some(key) = Key::of(row, by, picture) else {
            continue;
        };
        let group = groups.entry(key).or_insert_with_key(|key| Group {
            key: key.clone(),
            class: Class::Fine,
            flows: 0,
            trouble: 0,
            packets: 0,
            rate: 0.0,
            drops: 0,
            drop_rate: 0.0,
        });
        group.class = group.class.min(row.class);
        group.flows += 1;
        group.trouble += usize::from(row.class < Class::Suspicious);
        group.packets += row.packets();
        group.rate += row.rate;
        group.drops += row.drops();
        group.drop_rate += row.drop_rate;
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        (a.class, b.trouble, b.flows, &a.key).cmp(&(b.class, a.trouble, a.flows, &b.key))
    });
    groups
}
