//! The tables of a page: rows of cells, for HTML and Markdown alike.

use super::{Page, ROWS};
use crate::{
    event::NetnsId,
    inventory::{Inventory, Netns, Route, table_name},
    model::{Direction, Flow, Step},
    view::{flow_name, intent},
};

/// A table.
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// Rows that are left out.
    pub(super) more: usize,
}

impl Table {
    fn new(title: &'static str, columns: &[&'static str], mut rows: Vec<Vec<String>>) -> Self {
        let more = rows.len().saturating_sub(ROWS);
        rows.truncate(ROWS);
        Self {
            title,
            columns: columns.to_vec(),
            rows,
            more,
        }
    }
}

/// All tables that say something.
pub(super) fn all(p: &Page<'_>) -> Vec<Table> {
    let tables = [
        flows(p),
        drops(p),
        devices(p),
        routes(p),
        rules(p),
        sysctls(p),
        meant(p),
    ];
    tables.into_iter().filter(|t| !t.rows.is_empty()).collect()
}

fn flows(p: &Page<'_>) -> Table {
    let row = |f: &Flow| {
        vec![
            format!("{}{}", flow_name(&f.id.tuple), p.text.who(f)),
            p.text.state(f).text,
            f.forward.packets.to_string(),
            f.reply.packets.to_string(),
            devices_of(p, &f.forward),
        ]
    };
    let rows = p.snapshot.flows.iter().map(|f| row(f)).collect();
    let columns = ["Flow", "Outcome", "#Packets", "#Answers", "By"];
    Table::new("Flows", &columns, rows)
}

fn devices_of(p: &Page<'_>, d: &Direction) -> String {
    let names: Vec<String> = d.hops().map(|h| p.text.dev(h.netns, h.dev)).collect();
    names.join(" → ")
}

fn drops(p: &Page<'_>) -> Table {
    let mut rows = Vec::new();
    let of = |name: &str, x: &crate::model::Drop| {
        let (place, home) = (&x.place, p.text.cx.inventory.home);
        let dev = place.dev.map_or_else(
            || "?".into(),
            |dev| p.text.dev(place.netns.unwrap_or(home), dev),
        );
        let errno = x.route.map_or(0, |r| r.errno);
        vec![
            x.count.to_string(),
            place.reason.to_string(),
            place.symbol.to_string(),
            dev,
            (p.text.cx.meaning)(&place.reason, &place.symbol, errno),
            name.to_owned(),
        ]
    };
    for f in &p.snapshot.flows {
        let name = format!("{}{}", flow_name(&f.id.tuple), p.text.who(f));
        for x in f.forward.drops.iter().chain(&f.reply.drops) {
            rows.push((x.count, of(&name, x)));
        }
    }
    for x in &p.snapshot.stray_drops {
        rows.push((x.count, of("", x)));
    }
    rows.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    let columns = [
        "#Packets", "Reason", "Function", "Device", "Meaning", "Flow",
    ];
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    Table::new("Dropped packets", &columns, rows)
}

/// Devices that flows passed, in their order.
fn passed(p: &Page<'_>) -> Vec<(NetnsId, crate::event::Ifindex)> {
    let mut all = Vec::new();
    for hop in p.snapshot.flows.iter().flat_map(|f| f.hops()) {
        if !all.contains(&(hop.netns, hop.dev)) {
            all.push((hop.netns, hop.dev));
        }
    }
    all
}

fn devices(p: &Page<'_>) -> Table {
    let inventory = p.text.cx.inventory;
    let rows = passed(p)
        .into_iter()
        .filter_map(|(netns, dev)| Some((netns, inventory.link(netns, dev)?)))
        .map(|(netns, l)| {
            let addresses: Vec<String> = l
                .addresses
                .iter()
                .map(|a| format!("{}/{}", a.address, a.prefix_len))
                .collect();
            vec![
                p.text.dev(netns, l.ifindex),
                l.kind.name().to_owned(),
                l.role.to_string(),
                l.mtu.to_string(),
                if l.up { "up" } else { "down" }.to_owned(),
                addresses.join(" "),
            ]
        })
        .collect();
    let columns = ["Device", "Kind", "Role", "#MTU", "State", "Addresses"];
    Table::new("Devices that flows passed", &columns, rows)
}

