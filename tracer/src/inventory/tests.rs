//! Roles and lookups on configurations as they are found on nodes.

use rstest::rstest;

use super::*;

const HOME: NetnsId = NetnsId(1);
const ELSEWHERE: NetnsId = NetnsId(2);

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn prefix(s: &str) -> Prefix {
    let (address, len) = s.split_once('/').unwrap();
    Prefix::new(ip(address), len.parse().unwrap())
}

/// A configuration from short lines, with devices numbered in their order.
#[derive(Default)]
struct Build {
    netns: Netns,
}

impl Build {
    fn new() -> Self {
        let build = Self::default();
        build.dev("lo", LinkKind::Loopback, &["127.0.0.1/8"])
    }

    fn dev(mut self, name: &str, kind: LinkKind, addresses: &[&str]) -> Self {
        let ifindex = Ifindex(u32::try_from(self.netns.links.len()).unwrap() + 1);
        let address = |a: &&str| {
            let (address, len) = a.split_once('/').unwrap();
            let (len, scope) = match len.strip_suffix(" link") {
                Some(len) => (len, 253),
                None => (len, 0),
            };
            Address {
                address: ip(address),
                prefix_len: len.parse().unwrap(),
                scope,
            }
        };
        let pair = matches!(kind, LinkKind::Veth | LinkKind::Netkit);
        let link = Link {
            ifindex,
            name: name.into(),
            kind,
            role: Role::Other,
            mtu: 1500,
            up: true,
            carrier: true,
            mac: String::new(),
            master: None,
            lower: None,
            peer: pair.then_some(Ifindex(2)),
            peer_netns: pair.then_some(ELSEWHERE),
            addresses: addresses.iter().map(address).collect(),
        };
        self.netns.links.insert(ifindex, link);
        self
    }

    /// Changes the last device.
    fn with(mut self, change: impl FnOnce(&mut Link)) -> Self {
        change(self.netns.links.values_mut().next_back().unwrap());
        self
    }

    /// `TABLE DST [via GATEWAY] [dev DEV] [metric N] [src ADDRESS] [type KIND]`
    fn route(mut self, line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let value = |key: &str| {
            let at = words.iter().position(|w| *w == key)?;
            words.get(at + 1).copied()
        };
        let gateway = value("via").map(ip);
        let dev = value("dev").map(|d| self.netns.link_named(d).unwrap().ifindex);
        let hop = Nexthop {
            gateway,
            dev,
            weight: 1,
            onlink: false,
            dead: false,
            encap: None,
        };
        self.netns.routes.push(Route {
            dst: prefix(words[1]),
            table: words[0].parse().unwrap(),
            kind: match value("type") {
                Some("local") => RouteKind::Local,
                Some("blackhole") => RouteKind::Blackhole,
                Some("throw") => RouteKind::Throw,
                _ => RouteKind::Unicast,
            },
            protocol: 4,
            metric: value("metric").map_or(0, |m| m.parse().unwrap()),
            prefsrc: value("src").map(ip),
            scope: 0,
            nexthops: dev.map(|_| hop).into_iter().collect(),
            mtu: None,
            nhid: None,
        });
        self
    }

    fn rule(mut self, preference: u32, table: u32, change: impl FnOnce(&mut Rule)) -> Self {
        let mut rule = Rule {
            ipv6: false,
            preference,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            uid_range: None,
            ip_proto: None,
            tos: None,
            sport: None,
            dport: None,
            suppress_prefix_len: None,
            invert: false,
            table,
            action: RuleAction::Lookup,
            text: String::new(),
        };
        change(&mut rule);
        self.netns.rules.push(rule);
        self
    }

    fn default_rules(self) -> Self {
        self.rule(0, 255, |_| {})
            .rule(32766, 254, |_| {})
            .rule(32767, 253, |_| {})
    }

    fn done(mut self) -> Netns {
        self.netns.id = HOME;
        self.netns.rules.sort_by_key(|r| r.preference);
        let mut inventory = Inventory {
            home: HOME,
            netns: [(HOME, self.netns)].into(),
            ..Inventory::default()
        };
        assign_roles(&mut inventory);
        inventory.netns.remove(&HOME).unwrap()
    }
}

