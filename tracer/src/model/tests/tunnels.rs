//! Flows through VXLAN devices.

use super::*;

/// A pod, an uplink, and `vx0` with this VNI (`None`: collect metadata).
fn node(vni: Option<u32>) -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab.pod("lxc-p1");
    lab.vxlan("vx0", vni);
    lab
}

fn send(lab: &mut Lab, packets: u64) {
    lab.comes(there(), "lxc-p1", packets);
    lab.leaves(there(), "lxc-p1", "vx0", packets);
    lab.leaves(there(), "", "eth0", packets).vxlan(7);
}

fn receive(lab: &mut Lab, packets: u64) {
    lab.comes(back(), "eth0", packets).vxlan(7);
    lab.comes(back(), "vx0", packets);
    lab.leaves(back(), "vx0", "lxc-p1", packets);
}

#[test]
fn both_directions_through_the_tunnel() {
    for vni in [Some(7), None] {
        let mut lab = node(vni);
        send(&mut lab, 3);
        receive(&mut lab, 3);
        let snapshot = lab.later();
        let flow = only(&snapshot);
        assert_eq!(
            lab.path(&flow.forward),
            "in lxc-p1 3 | unicast dev vx0 | out vx0 3 | unicast dev eth0 | out eth0 vxlan/7 3"
        );
        assert_eq!(
            lab.path(&flow.reply),
            "in eth0 vxlan/7 3 | in vx0 3 | unicast dev lxc-p1 | out lxc-p1 3"
        );
        assert_eq!(lab.outcome(&flow.forward), "forwarded eth0");
        assert_eq!((flow.forward.packets, flow.reply.packets), (3, 3));
    }
}

#[test]
fn tunnel_out_and_native_back() {
    let mut lab = node(Some(7));
    send(&mut lab, 3);
    lab.comes(back(), "eth0", 3);
    lab.leaves(back(), "eth0", "lxc-p1", 3);
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(
        lab.path(&flow.reply),
        "in eth0 3 | unicast dev lxc-p1 | out lxc-p1 3"
    );
    assert_eq!(lab.outcome(&flow.forward), "forwarded eth0");
}

#[test]
fn outer_decisions_are_explained_with_outer_addresses() {
    #[derive(Debug)]
    struct Echo;
    impl Explain for Echo {
        fn explain(&self, lookup: &Lookup, _: &RouteDecision) -> Option<Explanation> {
            Some(Explanation {
                why: None,
                rule: Some(lookup.mark),
                prefsrc: Some(lookup.src),
                table: Some(254),
                matched: Some(format!("{} {:?}", lookup.dst, lookup.iif.map(|i| i.0))),
            })
        }
    }
    let mut lab = node(Some(7));
    send(&mut lab, 3);
    let mut model = lab.model();
    model.set_explain(Arc::new(Echo));
    lab.events.iter().for_each(|e| model.apply(e));
    let snapshot = model.snapshot();
    let matched: Vec<_> = only(&snapshot)
        .forward
        .path
        .iter()
        .filter_map(|s| match s {
            Step::Route(d) => Some((d.matched.clone().unwrap(), d.decision.table.unwrap())),
            Step::Hop(_) => None,
        })
        .collect();
    assert_eq!(
        matched,
        [
            ("10.244.2.20 Some(3)".to_owned(), 254),
            ("10.0.0.2 None".to_owned(), 254)
        ]
    );
}

#[test]
fn collect_metadata_with_two_vnis_takes_the_one_of_the_route() {
    let mut lab = node(None);
    lab.comes(there(), "lxc-p1", 3);
    let mut decision = route(RouteKind::Unicast, Some(lab.dev("vx0")));
    decision.lwtunnel = Some(7);
    lab.leaves(there(), "lxc-p1", "vx0", 3).route = Some(decision);
    lab.leaves(there(), "", "eth0", 3).vxlan(7);
    lab.leaves(there(), "", "eth0", 5).vxlan(8);
    let snapshot = lab.snapshot();
    assert_eq!(snapshot.flows.len(), 2);
    let flow = snapshot
        .flows
        .iter()
        .find(|f| f.id.scope.dev.is_some())
        .unwrap();
    assert!(
        lab.path(&flow.forward)
            .ends_with("out vx0 3 | unicast dev eth0 | out eth0 vxlan/7 3")
    );
    let other = snapshot
        .flows
        .iter()
        .find(|f| f.id.scope.dev.is_none())
        .unwrap();
    assert_eq!((other.id.scope.vni, other.forward.packets), (Some(8), 5));
}

#[test]
fn collect_metadata_without_a_key_does_not_guess_between_two_vnis() {
    let mut lab = node(None);
    lab.comes(back(), "eth0", 3).vxlan(7);
    lab.comes(back(), "eth0", 5).vxlan(8);
    lab.comes(back(), "vx0", 8);
    lab.leaves(back(), "vx0", "lxc-p1", 8);
    let snapshot = lab.snapshot();
    let mut scopes: Vec<_> = snapshot
        .flows
        .iter()
        .map(|f| (f.id.scope.vni, f.forward.packets))
        .collect();
    scopes.sort();
    assert_eq!(scopes, [(None, 8), (Some(7), 3), (Some(8), 5)]);
}

#[test]
fn too_big_outer_packet_is_dropped_with_the_inner_flow() {
    let mut lab = node(Some(7));
    lab.comes(there(), "lxc-p1", 4);
    lab.leaves(there(), "lxc-p1", "vx0", 4);
    let encap = lab.leaves(there(), "", "eth0", 1).vxlan(7).encap;
    lab.events.pop();
    lab.drops(there(), "NOT_SPECIFIED", "eth0", 4).encap = encap;
    let snapshot = lab.later();
    let flow = only(&snapshot);
    assert_eq!(lab.outcome(&flow.forward), "dropped NOT_SPECIFIED");
    assert_eq!(flow.forward.drops[0].count, 4);
}

#[test]
fn icmp_about_the_outer_packet_shows_at_the_inner_flow() {
    let mut lab = node(Some(7));
    let outer = udp("10.0.0.1", 50_000, "10.0.0.2", 4789);
    let error = IcmpSample {
        about: outer,
        from: ip("10.0.0.254"),
        netns: HOME,
        dev: lab.dev("eth0"),
        dir: Dir::In,
        icmp_type: 3,
        code: 4,
        mtu: Some(1400),
        local: false,
        count: 2,
        first: KtimeNs(5),
        last: KtimeNs(6),
    };
    // The error may be reported before the flow that it is about.
    lab.event(Body::Icmp(error));
    let mut model = lab.model();
    lab.events.iter().for_each(|e| model.apply(e));
    assert_eq!(only(&model.snapshot()).forward.packets, 0);
    send(&mut lab, 3);
    lab.events.iter().for_each(|e| model.apply(e));
    assert_eq!(only(&model.snapshot()).forward.icmp, [error]);
    let newer = IcmpSample {
        count: 5,
        last: KtimeNs(9),
        ..error
    };
    model.apply(&Event {
        at: KtimeNs(9),
        body: Body::Icmp(newer),
    });
    assert_eq!(only(&model.snapshot()).forward.icmp, [newer]);
}
