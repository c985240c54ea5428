//! Rules and routes of the node with how many of the flows seen they decided about.

use std::collections::HashMap;

use crate::{
    inventory::{Netns, Route, Rule},
    model::Decision,
    view::{
        table_label,
        text::{Text, Tone},
        tui::{
            action::Picture,
            canvas::{Canvas, word},
            grid::{Grid, GridRow, Head, number, text as column},
            layout::Areas,
            number::short,
            sums::{Hits, Sums},
        },
    },
};

/// Routes that nothing used are listed up to this number; a node of a large network has 100,000.
const UNUSED: usize = 1000;

const HEADS: &[Head] = &[
    number("FLOWS", 5, 0),
    number("PKTS", 6, 0),
    column("AF", 2, 0, 40),
    column("TABLE", 10, 0, 40),
    column("ROUTE", 20, 1, 0),
];

/// Rules and routes.
#[derive(Debug, Default)]
pub(in crate::view::tui) struct Routes {
    pub(in crate::view::tui) grid: Grid,
}

/// Decisions that differ by next hop.
type Ways<'a> = Vec<(&'a Decision, Hits)>;

/// What decisions say about themselves.
#[derive(Default)]
struct Seen<'a> {
    rules: HashMap<(bool, u32), Hits>,
    /// By family, table and destination.
    routes: HashMap<(bool, u32, &'a str), Ways<'a>>,
    unknown: Hits,
}

impl Routes {
    pub(in crate::view::tui) fn update(&mut self, t: &Text<'_>, p: &Picture, sums: &Sums) {
        let Some(home) = p.inventory.home() else {
            self.grid.set(Vec::new());
            return;
        };
        let seen = Seen::of(sums);
        let mut shown: Vec<GridRow> = home
            .rules
            .iter()
            .map(|r| rule_row(r, seen.rules.get(&(r.ipv6, r.preference)).copied()))
            .collect();
        let (mut used, mut unused) = (Vec::new(), Vec::new());
        for (number, route) in home.routes.iter().enumerate() {
            let hits = seen.hits(route);
            if hits.0 == 0 && unused.len() >= UNUSED {
                continue;
            }
            let list = if hits.0 > 0 { &mut used } else { &mut unused };
            list.push(route_row(t, home, number, route, hits));
        }
        let left = home.routes.len() - used.len() - unused.len();
        shown.extend(used);
        if seen.unknown.0 > 0 {
            let text = "no configured route: dropped, bridged, or changed meanwhile";
            shown.push(line("unknown", seen.unknown, ["", "-", text]));
        }
        shown.extend(unused);
        if left > 0 {
            let text = format!("and {left} more that no flow used");
            shown.push(line("more", (0, 0), ["", "", &text]));
        }
        self.grid.set(shown);
    }

    pub(in crate::view::tui) fn draw(&self, canvas: &mut Canvas<'_>, areas: &Areas) {
        let empty = "no rule and no route is known";
        self.grid
            .draw(canvas, HEADS, (areas.head, areas.list), empty);
    }
}

impl<'a> Seen<'a> {
    fn of(sums: &'a Sums) -> Self {
        let mut seen = Self::default();
        for (decision, hits) in &sums.decisions {
            seen.add(decision, *hits);
        }
        seen
    }

    fn add(&mut self, r: &'a Decision, (flows, packets): Hits) {
        let count = |hits: &mut Hits| {
            hits.0 += flows;
            hits.1 += packets;
        };
        if let Some(rule) = r.rule {
            count(self.rules.entry((r.ipv6, rule)).or_default());
        }
        let (Some(table), Some(matched)) = (r.decision.table, r.matched.as_deref()) else {
            return count(&mut self.unknown);
        };
        let routes = self.routes.entry((r.ipv6, table, matched)).or_default();
        let same = routes.iter_mut().find(|(k, _)| {
            (k.decision.gateway, k.decision.dev) == (r.decision.gateway, r.decision.dev)
        });
        match same {
            Some((_, hits)) => count(hits),
            None => routes.push((r, (flows, packets))),
        }
    }

    fn hits(&self, route: &Route) -> Hits {
        let ipv6 = route.dst.address.is_ipv6();
        let dst = route.dst.to_string();
        let all = self.routes.get(&(ipv6, route.table, dst.as_str()));
        let mine = all.into_iter().flatten().filter(|(r, _)| {
            let d = &r.decision;
            route.nexthops.is_empty()
                || route.nexthops.iter().any(|n| {
                    n.gateway == d.gateway && (d.dev.is_none() || n.dev.is_none() || n.dev == d.dev)
                })
                || route.kind != crate::event::RouteKind::Unicast
        });
        mine.fold((0, 0), |sum, (_, h)| (sum.0 + h.0, sum.1 + h.1))
    }
}

fn rule_row(r: &Rule, hits: Option<Hits>) -> GridRow {
    let (key, pref) = (
        format!("rule {} {} {}", r.ipv6, r.preference, r.text),
        r.preference.to_string(),
    );
    let table = format!("rule {pref}");
    line(
        &key,
        hits.unwrap_or_default(),
        [family(r.ipv6), &table, &r.text],
    )
}

fn route_row(t: &Text<'_>, netns: &Netns, number: usize, r: &Route, hits: Hits) -> GridRow {
    let text = t.cx.inventory.route_text(netns.id, r);
    let table = table_label(r.table, t.cx.numeric);
    line(
        &format!("route {number} {text}"),
        hits,
        [family(r.dst.address.is_ipv6()), &table, &text],
    )
}

fn family(ipv6: bool) -> &'static str {
    if ipv6 { "6" } else { "4" }
}

fn line(key: &str, hits: Hits, [af, table, text]: [&str; 3]) -> GridRow {
    let tone = if hits.0 > 0 { Tone::Strong } else { Tone::Dim };
    let number = |n: u64| word(tone, if n == 0 { "-".to_owned() } else { short(n) });
    GridRow {
        key: key.to_owned(),
        cells: vec![
            number(hits.0),
            number(hits.1),
            word(Tone::Dim, af),
            word(tone, table),
            word(
                if hits.0 > 0 {
                    Tone::Strong
                } else {
                    Tone::Plain
                },
                text,
            ),
        ],
    }
}