fn vxlan() -> LinkKind {
    LinkKind::Vxlan {
        vni: Some(1),
        port: 8472,
        local: None,
        remote: None,
    }
}

fn roles_of(netns: &Netns) -> Vec<(&str, Role)> {
    let links = netns.links.values().filter(|l| l.name != "lo");
    links.map(|l| (l.name.as_str(), l.role)).collect()
}

/// A tunnel between nodes, with native routes beside it.
fn tunnel_node() -> Build {
    Build::new()
        .dev("eth0", LinkKind::Veth, &["192.0.2.1/24", "fd00::1/64"])
        .dev(
            "lxc-p1",
            LinkKind::Veth,
            &["169.254.1.1/32 link", "fe80::1/64"],
        )
        .dev("vx0", vxlan(), &["10.244.1.0/32"])
        .route("254 10.244.2.0/24 via 10.244.2.0 dev vx0")
}

/// Two interfaces of one machine, each with a table.
fn two_uplinks() -> Build {
    Build::new()
        .dev("ens5", LinkKind::Veth, &["10.0.0.10/20"])
        .dev("ens6", LinkKind::Veth, &["10.0.16.10/20"])
        .dev("eni1", LinkKind::Veth, &[])
        .default_rules()
        .route("254 0.0.0.0/0 via 10.0.0.1 dev ens5 metric 512")
        .route("254 10.0.0.0/20 dev ens5 src 10.0.0.10")
        .route("254 10.0.16.0/20 dev ens6")
        .route("6 0.0.0.0/0 via 10.0.16.1 dev ens6")
        .route("254 10.0.17.5/32 dev eni1")
        .route("255 10.0.0.10/32 dev ens5 type local")
        .rule(512, 254, |r| r.to = Some(prefix("10.0.17.5/32")))
        .rule(1536, 6, |r| r.from = Some(prefix("10.0.17.5/32")))
}

/// Two VPCs with the same addresses, each in a VRF.
fn overlapping_vpcs() -> Build {
    Build::new()
        .dev("eth0", LinkKind::Veth, &["192.0.2.1/24"])
        .dev("vrf-a", LinkKind::Vrf { table: 101 }, &[])
        .dev("br-a", LinkKind::Bridge, &["10.0.0.1/24"])
        .with(|l| l.master = Some(Ifindex(3)))
        .dev("vx-a", vxlan(), &[])
        .with(|l| l.master = Some(Ifindex(4)))
        .dev("pod-a", LinkKind::Veth, &[])
        .with(|l| l.master = Some(Ifindex(4)))
        .route("101 10.0.0.0/24 dev br-a")
        .rule(0, 255, |_| {})
        .rule(1000, 0, |_| {})
        .rule(32766, 254, |_| {})
}

/// IPv6 with and without a default route: the address alone makes the uplink.
fn v6_node(default: bool) -> Build {
    let build = Build::new()
        .dev(
            "eth0",
            LinkKind::Veth,
            &["2001:db8:0:a0::1/64", "fe80::2/64"],
        )
        .dev(
            "lxc-p1",
            LinkKind::Veth,
            &["169.254.1.1/32 link", "fe80::1/64"],
        )
        .dev("lxc-p1b", LinkKind::Netkit, &["fe80::1/64"]);
    if default {
        build.route("254 ::/0 via fe80::1 dev eth0 metric 1024")
    } else {
        build
    }
}

