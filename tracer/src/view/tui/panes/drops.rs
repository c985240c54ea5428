//! Where packets end: by reason, device and function, with rates.

use std::collections::HashMap;

use crate::{
    event::KtimeNs,
    model::Flow,
    view::{
        ViewContext,
        text::{Text, Tone},
        tui::{
            action::Picture,
            canvas::{Canvas, word},
            grid::{Grid, GridRow, Head, number, text as column},
            layout::Areas,
            number::{rate, short, smooth},
            sums::{End, Sums, Total, errno},
        },
    },
};

const HEADS: &[Head] = &[
    number("PKTS", 6, 0),
    number("PER S", 5, 0),
    column("REASON", 16, 2, 0),
    column("DEVICE", 8, 2, 40),
    column("FUNCTION", 12, 2, 60),
    column("MEANING", 16, 5, 76),
];

/// Places where packets end.
#[derive(Debug, Default)]
pub(in crate::view::tui) struct Drops {
    pub(in crate::view::tui) grid: Grid,
    /// Count and rate.
    before: HashMap<String, (u64, f64)>,
    at: KtimeNs,
    rate: f64,
}

/// What ended at one place.
struct Sum {
    count: u64,
    reason: String,
    dev: String,
    symbol: String,
    meaning: String,
}

impl Drops {
    /// Time went back: rates start again.
    pub(in crate::view::tui) fn rewind(&mut self) {
        self.before.clear();
        self.at = KtimeNs::default();
    }

    /// Packets per second that end here, all places.
    pub(in crate::view::tui) fn rate(&self) -> f64 {
        self.rate
    }

    /// Counts again, over the flows that are shown and, when they are `all`, what is in no flow.
    pub(in crate::view::tui) fn update(
        &mut self,
        t: &Text<'_>,
        p: &Picture,
        over: &Sums,
        all: bool,
    ) {
        let mut sums: HashMap<String, Sum> = HashMap::new();
        for (end, total) in &over.ends {
            name(&mut sums, t, end, *total);
        }
        for number in &over.failing {
            failures(&mut sums, t, &p.snapshot.flows[*number as usize]);
        }
        if all {
            for d in &p.snapshot.stray_drops {
                name(&mut sums, t, &End::of(d), (d.count, errno(d)));
            }
            neighbours(&mut sums, &t.cx, p);
        }
        self.take(sums, p.snapshot.at);
    }

    fn take(&mut self, sums: HashMap<String, Sum>, at: KtimeNs) {
        let seconds = at.since(self.at) as f64 / 1e9;
        let first = self.at == KtimeNs::default();
        if seconds <= 0.0 && !first {
            return;
        }
        let rate_of = |key: &String, count: u64| {
            let (before, rate) = self.before.get(key).copied().unwrap_or_default();
            let now = count.saturating_sub(before) as f64 / seconds;
            if first {
                0.0
            } else {
                smooth(rate, now, seconds)
            }
        };
        let mut all: Vec<(String, Sum, f64)> = sums
            .into_iter()
            .map(|(key, sum)| {
                let rate = rate_of(&key, sum.count);
                (key, sum, rate)
            })
            .collect();
        all.sort_by(|a, b| (b.1.count, &a.0).cmp(&(a.1.count, &b.0)));
        self.rate = all.iter().map(|(.., r)| r).sum();
        self.before = all
            .iter()
            .map(|(k, s, r)| (k.clone(), (s.count, *r)))
            .collect();
        self.at = at;
        self.grid
            .set(all.into_iter().map(|(k, s, r)| row(k, s, r)).collect());
    }

    pub(in crate::view::tui) fn draw(&self, canvas: &mut Canvas<'_>, areas: &Areas) {
        let empty = "no packet was dropped";
        self.grid
            .draw(canvas, HEADS, (areas.head, areas.list), empty);
    }
}

/// Lookups of senders that failed.
fn failures(sums: &mut HashMap<String, Sum>, t: &Text<'_>, f: &Flow) {
    for r in &f.route_failures {
        let reason = t.cx.errno(r.errno);
        let who = format!("{} ({})", r.comm, r.pid);
        let sum = sums
            .entry(format!("{reason}\0{who}\0{}", r.netns))
            .or_insert_with(|| Sum {
                count: 0,
                reason,
                dev: t.cx.netns(r.netns),
                symbol: who,
                meaning: "no route: no packet was made".to_owned(),
            });
        sum.count += r.count;
    }
}

/// Names are made of each place once, not of each drop.
fn name(sums: &mut HashMap<String, Sum>, t: &Text<'_>, end: &End, (count, errno): Total) {
    let place = end.device(t.cx.inventory.home);
    let dev = place
        .map(|(netns, dev)| t.dev(netns, dev))
        .unwrap_or_default();
    let (reason, symbol) = (&*end.reason, &*end.symbol);
    let key = format!("{reason}\0{dev}\0{symbol}");
    let sum = sums.entry(key).or_insert_with(|| Sum {
        count: 0,
        reason: reason.to_owned(),
        dev,
        symbol: symbol.to_owned(),
        meaning: (t.cx.meaning)(reason, symbol, errno),
    });
    sum.count += count;
}

/// Next hops that do not answer.
fn neighbours(sums: &mut HashMap<String, Sum>, cx: &ViewContext<'_>, p: &Picture) {
    for (n, count) in &p.snapshot.neigh_failures {
        let dev = cx.dev(n.netns, n.dev);
        let sum = Sum {
            count: *count,
            reason: "NEIGH".to_owned(),
            symbol: n.address.to_string(),
            meaning: "next hop does not answer (times asked)".to_owned(),
            dev,
        };
        sums.insert(format!("neigh\0{}\0{}", n.address, sum.dev), sum);
    }
}

fn row(key: String, sum: Sum, per_second: f64) -> GridRow {
    let now = if per_second > 0.0 {
        Tone::Bad
    } else {
        Tone::Plain
    };
    GridRow {
        key,
        cells: vec![
            word(Tone::Bad, short(sum.count)),
            word(now, rate(per_second)),
            word(Tone::Strong, sum.reason),
            word(Tone::Plain, sum.dev),
            word(Tone::Plain, sum.symbol),
            word(Tone::Plain, sum.meaning),
        ],
    }
}
