//! Flows with something in common.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use foldhash::fast::RandomState;

use super::row::{Class, Place, Row};
use crate::{
    model::Scope,
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
    // most flows lose nothing
    if row.drops() == 0 && row.class != Class::Lost {
        return None;
    }
    picture.kinds.of(&row.facts).reason(row.turned).cloned()
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

impl Group {
    fn new(key: Key) -> Self {
        Self {
            key,
            class: Class::Fine,
            flows: 0,
            trouble: 0,
            packets: 0,
            rate: 0.0,
            drops: 0,
            drop_rate: 0.0,
        }
    }

    fn add(&mut self, row: &Row) {
        self.class = self.class.min(row.class);
        self.flows += 1;
        self.trouble += usize::from(row.class < Class::Suspicious);
        self.packets += row.packets();
        self.rate += row.rate;
        self.drops += row.drops();
        self.drop_rate += row.drop_rate;
    }
}

/// The groups of rows, those in most trouble first.
pub(super) fn groups(rows: &[&Row], by: By, picture: &Picture) -> Vec<Group> {
    let groups = match by {
        By::Source => by_address(rows, |r| r.facts.tuple(r.turned).src),
        By::Destination => by_address(rows, |r| r.facts.tuple(r.turned).dst),
        _ => by_key(rows, by, picture),
    };
    // they come in the order of their keys, and equal ones stay in it
    let mut order: Vec<(Class, usize, usize, u32)> = (0..)
        .zip(&groups)
        .map(|(i, g)| (g.class, usize::MAX - g.trouble, usize::MAX - g.flows, i))
        .collect();
    if order.is_sorted() {
        return groups;
    }
    order.sort_unstable();
    let mut groups: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
    let sorted = order
        .iter()
        .filter_map(|(.., i)| groups[*i as usize].take());
    sorted.collect()
}

/// There may be as many addresses as flows: they are sorted, which takes a fraction of the time
/// that a table of them does.
fn by_address(rows: &[&Row], address: impl Fn(&Row) -> IpAddr) -> Vec<Group> {
    let mut keys: Vec<(bool, u128, u32)> = (0..)
        .zip(rows)
        .map(|(i, row)| match address(row) {
            IpAddr::V4(a) => (false, a.to_bits().into(), i),
            IpAddr::V6(a) => (true, a.to_bits(), i),
        })
        .collect();
    keys.sort_unstable();
    let mut groups: Vec<Group> = Vec::new();
    for of_one in keys.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (ipv6, bits, _) = of_one[0];
        let address = if ipv6 {
            IpAddr::V6(bits.into())
        } else {
            IpAddr::V4((bits as u32).into())
        };
        let mut group = Group::new(Key::Address(address));
        for (.., i) in of_one {
            group.add(rows[*i as usize]);
        }
        groups.push(group);
    }
    groups
}

/// By something that many flows have in common.
fn by_key(rows: &[&Row], by: By, picture: &Picture) -> Vec<Group> {
    let mut groups: HashMap<Key, Group, RandomState> = HashMap::default();
    for row in rows {
        if let Some(key) = Key::of(row, by, picture) {
            let group = groups.entry(key);
            group.or_insert_with_key(|k| Group::new(k.clone())).add(row);
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    groups
}