#[rstest]
#[case::tunnel(tunnel_node(), &[("eth0", Role::Uplink), ("lxc-p1", Role::Pod), ("vx0", Role::Tunnel)])]
#[case::two_uplinks(
    two_uplinks(),
    &[("ens5", Role::Uplink), ("ens6", Role::Uplink), ("eni1", Role::Pod)]
)]
#[case::overlapping(
    overlapping_vpcs(),
    &[("eth0", Role::Uplink), ("vrf-a", Role::Other), ("br-a", Role::Bridge),
      ("vx-a", Role::Tunnel), ("pod-a", Role::Pod)]
)]
#[case::v6(
    v6_node(true),
    &[("eth0", Role::Uplink), ("lxc-p1", Role::Pod), ("lxc-p1b", Role::Pod)]
)]
#[case::v6_without_default(
    v6_node(false),
    &[("eth0", Role::Uplink), ("lxc-p1", Role::Pod), ("lxc-p1b", Role::Pod)]
)]
#[case::flannel(
    Build::new()
        .dev("eth0", LinkKind::Physical, &["10.0.0.1/24"])
        .dev("cni0", LinkKind::Bridge, &["10.244.1.1/24"])
        .dev("vethab", LinkKind::Veth, &["fe80::3/64"])
        .dev("kube-ipvs0", LinkKind::Other("dummy".into()), &["10.96.0.1/32"])
        .route("254 0.0.0.0/0 via 10.0.0.254 dev eth0"),
    &[("eth0", Role::Uplink), ("cni0", Role::Bridge), ("vethab", Role::Pod),
      ("kube-ipvs0", Role::Other)]
)]
#[case::bond_vlan(
    Build::new()
        .dev("eth0", LinkKind::Physical, &[])
        .with(|l| l.master = Some(Ifindex(3)))
        .dev("bond0", LinkKind::Other("bond".into()), &[])
        .dev("bond0.5", LinkKind::Vlan { id: 5 }, &["10.0.0.1/24"])
        .with(|l| l.lower = Some(Ifindex(3)))
        .dev("spare", LinkKind::Physical, &[]),
    &[("eth0", Role::Uplink), ("bond0", Role::Uplink), ("bond0.5", Role::Uplink),
      ("spare", Role::Other)]
)]
#[case::bridged_node(
    Build::new()
        .dev("eth0", LinkKind::Physical, &[])
        .with(|l| l.master = Some(Ifindex(3)))
        .dev("br0", LinkKind::Bridge, &["10.0.0.1/24"])
        .route("254 0.0.0.0/0 via 10.0.0.254 dev br0"),
    &[("eth0", Role::Uplink), ("br0", Role::Uplink)]
)]
#[case::pair_within(
    Build::new()
        .dev("cilium_host", LinkKind::Veth, &["10.244.1.1/32"])
        .with(|l| (l.peer, l.peer_netns) = (Some(Ifindex(3)), None))
        .dev("cilium_net", LinkKind::Veth, &[])
        .with(|l| (l.peer, l.peer_netns) = (Some(Ifindex(2)), None)),
    &[("cilium_host", Role::Other), ("cilium_net", Role::Other)]
)]
#[case::far_end_not_identified(
    Build::new()
        .dev("lxc", LinkKind::Veth, &[])
        .with(|l| l.peer_netns = None),
    &[("lxc", Role::Pod)]
)]
#[case::tunnel_with_default(
    Build::new()
        .dev("wg0", LinkKind::Tunnel { kind: "wireguard".into(), local: None, remote: None }, &["10.7.0.1/24"])
        .route("254 0.0.0.0/0 dev wg0"),
    &[("wg0", Role::Tunnel)]
)]
fn roles_follow_from_kind_addresses_and_routes(
    #[case] build: Build,
    #[case] expected: &[(&str, Role)],
) {
    assert_eq!(roles_of(&build.done()), expected);
}

fn query<'a>(src: &str, dst: &str, iif: Option<&'a str>) -> Query<'a> {
    let dst = ip(dst);
    Query {
        ipv6: dst.is_ipv6(),
        src: Some(ip(src)),
        dst,
        iif,
        mark: 0,
        transport: None,
        asked: None,
    }
}

/// Preference, table and destination that a lookup gives.
fn looked_up(netns: &Netns, q: &Query<'_>) -> Option<(u32, u32, String)> {
    let (rule, route) = netns.lookup(q)?;
    Some((rule.preference, route.table, route.dst.to_string()))
}

