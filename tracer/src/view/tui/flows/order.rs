//! Orders of the flow table.

use std::{cmp::Reverse, collections::HashMap};

use super::{Row, row::Place};
use crate::{
    model::Direction,
    view::tui::{action::Picture, columns::Column},
};

/// Sorts row numbers, which come in the order of the snapshot: trouble first, then by first packet.
/// Equal ones stay in it. Numbers are sorted the largest first.
pub(super) fn sort(order: &mut [u32], rows: &[Row], by: Column, picture: &Picture) {
    let row = |i: &u32| &rows[*i as usize];
    match by {
        Column::Mark => order.sort_by_key(|i| (row(i).class, row(i).finding)),
        Column::Flow => order.sort_by_key(|i| row(i).flow.id),
        Column::Path => {
            let names = names(picture);
            let rank = |p: Option<Place>| p.and_then(|p| names.get(&p).copied());
            order.sort_by_cached_key(|i| {
                let (first, last) = ends(&row(i).flow.forward);
                (rank(first), rank(last))
            });
        }
        Column::State => order.sort_by_key(|i| {
            let f = &row(i).flow;
            let outcome = f.forward.outcome.as_ref().map(crate::model::Outcome::name);
            (row(i).class, outcome)
        }),
        Column::Drops => order.sort_by_key(|i| Reverse(row(i).drops)),
        Column::Packets => order.sort_by_key(|i| Reverse(row(i).flow.forward.packets)),
        Column::Rate => order.sort_by(|a, b| row(b).rate.total_cmp(&row(a).rate)),
        Column::Reply => order.sort_by_key(|i| Reverse(row(i).flow.reply.packets)),
        Column::Age => order.sort_by_cached_key(|i| Reverse(row(i).last())),
    }
}

/// The first and the last device of a path.
fn ends(d: &Direction) -> (Option<Place>, Option<Place>) {
    let mut hops = d.hops().map(|h| (h.netns, h.dev));
    let first = hops.next();
    (first, hops.next_back().or(first))
}

/// Devices in the order of their names.
fn names(picture: &Picture) -> HashMap<Place, usize> {
    let mut names: Vec<(&str, Place)> = Vec::new();
    for netns in picture.inventory.netns.values() {
        let links = netns.links.values();
        names.extend(links.map(|l| (l.name.as_str(), (netns.id, l.ifindex))));
    }
    names.sort_unstable();
    names.into_iter().map(|(_, p)| p).zip(0..).collect()
}
