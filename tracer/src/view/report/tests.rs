use super::*;
use crate::{
    event::DropPlace,
    model::Outcome::Unanswered,
    view::{
        fixture::{self, ETH0, HOME, LXC},
        schema,
        text::Style,
    },
};

fn file() -> schema::File<'static> {
    schema::File {
        name: "a.pcapng",
        tracer: "0.1.0",
        filter: None,
        snaplen: 128,
        packets: 6,
        packets_lost: 2,
        part: 0,
        complete: true,
        cut_at: None,
        until: "2026-11-22T05:00:10.000Z".into(),
        unreadable: 0,
    }
}

/// A page about flows, with a device and a function of any name.
fn page(dev: &str, symbol: &str, write: fn(&Page<'_>) -> String) -> String {
    let mut inventory = fixture::inventory();
    let home = inventory.netns.get_mut(&HOME).unwrap();
    home.links.get_mut(&LXC).unwrap().name = dev.into();
    let clock = fixture::clock();
    let mut dropped = fixture::dropped();
    dropped.forward.drops[0].place = DropPlace {
        symbol: symbol.into(),
        ..dropped.forward.drops[0].place.clone()
    };
    let findings = [fixture::finding(&dropped)];
    let snapshot = fixture::snapshot(vec![dropped, fixture::tunnelled(Unanswered(ETH0))]);
    let intent = Intent {
        mode: crate::diagnose::Mode::Native,
        source: crate::diagnose::Source::Flag,
        ..Intent::default()
    };
    let file = file();
    write(&Page {
        text: Text {
            cx: fixture::cx(&inventory, &clock),
            style: Style::default(),
        },
        snapshot: &snapshot,
        findings: &findings,
        intent: &intent,
        limits: &[],
        filter: "",
        file: &file,
        lacks: Some("The file was cut."),
        drops: &[(fixture::at(500), 3), (fixture::at(9_999), 1)],
    })
}

#[test]
fn findings_come_first_and_each_lost_flow_is_drawn() {
    let page = page("lxc-p1", "ip6_forward", html);
    let order = [
        "<h2>Findings",
        "<h2>Flows in trouble",
        "<h2>Dropped packets over",
        "<h2>Flows<",
        "<h2>What the network is meant",
    ];
    let at: Vec<usize> = order.iter().map(|h| page.find(h).unwrap()).collect();
    assert!(at.is_sorted(), "{at:?}");
    assert_eq!(page.matches("<figure>").count(), 2);
    assert!(page.contains(">dropped</text>") && page.contains(">unanswered</text>"));
    assert!(page.contains("vxlan 42 192.0.2.1"), "the tunnel");
    assert!(page.contains("2 packets are not in the file"));
    assert!(page.contains("The file was cut."));
    assert_eq!(page.matches("class=\"bar\"").count(), 2);
}

#[test]
fn a_page_takes_nothing_from_elsewhere() {
    let page = page("lxc-p1", "ip6_forward", html);
    for word in ["<script", "http://", "https://", "url(", "@import", "src="] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn names_are_no_markup() {
    let hostile = "<img onerror=x>\"'&";
    let html = page(hostile, hostile, html);
    assert!(!html.contains("<img"), "{html}");
    assert!(html.contains("&lt;img onerror=x&gt;&quot;&#39;&amp;"));
    let md = page("|a|`b`", "<b>", markdown);
    let row = md.lines().find(|l| l.starts_with("| 3 |")).unwrap();
    assert!(!row.contains("<b>") || row.contains("\\<b\\>"), "{row}");
}

#[test]
fn markdown_says_the_same() {
    let md = page("lxc-p1", "ip6_forward", markdown);
    for wanted in [
        "# tracer: n1",
        "## Findings",
        "## Flows in trouble",
        "IP\\_OUTNOROUTES",
        "| Pods of different nodes | native (flag) |",
    ] {
        assert!(md.contains(wanted), "{wanted}:\n{md}");
    }
}