#[rstest]
#[case::pod_by_its_rule("10.0.17.5", "8.8.8.8", Some("eni1"), (1536, 6, "default"))]
#[case::node_by_main("10.0.0.10", "8.8.8.8", None, (32766, 254, "default"))]
#[case::longest_prefix("10.0.0.10", "10.0.16.77", None, (32766, 254, "10.0.16.0/20"))]
#[case::to_the_pod("8.8.8.8", "10.0.17.5", Some("ens6"), (512, 254, "10.0.17.5"))]
#[case::to_the_node("8.8.8.8", "10.0.0.10", Some("ens5"), (0, 255, "10.0.0.10"))]
fn a_lookup_chooses_as_the_kernel_does(
    #[case] src: &str,
    #[case] dst: &str,
    #[case] iif: Option<&str>,
    #[case] (rule, table, matched): (u32, u32, &str),
) {
    let netns = two_uplinks().done();
    let found = looked_up(&netns, &query(src, dst, iif)).unwrap();
    assert_eq!(found, (rule, table, matched.to_owned()));
}

/// A main table with a default route, and what `change` makes of rule 100 to table 100.
fn ruled(change: impl FnOnce(&mut Rule)) -> Netns {
    Build::new()
        .dev("eth0", LinkKind::Physical, &["10.0.0.1/24"])
        .default_rules()
        .rule(100, 100, change)
        .route("254 0.0.0.0/0 via 10.0.0.254 dev eth0")
        .route("100 0.0.0.0/0 via 10.0.0.253 dev eth0")
        .route("100 10.9.0.0/16 dev eth0 metric 20")
        .route("100 10.9.0.0/16 via 10.0.0.9 dev eth0 metric 10")
        .route("100 10.8.0.0/16 type throw")
        .done()
}

#[rstest]
#[case::from(ruled(|r| r.from = Some(prefix("10.1.0.0/16"))), true)]
#[case::from_else(ruled(|r| r.from = Some(prefix("10.2.0.0/16"))), false)]
#[case::not_from(ruled(|r| (r.from, r.invert) = (Some(prefix("10.1.0.0/16")), true)), false)]
#[case::to(ruled(|r| r.to = Some(prefix("8.0.0.0/8"))), true)]
#[case::iif(ruled(|r| r.iif = Some("eth0".into())), true)]
#[case::iif_else(ruled(|r| r.iif = Some("lo".into())), false)]
#[case::oif(ruled(|r| r.oif = Some("eth0".into())), false)]
#[case::mark(ruled(|r| r.fwmark = Some((0x10, 0xf0))), true)]
#[case::mark_else(ruled(|r| r.fwmark = Some((0x20, 0xf0))), false)]
#[case::suppressed(ruled(|r| r.suppress_prefix_len = Some(0)), false)]
#[case::goto_beyond(
    ruled(|r| (r.preference, r.action) = (50, RuleAction::Goto(32766))), false
)]
#[case::nop(ruled(|r| r.action = RuleAction::Nop), false)]
#[case::another_family(ruled(|r| r.ipv6 = true), false)]
#[case::port_is_not_known(ruled(|r| r.sport = Some((80, 80))), false)]
#[case::packets_of_others_have_user_0(ruled(|r| r.uid_range = Some((0, 99))), true)]
#[case::another_user(ruled(|r| r.uid_range = Some((1, 99))), false)]
#[case::device_called_tos(
    ruled(|r| (r.iif, r.text) = (Some("eth0".into()), "from all iif tos lookup 100".into())), true
)]
fn a_rule_applies_or_not(#[case] netns: Netns, #[case] applies: bool) {
    let q = Query {
        mark: 0x1f,
        ..query("10.1.0.1", "8.8.8.8", Some("eth0"))
    };
    let expected = if applies { 100 } else { 254 };
    assert_eq!(looked_up(&netns, &q).unwrap().1, expected);
}

#[test]
fn the_lowest_metric_wins_and_a_throw_goes_on() {
    let netns = ruled(|_| {});
    let (_, route) = netns.lookup(&query("10.1.0.1", "10.9.1.1", None)).unwrap();
    assert_eq!(route.metric, 10);
    let thrown = looked_up(&netns, &query("10.1.0.1", "10.8.1.1", None)).unwrap();
    assert_eq!((thrown.0, thrown.1), (32766, 254));
}

