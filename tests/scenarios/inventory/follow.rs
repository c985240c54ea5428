//! Changes, and many links.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::lab::*;
use crate::nodes::*;
use tracer::net::{
    NetnsSelection,
    netns::run_in,
    watch::{Notice, Watcher},
};

#[test]
fn changes_are_told_and_the_watcher_ends_at_once() {
    let lab = node("watch");
    let (sender, notices) = mpsc::channel();
    let start = || Watcher::start(move |n| sender.send(n).unwrap());
    let watcher = run_in(&lab.find("n1"), start).unwrap().unwrap();
    let expect = |what: &str, wanted: &dyn Fn(&Notice) -> bool| {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match notices.recv_timeout(left) {
                Ok(notice) if wanted(&notice) => return notice,
                Ok(_) => {}
                Err(error) => panic!("{what} was not told: {error}"),
            }
        }
    };
    lab.ip("n1", "link add d7 type veth peer name d8");
    lab.ip("n1", "link set d8 up");
    let up_is = |up: bool| move |n: &Notice| matches!(n, Notice::LinkChanged(_, name, u) if name == "d7" && *u == up);
    expect("a new link", &up_is(false));
    lab.ip("n1", "link set d7 up");
    let Notice::LinkChanged(dev, ..) = expect("a link that goes up", &up_is(true)) else {
        unreachable!();
    };
    // what its coming up brought along
    while notices.recv_timeout(Duration::from_millis(300)).is_ok() {}
    for line in [
        "addr add 10.7.0.1/24 dev d7",
        "route add 10.8.0.0/16 dev d7",
        "-6 route add fd08::/64 dev d7",
        "rule add pref 77 table 77",
        "-6 rule add pref 77 table 77",
        "neigh add 10.7.0.9 lladdr 02:00:00:00:00:09 dev d7 nud permanent",
    ] {
        lab.ip("n1", line);
        expect(line, &|n| *n == Notice::Changed);
        while notices.recv_timeout(Duration::from_millis(300)).is_ok() {}
    }
    lab.ip("n1", "link del d7");
    expect("a link that is removed", &|n| *n == Notice::LinkGone(dev));
    let started = Instant::now();
    drop(watcher);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(50), "{took:?}");
}

/// 250 devices, each with an address and a route. A slow or busy machine gets as long as `ip` needs
/// there for the same dumps.
#[test]
fn many_links_are_read_quickly() {
    let lab = Lab::new("many", &["n1"]);
    let batch = std::env::temp_dir().join(lab.name("batch"));
    let lines = (0..125).flat_map(|i| {
        [
            format!("link add d{i} type veth peer name p{i}"),
            format!("link set p{i} up"),
            format!("link set d{i} up"),
            format!("addr add 10.9.{i}.1/32 dev d{i}"),
            format!("route add 10.10.{i}.0/24 dev d{i}"),
        ]
    });
    let lines: Vec<String> = lines.collect();
    std::fs::write(&batch, lines.join("\n")).unwrap();
    lab.ip("n1", &format!("-batch {}", batch.display()));
    std::fs::remove_file(&batch).unwrap();
    let n1 = lab.find("n1");
    let mut fastest = Duration::MAX;
    let mut yardstick = Duration::ZERO;
    for _ in 0..3 {
        let started = Instant::now();
        let (inventory, _) = read_from(&n1, &NetnsSelection::Home);
        fastest = fastest.min(started.elapsed());
        let home = inventory.home().unwrap();
        assert!(home.links.len() > 250 && home.routes.len() > 700);
        let started = Instant::now();
        for words in ["-d link", "addr", "route show table all", "rule", "neigh"] {
            lab.ip("n1", words);
        }
        yardstick = yardstick.max(started.elapsed());
    }
    let limit = yardstick.max(Duration::from_millis(100));
    assert!(fastest < limit, "{fastest:?}, ip needs {yardstick:?}");
}