/// Routes that decisions followed, and those that would have matched what was lost.
fn routes(p: &Page<'_>) -> Table {
    let inventory = p.text.cx.inventory;
    let Some(home) = inventory.home() else {
        return Table::new("", &[], Vec::new());
    };
    let matters = |r: &Route| {
        let shown = p.snapshot.flows.iter().take(ROWS);
        let mut ends = shown.flat_map(|f| [f.id.tuple.dst, f.id.tuple.src]);
        ends.any(|a| r.dst.contains(a)) || followed(p, r)
    };
    // the local table names each own address again
    let rows = home
        .routes
        .iter()
        .filter(|r| r.table != LOCAL && matters(r));
    let rows = rows.map(|r| route(home, r)).collect();
    let columns = ["Destination", "Next hops", "Table", "#Metric", "Type"];
    Table::new("Routes that mattered", &columns, rows)
}

const LOCAL: u32 = 255;

fn followed(p: &Page<'_>, r: &Route) -> bool {
    let name = r.dst.to_string();
    let flows = p.snapshot.flows.iter();
    let mut steps = flows.flat_map(|f| f.forward.path.iter().chain(&f.reply.path));
    steps.any(|s| match s {
        Step::Route(d) => {
            d.ipv6 == r.dst.address.is_ipv6()
                && d.decision.table == Some(r.table)
                && d.matched.as_ref() == Some(&name)
        }
        Step::Hop(_) => false,
    })
}

fn route(home: &Netns, r: &Route) -> Vec<String> {
    let hops: Vec<String> = r
        .nexthops
        .iter()
        .map(|n| {
            let via = n.gateway.map_or_else(String::new, |g| format!("via {g} "));
            let dev = n.dev.map_or_else(String::new, |dev| {
                let link = home.links.get(&dev);
                format!(
                    "dev {}",
                    link.map_or_else(|| dev.to_string(), |l| l.name.clone())
                )
            });
            let encap = n
                .encap
                .as_ref()
                .map_or_else(String::new, |e| format!(" {e}"));
            format!("{via}{dev}{encap}")
        })
        .collect();
    vec![
        r.dst.to_string(),
        hops.join(", "),
        table_name(r.table),
        r.metric.to_string(),
        r.kind.name().to_owned(),
    ]
}

fn rules(p: &Page<'_>) -> Table {
    let home = p.text.cx.inventory.home();
    let rules = home.into_iter().flat_map(|n| &n.rules);
    let rows: Vec<Vec<String>> = rules
        .map(|r| {
            let family = if r.ipv6 { "IPv6" } else { "IPv4" };
            vec![r.preference.to_string(), family.to_owned(), r.text.clone()]
        })
        .collect();
    Table::new("Rules", &["#Preference", "Family", "Rule"], rows)
}

/// What findings were judged by, with where it is known from.
fn meant(p: &Page<'_>) -> Table {
    let (inventory, intent) = (p.text.cx.inventory, p.intent);
    let known = intent::object(inventory, intent);
    let cni = known.cni.map_or_else(String::new, |c| {
        let guess = if c.guess { ", a guess" } else { "" };
        format!("{} ({}{guess})", c.name, c.why)
    });
    let nodes = known.nodes.join(" ");
    let rows: Vec<Vec<String>> = [
        ("Pods of different nodes", intent.told()),
        ("Pods' prefixes", known.pod_cidrs.join(" ")),
        ("Nodes' prefixes", known.node_cidrs.join(" ")),
        ("Nodes", nodes),
        ("CNI", cni),
        ("Known from", known.sources.join("; ")),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| vec![name.to_owned(), value])
    .collect();
    Table::new("What the network is meant to do", &["What", "Value"], rows)
}

/// What of the settings decides about forwarding and source checks.
fn sysctls(p: &Page<'_>) -> Table {
    let inventory: &Inventory = p.text.cx.inventory;
    let Some(home) = inventory.home() else {
        return Table::new("", &[], Vec::new());
    };
    let names: Vec<String> = passed(p)
        .into_iter()
        .filter(|(netns, _)| *netns == inventory.home)
        .map(|(netns, dev)| inventory.dev_name(netns, dev))
        .collect();
    let of_device = |key: &str| {
        let mut parts = key.split(['.', '/']);
        parts.any(|part| part == "all" || part == "ip_forward" || names.iter().any(|n| n == part))
    };
    let rows = home.sysctls.iter().filter(|(key, _)| of_device(key));
    let rows = rows.map(|(k, v)| vec![k.clone(), v.clone()]).collect();
    Table::new("Settings", &["Name", "Value"], rows)
}
