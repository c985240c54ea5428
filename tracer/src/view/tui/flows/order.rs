//! Orders of the flow table.

use std::{collections::HashMap, net::IpAddr};

use foldhash::fast::RandomState;

use super::{Row, row::Place};
use crate::view::tui::{action::Picture, columns::Column};

/// Sorts row numbers, which come in the order of the snapshot: trouble first, then by first packet.
/// Equal ones stay in it. Numbers are sorted the largest first.
pub(super) fn sort(order: &mut [u32], rows: &[Row], by: Column, picture: &Picture) {
    let most = |n: u64| u64::MAX - n;
    match by {
        Column::Flow => by_flow(order, rows),
        Column::Path => {
            let names = names(picture);
            let rank = |p: Option<Place>| p.and_then(|p| names.get(&p)).map_or(0, |n| n + 1);
            by_key(order, rows, |r| {
                let [first, last] = r.ways(r.facts.ends)[0];
                rank(first) << 32 | rank(last)
            });
        }
        Column::Mark => by_key(order, rows, |r| {
            (r.class as u64) << 32 | u64::from(r.facts.finding)
        }),
        Column::State => by_key(order, rows, |r| {
            (r.class as u64) << 8 | u64::from(r.ways(r.facts.outcome)[0])
        }),
        Column::Drops => by_key(order, rows, |r| most(r.drops())),
        Column::Packets => by_key(order, rows, |r| most(r.ways(r.facts.packets)[0])),
        Column::Reply => by_key(order, rows, |r| most(r.ways(r.facts.packets)[1])),
        // no rate is negative: their bits are in their order
        Column::Rate => by_key(order, rows, |r| most(r.rate.to_bits())),
        Column::Age => by_key(order, rows, |r| most(r.last().0)),
    }
}

/// Keys beside numbers: rows lie far apart, and each is looked at once.
fn by_key(order: &mut [u32], rows: &[Row], key: impl Fn(&Row) -> u64) {
    let mut keys: Vec<(u64, u32)> = order
        .iter()
        .map(|i| (key(&rows[*i as usize]), *i))
        .collect();
    if keys.is_sorted() {
        return;
    }
    keys.sort_unstable();
    for (place, (_, i)) in order.iter_mut().zip(keys) {
        *place = i;
    }
}

/// By protocol, source, destination and ports.
fn by_flow(order: &mut [u32], rows: &[Row]) {
    let mut keys: Vec<(u16, u128, u32)> = order
        .iter()
        .map(|i| {
            let row = &rows[*i as usize];
            let t = row.facts.tuple(row.turned);
            let (family, src) = number(t.src);
            (u16::from(t.proto.0) << 1 | family, src, *i)
        })
        .collect();
    keys.sort_unstable();
    let mut behind: Vec<(u128, u32, u32)> = Vec::new();
    for of_source in keys.chunk_by_mut(|a, b| (a.0, a.1) == (b.0, b.1)) {
        if of_source.len() < 2 {
            continue;
        }
        behind.clear();
        behind.extend(of_source.iter().map(|(.., i)| {
            let row = &rows[*i as usize];
            let t = row.facts.tuple(row.turned);
            let ports = u32::from(t.sport) << 16 | u32::from(t.dport);
            (number(t.dst).1, ports, *i)
        }));
        behind.sort_unstable();
        for ((.., place), (.., i)) in of_source.iter_mut().zip(&behind) {
            *place = *i;
        }
    }
    for (place, (.., i)) in order.iter_mut().zip(keys) {
        *place = i;
    }
}

/// Family and address, in the order of addresses.
fn number(address: IpAddr) -> (u16, u128) {
    match address {
        IpAddr::V4(a) => (0, u128::from(a.to_bits())),
        IpAddr::V6(a) => (1, a.to_bits()),
    }
}

/// Devices in the order of their names.
fn names(picture: &Picture) -> HashMap<Place, u64, RandomState> {
    let mut names: Vec<(&str, Place)> = Vec::new();
    for netns in picture.inventory.netns.values() {
        let links = netns.links.values();
        names.extend(links.map(|l| (l.name.as_str(), (netns.id, l.ifindex))));
    }
    names.sort_unstable();
    names.into_iter().map(|(_, p)| p).zip(0..).collect()
}