#[test]
fn a_rule_that_refuses_ends_the_lookup() {
    let netns = ruled(|r| r.action = RuleAction::Prohibit);
    assert_eq!(looked_up(&netns, &query("10.1.0.1", "8.8.8.8", None)), None);
}

#[test]
fn an_l3mdev_rule_leads_to_the_table_of_the_vrf() {
    let netns = overlapping_vpcs().done();
    let q = query("10.0.0.9", "10.0.0.7", Some("br-a"));
    assert_eq!(
        looked_up(&netns, &q),
        Some((1000, 101, "10.0.0.0/24".into()))
    );
    assert_eq!(
        looked_up(&netns, &query("10.0.0.9", "10.0.0.7", Some("eth0"))),
        None
    );
}

#[test]
fn rules_that_cannot_be_judged_are_named() {
    let netns = ruled(|r| r.uid_range = Some((0, 99)));
    let q = query("10.1.0.1", "8.8.8.8", None);
    let unjudged: Vec<u32> = netns.unjudged(&q).map(|r| r.preference).collect();
    assert_eq!(unjudged, [100]);
    // it does not apply whoever the user is
    let netns = ruled(|r| (r.uid_range, r.to) = (Some((0, 99)), Some(prefix("9.0.0.0/8"))));
    assert_eq!(netns.unjudged(&q).count(), 0);
}

/// What was seen, with devices by name.
fn seen(netns: &Netns, kind: RouteKind, table: Option<u32>, via: Option<&str>, dev: &str) -> Seen {
    Seen {
        kind: Some(kind),
        table,
        gateway: via.map(ip),
        dev: netns.link_named(dev).map(|l| l.ifindex),
        any_gateway: false,
    }
}

#[test]
fn a_decision_is_explained_by_the_configuration_that_gives_it() {
    let netns = two_uplinks().done();
    let explained = |q: &Query<'_>, seen: &Seen| {
        let found = netns.explain(q, seen)?;
        let route = found.route?;
        Some((found.rule, route.table, route.dst.to_string()))
    };
    let out = query("10.0.17.5", "8.8.8.8", Some("eni1"));
    let unicast = RouteKind::Unicast;
    let by_rule = seen(&netns, unicast, None, Some("10.0.16.1"), "ens6");
    assert_eq!(
        explained(&out, &by_rule),
        Some((Some(1536), 6, "default".into()))
    );
    // not by the rules as they are now: none is named
    let by_main = seen(&netns, unicast, None, Some("10.0.0.1"), "ens5");
    assert_eq!(
        explained(&out, &by_main),
        Some((None, 254, "default".into()))
    );
    let nowhere = seen(&netns, unicast, None, Some("10.0.0.99"), "ens5");
    assert_eq!(explained(&out, &nowhere), None);
    // delivered packets are on lo, the route names the device of the address
    let to_node = query("8.8.8.8", "10.0.0.10", Some("ens5"));
    let local = seen(&netns, RouteKind::Local, None, None, "lo");
    assert_eq!(
        explained(&to_node, &local),
        Some((Some(0), 255, "10.0.0.10".into()))
    );
}

#[test]
fn a_table_that_no_rule_leads_to_is_still_named() {
    let netns = Build::new()
        .dev("eth0", LinkKind::Physical, &["10.0.0.1/24"])
        .default_rules()
        .route("77 10.9.0.0/16 dev eth0")
        .done();
    let q = query("10.1.0.1", "10.9.1.1", None);
    let found = seen(&netns, RouteKind::Unicast, Some(77), None, "eth0");
    let found = netns.explain(&q, &found).unwrap();
    assert_eq!((found.rule, found.route.unwrap().table), (None, 77));
}

#[test]
fn a_rule_that_may_apply_explains_when_no_other_does() {
    let netns = ruled(|r| r.uid_range = Some((0, 99)));
    let q = query("10.1.0.1", "8.8.8.8", None);
    let by_user = seen(&netns, RouteKind::Unicast, None, Some("10.0.0.253"), "eth0");
    assert_eq!(netns.explain(&q, &by_user).unwrap().rule, Some(100));
}
