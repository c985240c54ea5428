//! What tracer reads of the configuration is what `ip` prints of it. Needs root.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    net::IpAddr,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tracer::{
    event::{NetnsId, RouteKind},
    inventory::{Inventory, Link, LinkKind, Netns, Role, Route},
    net::{
        NetnsSelection,
        netns::{Found, Namespaces, run_in},
        read_inventory,
        watch::{Notice, Watcher},
    },
};

/// The output of a command that must succeed.
fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|e| panic!("{line}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Namespaces of one test; deleted with it.
struct Lab {
    prefix: String,
    names: Vec<String>,
}

impl Lab {
    fn new(test: &str, names: &[&str]) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        let mut lab = Self {
            prefix: format!("tinv-{}-{test}", std::process::id()),
            names: Vec::new(),
        };
        for name in names {
            let full = lab.name(name);
            run(&format!("ip netns add {full}"));
            lab.names.push(full);
            lab.ip(name, "link set lo up");
        }
        lab
    }

    fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    fn ip(&self, short: &str, words: &str) -> String {
        run(&format!("ip -n {} {words}", self.name(short)))
    }

    fn json(&self, short: &str, words: &str) -> Vec<Value> {
        let text = run(&format!("ip -j -N -n {} {words}", self.name(short)));
        match text.trim() {
            "" => Vec::new(),
            text => serde_json::from_str(text).unwrap_or_else(|e| panic!("{words}: {e}: {text}")),
        }
    }

    fn find(&self, short: &str) -> Found {
        let all = Namespaces::find().unwrap();
        all.named(&self.name(short)).unwrap().clone()
    }

    fn read(&self, short: &str) -> Netns {
        let selection = NetnsSelection::Named(vec![self.name(short)]);
        let (inventory, notes) = read_inventory(&selection).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        inventory.home().unwrap().clone()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            drop(Command::new("ip").args(["netns", "del", name]).status());
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

fn has_flag(value: &Value, flag: &str) -> bool {
    let flags = value["flags"].as_array();
    flags.is_some_and(|f| f.iter().any(|f| f == flag))
}

/// One namespace with every kind of device, address, route and rule.
fn rich() -> Lab {
    let lab = Lab::new("rich", &["a", "b"]);
    run(&format!(
        "ip link add eth0 netns {} type veth peer name far netns {}",
        lab.name("a"),
        lab.name("b")
    ));
    for line in [
        "link set eth0 up",
        "link add d0 type dummy",
        "link set d0 up mtu 1400",
        "addr add 10.0.0.1/24 dev eth0",
        "addr add 10.0.0.3/32 dev eth0 scope link",
        "addr add fd00::1/64 dev eth0 nodad",
        "addr add 10.1.0.1/24 dev d0",
        "link add v1 type veth peer name v2",
        "link add vx0 type vxlan id 42 local 10.0.0.1 remote 10.0.0.2 dstport 8472 dev eth0",
        "link add vx6 type vxlan id 43 local fd00::1 remote fd00::2 dstport 8472",
        "link add vxe type vxlan external dstport 4789",
        "link add gn0 type geneve id 5 remote 10.0.0.2",
        "link add t1 type ipip local 10.0.0.1 remote 10.0.0.2",
        "link add t2 type sit local 10.0.0.1 remote 10.0.0.3",
        "link add t3 type ip6tnl local fd00::1 remote fd00::2",
        "link add t4 type gre local 10.0.0.1 remote 10.0.0.2",
        "link add t5 type gretap local 10.0.0.1 remote 10.0.0.2",
        "link add t6 type ip6gre local fd00::1 remote fd00::2",
        "link add t7 type wireguard",
        "link add eth0.5 link eth0 type vlan id 5",
        "link add br0 type bridge",
        "link set v2 master br0 up",
        "link set br0 up",
        "link add mv0 link eth0 type macvlan",
        "link add vrf1 type vrf table 77",
        "link set vrf1 up",
    ] {
        lab.ip("a", line);
    }
    run(&format!("ip -n {} link set far up", lab.name("b")));
    lab
}

fn add_routes(lab: &Lab) {
    for line in [
        "route add default via 10.0.0.2 metric 100 proto dhcp src 10.0.0.1",
        "route add default via 10.1.0.2 dev d0 table 200",
        "route add 10.9.0.0/16 encap ip id 7 dst 10.0.0.2 ttl 64 dev eth0",
        "route add 10.10.0.0/16 encap ip id 7 src 10.0.0.1 dst 10.0.0.2 ttl 9 tos 4 key csum seq dev eth0",
        "route add 10.11.0.0/16 encap ip6 id 7 dst fd00::2 dev eth0",
        "-6 route add fd11::/64 encap ip6 id 9 dst fd00::2 hoplimit 9 tc 3 dev eth0",
        "route add 10.13.0.0/16 nexthop via 10.0.0.2 dev eth0 weight 3 nexthop via 10.2.0.2 dev d0 onlink",
        "route add 10.14.0.0/16 via inet6 fd00::2 dev eth0 mtu 1400",
        "route add blackhole 10.15.0.0/16",
        "route add unreachable 10.16.0.0/16 metric 5",
        "route add prohibit 10.17.0.0/16",
        "route add throw 10.18.0.0/16 table 100",
        "-6 route add default via fd00::2",
        "-6 route add blackhole fd15::/64",
        "-6 route add fd17::/64 nexthop via fd00::2 dev eth0 nexthop via fd00::3 dev eth0 weight 2",
        "-6 route add fd18::/64 via fd00::2 dev eth0 metric 5 mtu lock 1400 table 1000",
        "nexthop add id 1 via 10.0.0.2 dev eth0",
        "nexthop add id 2 via 10.1.0.2 dev d0",
        "nexthop add id 11 group 1,5/2,2",
        "route add 10.50.0.0/16 nhid 1",
        "route add 10.51.0.0/16 nhid 11",
    ] {
        lab.ip("a", line);
    }
}

#[test]
fn links_and_addresses_are_those_of_ip() {
    let lab = rich();
    let netns = lab.read("a");
    let links = lab.json("a", "-d link show");
    assert_eq!(netns.links.len(), links.len());
    let index = |name: &str| netns.link_named(name).map(|l| l.ifindex);
    for expected in &links {
        let name = text(expected, "ifname");
        let link = netns.link_named(&name).unwrap();
        assert_eq!(
            u64::from(link.ifindex.0),
            number(expected, "ifindex"),
            "{name}"
        );
        assert_eq!(u64::from(link.mtu), number(expected, "mtu"), "{name}");
        assert_eq!(link.up, has_flag(expected, "UP"), "{name}");
        assert_eq!(link.carrier, has_flag(expected, "LOWER_UP"), "{name}");
        assert_eq!(link.master, index(&text(expected, "master")), "{name}");
        if ["ether", "loopback"].contains(&expected["link_type"].as_str().unwrap()) {
            assert_eq!(link.mac, text(expected, "address"), "{name}");
        }
        let kind = text(&expected["linkinfo"], "info_kind");
        assert!(
            kind.is_empty() || kind == link.kind.name(),
            "{name}: {kind} {:?}",
            link.kind
        );
        settings(link, &expected["linkinfo"]["info_data"]);
    }
    let found: BTreeSet<String> = netns
        .addresses()
        .map(|(l, a)| format!("{} {}/{} {}", l.name, a.address, a.prefix_len, a.scope))
        .collect();
    let expected: BTreeSet<String> = lab
        .json("a", "addr show")
        .iter()
        .flat_map(|l| {
            let addresses = l["addr_info"].as_array().unwrap().iter();
            addresses.map(|a| {
                // `global` is a name for 0, also with -N
                let scope = match text(a, "scope").as_str() {
                    "global" => "0".into(),
                    "link" => "253".into(),
                    "host" => "254".into(),
                    n => n.to_owned(),
                };
                let (name, len) = (text(l, "ifname"), number(a, "prefixlen"));
                format!("{name} {}/{len} {scope}", text(a, "local"))
            })
        })
        .collect();
    assert_eq!(found, expected);
    pairs_and_lower_devices(&lab, &netns);
}

/// The settings of a tunnel, VLAN or VRF.
fn settings(link: &Link, data: &Value) {
    let address = |key: &str| -> Option<IpAddr> {
        let both = [text(data, key), text(data, &format!("{key}6"))];
        both.iter().find_map(|a| a.parse().ok())
    };
    match &link.kind {
        LinkKind::Vxlan {
            vni,
            port,
            local,
            remote,
        } => {
            let id = data["id"]
                .as_u64()
                .filter(|_| data.get("external").is_none());
            assert_eq!(vni.map(u64::from), id, "{}", link.name);
            assert_eq!(u64::from(*port), number(data, "port"), "{}", link.name);
            assert_eq!((*local, *remote), (address("local"), address("remote")));
        }
        LinkKind::Geneve { vni, port, remote } => {
            assert_eq!(vni.map(u64::from), data["id"].as_u64());
            assert_eq!(
                (u64::from(*port), *remote),
                (number(data, "port"), address("remote"))
            );
        }
        LinkKind::Tunnel { local, remote, .. } => {
            assert_eq!(
                (*local, *remote),
                (address("local"), address("remote")),
                "{}",
                link.name
            );
        }
        LinkKind::Vlan { id } => assert_eq!(u64::from(*id), number(data, "id")),
        LinkKind::Vrf { table } => assert_eq!(u64::from(*table), number(data, "table")),
        _ => {}
    }
}

fn pairs_and_lower_devices(lab: &Lab, netns: &Netns) {
    let link = |name: &str| netns.link_named(name).unwrap();
    let far = lab.read("b");
    assert_eq!(link("eth0").peer, far.link_named("far").map(|l| l.ifindex));
    assert_eq!(link("eth0").peer_netns, Some(far.id));
    assert_eq!(link("v1").peer, Some(link("v2").ifindex));
    assert_eq!(link("v1").peer_netns, None);
    for name in ["eth0.5", "mv0", "vx0"] {
        assert_eq!(link(name).lower, Some(link("eth0").ifindex), "{name}");
    }
    assert_eq!(link("vx6").lower, None);
    assert_eq!(link("vxe").kind.vni(), None);
}

/// A route in one line, whatever it comes from.
fn line(kind: &str, dst: &str, rest: &[String; 6]) -> String {
    format!("{kind} {dst} {}", rest.join(" "))
}

fn own_line(netns: &Netns, r: &Route) -> String {
    let hops: Vec<String> = r
        .nexthops
        .iter()
        .map(|n| {
            let gateway = n.gateway.map_or("-".into(), |g| g.to_string());
            let dev = n
                .dev
                .and_then(|d| netns.links.get(&d))
                .map_or("-", |l| &l.name);
            format!("[{gateway} {dev} {} {}]", n.weight, n.onlink)
        })
        .collect();
    let dst = match r.dst.to_string() {
        dst if r.dst.is_default() && r.kind.name() == "multicast" => format!("{dst}/0"),
        dst => dst,
    };
    line(
        r.kind.name(),
        &dst,
        &[
            format!("table {} proto {}", r.table, r.protocol),
            format!("scope {} metric {}", r.scope, r.metric),
            format!("src {}", r.prefsrc.map_or("-".into(), |a| a.to_string())),
            format!("mtu {}", r.mtu.unwrap_or(0)),
            format!("nhid {}", r.nhid.unwrap_or(0)),
            hops.join(","),
        ],
    )
}

fn ip_line(route: &Value) -> String {
    let hop = |n: &Value| {
        let gateway = n["gateway"]
            .as_str()
            .or(n["via"]["host"].as_str())
            .unwrap_or("-");
        let (dev, weight) = (text(n, "dev"), number(n, "weight").max(1));
        format!("[{gateway} {dev} {weight} {}]", has_flag(n, "onlink"))
    };
    // a number with -N
    let kind = RouteKind::from_rtn(text(route, "type").parse().unwrap()).name();
    let reject = ["blackhole", "unreachable", "prohibit", "throw"].contains(&kind);
    let hops: Vec<String> = match route["nexthops"].as_array() {
        Some(all) => all.iter().map(hop).collect(),
        None if reject => Vec::new(),
        None => vec![hop(route)],
    };
    let numeric = |key: &str| match text(route, key).as_str() {
        "" | "global" => "0".to_owned(),
        n => n.to_owned(),
    };
    let or_dash = |key: &str| match text(route, key) {
        s if s.is_empty() => "-".into(),
        s => s,
    };
    line(
        kind,
        &text(route, "dst"),
        &[
            format!("table {} proto {}", numeric("table"), numeric("protocol")),
            format!(
                "scope {} metric {}",
                numeric("scope"),
                number(route, "metric")
            ),
            format!("src {}", or_dash("prefsrc")),
            format!("mtu {}", number(&route["metrics"][0], "mtu")),
            format!("nhid {}", number(route, "nhid")),
            hops.join(","),
        ],
    )
}

#[test]
fn routes_are_those_of_ip() {
    let lab = rich();
    add_routes(&lab);
    let netns = lab.read("a");
    // a tunnel on a route prints `dst` twice in JSON: compared as text below
    let has_encap = |r: &Route| r.nexthops.iter().any(|n| n.encap.is_some());
    let plain = netns.routes.iter().filter(|r| !has_encap(r));
    let mut found: Vec<String> = plain.map(|r| own_line(&netns, r)).collect();
    let mut routes = lab.json("a", "-d -4 route show table all");
    routes.extend(lab.json("a", "-d -6 route show table all"));
    let plain = routes.iter().filter(|r| r.get("encap").is_none());
    let mut expected: Vec<String> = plain.map(ip_line).collect();
    found.sort();
    expected.sort();
    // `ip -6 route show table all` may list a table twice
    expected.dedup();
    assert_eq!(found, expected);
    assert!(found.len() > 25, "{}", found.len());

    let encaps = netns.routes.iter().flat_map(|r| r.nexthops.iter());
    let encaps: BTreeSet<&str> = encaps.filter_map(|n| n.encap.as_deref()).collect();
    let mut printed = lab.ip("a", "-4 route show table all");
    printed += &lab.ip("a", "-6 route show table all");
    let lines = printed
        .lines()
        .filter_map(|l| l.split_once("encap ")?.1.split_once(" dev"));
    let printed: BTreeSet<&str> = lines.map(|(encap, _)| encap.trim()).collect();
    assert_eq!(encaps, printed);
    assert_eq!(encaps.len(), 4);
}

#[test]
fn a_group_is_resolved_without_the_kernels_help() {
    let lab = rich();
    run(&format!(
        "ip netns exec {} sysctl -qw net.ipv4.nexthop_compat_mode=0",
        lab.name("a")
    ));
    add_routes(&lab);
    let netns = lab.read("a");
    let route = netns.routes.iter().find(|r| r.nhid == Some(11)).unwrap();
    let weights: Vec<u32> = route.nexthops.iter().map(|n| n.weight).collect();
    assert_eq!(weights, [5, 2]);
}

#[test]
fn rules_are_those_of_ip() {
    let lab = rich();
    for rule in [
        "pref 10 from 10.0.0.0/8 to 10.2.0.0/16 fwmark 0x10/0xff iif eth0 oif d0 table 100 suppress_prefixlength 0",
        "pref 11 not from 10.1.0.1 table 100",
        "pref 12 from all tos 0x10 table 200",
        "pref 13 uidrange 0-99 ipproto 99 sport 10-20 dport 80 table 201",
        "pref 14 fwmark 0x20 goto 32766",
        "pref 15 to 10.5.5.5 blackhole",
        "pref 16 to 10.5.5.6 unreachable",
        "pref 17 to 10.5.5.7 prohibit",
        "pref 18 to 10.5.5.8 goto 30000",
        "pref 19 nop",
        "pref 20 table 12345 protocol static",
        "pref 21 tun_id 7 table 9",
        "pref 33 iif gone0 table 40",
    ] {
        lab.ip("a", &format!("rule add {rule}"));
    }
    lab.ip("a", "-6 rule add pref 30 from fd00::/64 fwmark 1 table 40");
    lab.ip("a", "-6 rule add pref 31 not to fd00::1 table 40");
    let netns = lab.read("a");
    for (ipv6, words) in [(false, "-4 rule show"), (true, "-6 rule show")] {
        let printed = lab.ip("a", words);
        let expected: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let rules = netns.rules.iter().filter(|r| r.ipv6 == ipv6);
        let found: Vec<String> = rules
            .map(|r| format!("{}:\t{}", r.preference, r.text))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn neighbours_are_those_of_ip() {
    let lab = rich();
    for line in [
        "neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
        "neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud stale",
        "neigh add fd00::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
        "neigh add 10.0.0.6 dev eth0 nud failed",
        "neigh add proxy 10.0.0.66 dev eth0",
    ] {
        lab.ip("a", line);
    }
    let netns = lab.read("a");
    let found: BTreeSet<String> = netns
        .neighbours
        .iter()
        .map(|n| {
            let dev = &netns.links[&n.dev].name;
            format!(
                "{} {dev} {} {}",
                n.address,
                n.mac.as_deref().unwrap_or(""),
                n.state
            )
        })
        .collect();
    let expected: BTreeSet<String> = lab
        .json("a", "neigh show")
        .iter()
        .map(|n| {
            let state = text_of_first(&n["state"]);
            format!(
                "{} {} {} {state}",
                text(n, "dst"),
                text(n, "dev"),
                text(n, "lladdr")
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 4, "{found:?}");
}

fn text_of_first(value: &Value) -> String {
    value[0].as_str().unwrap_or_default().to_owned()
}

/// A node `n1` with an uplink to `fab` and a pod `p1` behind `lxc`.
fn node(test: &str) -> Lab {
    let lab = Lab::new(test, &["n1", "fab", "p1"]);
    for (dev, to, far) in [("eth0", "fab", "pn1"), ("lxc", "p1", "eth0")] {
        let (n1, to) = (lab.name("n1"), lab.name(to));
        run(&format!(
            "ip link add {dev} netns {n1} type veth peer name {far} netns {to}"
        ));
        lab.ip("n1", &format!("link set {dev} up"));
    }
    lab.ip("p1", "link set eth0 up");
    lab.ip("n1", "addr add 192.0.2.1/24 dev eth0");
    lab.ip("n1", "addr add 169.254.1.1/32 dev lxc scope link");
    lab.ip("p1", "addr add 10.244.1.10/32 dev eth0");
    lab.ip("n1", "route add 10.244.1.10 dev lxc scope link");
    lab
}

fn read_from(found: &Found, selection: &NetnsSelection) -> (Inventory, Vec<String>) {
    run_in(found, || read_inventory(selection))
        .unwrap()
        .unwrap()
}

#[test]
fn the_node_and_the_pods_behind_it_are_read() {
    let lab = node("pods");
    let ids = |i: &Inventory| -> Vec<NetnsId> { i.netns.keys().copied().collect() };
    let (n1, p1) = (lab.find("n1"), lab.find("p1"));
    let (inventory, notes) = read_from(&n1, &NetnsSelection::default());
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(
        (inventory.node.as_str(), inventory.home),
        (&*lab.name("n1"), n1.id)
    );
    assert_eq!(inventory.kernel, run("uname -r").trim());
    let mut expected = vec![n1.id, p1.id];
    expected.sort();
    assert_eq!(
        ids(&inventory),
        expected,
        "the fabric behind the uplink is left out"
    );
    let home = inventory.home().unwrap();
    let role = |name: &str| home.link_named(name).map(|l| l.role);
    assert_eq!(role("eth0"), Some(Role::Uplink));
    assert_eq!(role("lxc"), Some(Role::Pod));
    let lxc = home.link_named("lxc").unwrap();
    let (netns, far) = inventory.peer(n1.id, lxc.ifindex).unwrap();
    assert_eq!((netns, far.name.as_str()), (p1.id, "eth0"));
    let pod = &inventory.netns[&p1.id];
    assert!(pod.edge && !home.edge);
    let back = pod.link_named("eth0").unwrap();
    assert_eq!(
        (back.peer_netns, back.peer),
        (Some(n1.id), Some(lxc.ifindex))
    );

    let (alone, _) = read_from(&n1, &NetnsSelection::Home);
    assert_eq!(ids(&alone), [n1.id]);
    let (all, _) = read_from(&n1, &NetnsSelection::All);
    assert!(ids(&all).contains(&lab.find("fab").id));
    let named = NetnsSelection::Named(vec![lab.name("p1"), "self".into()]);
    let (named, _) = read_from(&n1, &named);
    assert_eq!((named.home, ids(&named)), (p1.id, expected));
}

#[test]
fn sysctls_are_those_of_each_namespace() {
    let lab = node("sysctl");
    let n1 = lab.name("n1");
    for (name, value) in [
        ("all.rp_filter", 2),
        ("eth0.rp_filter", 1),
        ("eth0.forwarding", 1),
    ] {
        run(&format!(
            "ip netns exec {n1} sysctl -qw net.ipv4.conf.{name}={value}"
        ));
    }
    let (inventory, _) = read_from(&lab.find("n1"), &NetnsSelection::default());
    let value = |netns: &str, name: &str| {
        let netns = &inventory.netns[&lab.find(netns).id];
        netns.sysctls.get(name).cloned().unwrap_or_default()
    };
    assert_eq!(value("n1", "ipv4/conf/all/rp_filter"), "2");
    assert_eq!(value("n1", "ipv4/conf/eth0/rp_filter"), "1");
    assert_eq!(value("n1", "ipv4/conf/eth0/forwarding"), "1");
    assert_eq!(value("p1", "ipv4/conf/eth0/forwarding"), "0");
    assert_ne!(value("n1", "ipv4/ip_forward"), "");
    assert_ne!(value("n1", "ipv6/conf/all/forwarding"), "");
}

/// Takes `CAP_SYS_ADMIN` from the calling thread and those that it starts.
fn without_sys_admin() {
    const VERSION_3: u32 = 0x2008_0522;
    const SYS_ADMIN: u32 = 1 << 21;
    let mut header = [VERSION_3, 0];
    // effective, permitted and inheritable of the lower and of the upper 32 capabilities
    let mut data = [0u32; 6];
    // SAFETY: both are laid out as the version asks for, and live until the call returns.
    let rc = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) };
    assert_eq!(rc, 0);
    data[0] &= !SYS_ADMIN;
    // SAFETY: as above.
    let rc = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr()) };
    assert_eq!(rc, 0);
}

#[test]
fn namespaces_that_may_not_be_entered_are_noted() {
    let lab = node("caps");
    let n1 = lab.find("n1");
    let read = || {
        without_sys_admin();
        read_inventory(&NetnsSelection::default()).unwrap()
    };
    let (inventory, notes) = run_in(&n1, read).unwrap();
    assert_eq!(inventory.netns.len(), 1);
    assert!(inventory.home().unwrap().link_named("lxc").is_some());
    let text = notes.join("\n");
    assert!(
        text.contains(&lab.name("p1")) && text.contains("CAP_SYS_ADMIN"),
        "{text}"
    );
}

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
    lab.ip("n1", "link add d7 type dummy");
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

/// 250 pods, each with a route. The limit is a machine's; an emulated one gets ten times as much.
#[test]
fn many_links_are_read_quickly() {
    let lab = Lab::new("many", &["n1"]);
    let batch = std::env::temp_dir().join(lab.name("batch"));
    let mut lines = String::new();
    for i in 0..250 {
        lines += &format!("link add d{i} type dummy\nlink set d{i} up\n");
        lines += &format!("addr add 10.9.{i}.1/32 dev d{i}\nroute add 10.10.{i}.0/24 dev d{i}\n");
    }
    std::fs::write(&batch, lines).unwrap();
    lab.ip("n1", &format!("-batch {}", batch.display()));
    std::fs::remove_file(&batch).unwrap();
    let n1 = lab.find("n1");
    let started = Instant::now();
    let (inventory, _) = read_from(&n1, &NetnsSelection::Home);
    let took = started.elapsed();
    let home = inventory.home().unwrap();
    assert!(home.links.len() > 250 && home.routes.len() > 750);
    let emulated = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|c| c.contains("TCG"));
    let limit = Duration::from_millis(if emulated { 1000 } else { 100 });
    assert!(took < limit, "{took:?}");
}
