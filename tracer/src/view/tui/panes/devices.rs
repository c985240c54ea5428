//! Devices: what they are for, and what passes and ends there.

use crate::{
    event::KtimeNs,
    inventory::{Link, Role, TcHook, TcProgram},
    view::{
        text::{Text, Tone},
        tui::{
            action::Picture,
            canvas::{Canvas, word},
            flows::Place,
            grid::{Grid, GridRow, Head, names, number, text as column},
            layout::Areas,
            number::{bits, rate, short},
            sums::{self, End, Sums},
        },
    },
};

const HEADS: &[Head] = &[
    names("DEVICE", 12, 3),
    column("KIND", 9, 0, 50),
    column("ROLE", 8, 0, 0),
    column("STATE", 10, 0, 76),
    number("MTU", 5, 60),
    number("IN/S", 5, 0),
    number("OUT/S", 5, 0),
    number("IN b/s", 6, 108),
    number("OUT b/s", 7, 108),
    number("DROPS", 5, 0),
    column("TRACED", 6, 0, 54),
    column("PROGRAMS", 12, 4, 90),
    column("ADDRESSES", 12, 5, 126),
];

/// Devices with their traffic.
#[derive(Debug, Default)]
pub(in crate::view::tui) struct Devices {
    pub(in crate::view::tui) grid: Grid,
    before: sums::Devices,
    at: KtimeNs,
}

impl Devices {
    /// Time went back: rates start again.
    pub(in crate::view::tui) fn rewind(&mut self) {
        self.before.clear();
        self.at = KtimeNs::default();
    }

    /// Counts again, over the flows that are shown.
    pub(in crate::view::tui) fn update(&mut self, t: &Text<'_>, p: &Picture, sums: &Sums) {
        let at = p.snapshot.at;
        let seconds = at.since(self.at) as f64 / 1e9;
        // after a pause of looking elsewhere the mean of that time is shown
        let known = self.at > KtimeNs::default() && seconds > 0.0;
        let now = traffic(p, sums);
        let mut links: Vec<(Place, &Link)> = Vec::new();
        for netns in p.inventory.netns.values() {
            links.extend(netns.links.values().map(|l| ((netns.id, l.ifindex), l)));
        }
        let order = |place: &Place, l: &Link| {
            let role = match l.role {
                Role::Uplink => 0,
                Role::Tunnel => 1,
                Role::Bridge => 2,
                Role::Pod => 3,
                Role::Other => 4,
                Role::Loopback => 5,
            };
            (place.0 != p.inventory.home, place.0, role, l.name.clone())
        };
        links.sort_by_cached_key(|(place, l)| order(place, l));
        let mut shown = Vec::new();
        for (place, link) in links {
            let (new, old) = (now.get(&place), self.before.get(&place));
            let new = new.copied().unwrap_or_default();
            let old = old.copied().unwrap_or_default();
            let per = |a: u64, b: u64| {
                if known {
                    a.saturating_sub(b) as f64 / seconds
                } else {
                    0.0
                }
            };
            let rates = [0, 1].map(|i| {
                [
                    per(new.packets[i], old.packets[i]),
                    per(new.bytes[i], old.bytes[i]),
                ]
            });
            let programs = [traced(p, place), programs(p, place)];
            shown.push(row(t, (place, link), new.drops, rates, programs));
        }
        if known || self.at == KtimeNs::default() {
            (self.before, self.at) = (now, at);
        }
        self.grid.set(shown);
    }

    pub(in crate::view::tui) fn draw(&self, canvas: &mut Canvas<'_>, areas: &Areas) {
        let empty = "no device is known";
        self.grid
            .draw(canvas, HEADS, (areas.head, areas.list), empty);
    }
}

fn traffic(p: &Picture, sums: &Sums) -> sums::Devices {
    let mut devices = sums.devices.clone();
    for drop in &p.snapshot.stray_drops {
        if let Some(place) = End::of(drop).device(p.inventory.home) {
            devices.entry(place).or_default().drops += drop.count;
        }
    }
    devices
}

/// How tracer is attached: `tcx`, `clsact`, `none`. Nothing is attached in pods' namespaces; the
/// node's ends of their devices are.
fn traced(p: &Picture, (netns, dev): Place) -> String {
    let own = p.attached.as_ref();
    let how = own.map(|a| {
        if netns == p.inventory.home {
            a.how(dev)
        } else {
            "none"
        }
    });
    how.unwrap_or_default().to_owned()
}

/// `in a, b out c`: the BPF programs that others have at the tc hooks, `-` for none. Empty where
/// that is not read.
fn programs(p: &Picture, (netns, dev): Place) -> String {
    let Some(netns) = p.inventory.netns.get(&netns).filter(|n| !n.edge) else {
        return String::new();
    };
    let mut shown = Vec::new();
    for (hook, title) in [(TcHook::Ingress, "in"), (TcHook::Egress, "out")] {
        let name = |p: &TcProgram| match (p.name.as_str(), p.id) {
            ("", Some(id)) => format!("id {id}"),
            ("", None) => "?".to_owned(),
            (name, _) => name.to_owned(),
        };
        let names: Vec<String> = netns.programs_at(dev, hook).map(name).collect();
        if !names.is_empty() {
            shown.push(format!("{title} {}", names.join(", ")));
        }
    }
    if shown.is_empty() {
        return "-".to_owned();
    }
    shown.join(" ")
}

fn row(
    t: &Text<'_>,
    (place, l): (Place, &Link),
    drops: u64,
    rates: [[f64; 2]; 2],
    [traced, programs]: [String; 2],
) -> GridRow {
    let [[packets_in, bytes_in], [packets_out, bytes_out]] = rates;
    let (state, tone) = match (l.up, l.carrier) {
        (false, _) => ("down", Tone::Dim),
        (true, false) => ("no carrier", Tone::Warn),
        (true, true) => ("up", Tone::Plain),
    };
    let addresses: Vec<String> = l
        .addresses
        .iter()
        .map(|a| format!("{}/{}", a.address, a.prefix_len))
        .collect();
    let vni = l.kind.vni().map_or_else(String::new, |v| format!(" {v}"));
    let bad = if drops > 0 { Tone::Bad } else { Tone::Plain };
    GridRow {
        key: format!("{} {}", place.0, place.1),
        cells: vec![
            word(Tone::Strong, t.dev(place.0, place.1)),
            word(Tone::Plain, format!("{}{vni}", l.kind.name())),
            word(Tone::Plain, l.role.to_string()),
            word(tone, state),
            word(Tone::Plain, l.mtu.to_string()),
            word(Tone::Plain, rate(packets_in)),
            word(Tone::Plain, rate(packets_out)),
            word(Tone::Plain, bits(bytes_in)),
            word(Tone::Plain, bits(bytes_out)),
            word(bad, short(drops)),
            word(Tone::Plain, traced),
            word(Tone::Plain, programs),
            word(Tone::Dim, addresses.join(" ")),
        ],
    }
}
