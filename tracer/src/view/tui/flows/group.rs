//! Flows with something in common.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::row::{Class, Place, Row};
use crate::{
    model::{Outcome, Scope},
    view::{ViewContext, text::Text},
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
    pub(super) fn of(row: &Row, by: By) -> Option<Self> {
        let f = &row.flow;
        Some(match by {
            By::Flow => return None,
            By::Source => Self::Address(f.id.tuple.src),
            By::Destination => Self::Address(f.id.tuple.dst),
            By::Device => Self::Device(f.forward.hops().next_back().map(|h| (h.netns, h.dev))),
            By::Reason => {
                let dropped = |o: &Option<Outcome>| match o {
                    Some(Outcome::Dropped(reason)) => Some(reason.clone()),
                    _ => None,
                };
                let drops = f.forward.drops.iter().chain(&f.reply.drops);
                let reason = dropped(&f.forward.outcome)
                    .or_else(|| dropped(&f.reply.outcome))
                    .or_else(|| drops.map(|d| d.place.reason.clone()).next());
                Self::Reason(reason)
            }
            By::Scope => Self::Scope(f.id.scope),
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
pub(super) fn groups(rows: &[&Row], by: By) -> Vec<Group> {
    let mut groups: HashMap<Key, Group> = HashMap::new();
    for row in rows {
        let Some(key) = Key::of(row, by) else {
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
        group.drops += row.drops;
        group.drop_rate += row.drop_rate;
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| {
        (a.class, b.trouble, b.flows, &a.key).cmp(&(b.class, a.trouble, a.flows, &b.key))
    });
    groups
}
