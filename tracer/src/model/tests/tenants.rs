//! Two tenants with the same addresses on one node (VPCs of Kube-OVN): nothing may mix.

use super::*;

fn request() -> Tuple {
    udp("10.16.0.2", 5555, "10.16.0.3", 7)
}

/// `h-a1 — br-a — vxa (100)` and `h-b1 — br-b — vxb (200)` over `eth0`.
fn node() -> (Lab, [NetnsId; 2]) {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    let pods = [("a", 100), ("b", 200)].map(|(name, vni)| {
        let (bridge, port, tunnel) = (
            format!("br-{name}"),
            format!("h-{name}1"),
            format!("vx{name}"),
        );
        lab.link(&bridge, LinkKind::Bridge, Role::Bridge);
        let pod = lab.pod(&port);
        lab.vxlan(&tunnel, Some(vni));
        lab.set_master(&port, &bridge);
        lab.set_master(&tunnel, &bridge);
        pod
    });
    (lab, pods)
}

fn sends(lab: &mut Lab, tenant: &str, vni: u32, packets: u64) {
    let (port, tunnel) = (format!("h-{tenant}1"), format!("vx{tenant}"));
    lab.comes(request(), &port, packets);
    lab.leaves(request(), &port, &tunnel, packets).route = None;
    lab.leaves(request(), "", "eth0", packets).vxlan(vni);
}

fn receives(lab: &mut Lab, tuple: Tuple, tenant: &str, vni: u32, packets: u64) {
    let (port, tunnel) = (format!("h-{tenant}1"), format!("vx{tenant}"));
    lab.comes(tuple, "eth0", packets).vxlan(vni);
    lab.comes(tuple, &tunnel, packets);
    lab.leaves(tuple, &tunnel, &port, packets).route = None;
}

fn of<'a>(lab: &Lab, snapshot: &'a Snapshot, dev: &str) -> &'a Flow {
    snapshot
        .flows
        .iter()
        .find(|f| f.id.scope.dev == Some(lab.dev(dev)))
        .unwrap()
}

#[test]
fn the_sending_node_keeps_the_tenants_apart() {
    let (mut lab, _) = node();
    sends(&mut lab, "a", 100, 3);
    sends(&mut lab, "b", 200, 5);
    receives(&mut lab, request().reversed(), "a", 100, 3);
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 2);
    let (a, b) = (of(&lab, &snapshot, "h-a1"), of(&lab, &snapshot, "h-b1"));
    assert_eq!(
        lab.path(&a.forward),
        "in h-a1 3 | out vxa 3 | unicast dev eth0 | out eth0 vxlan/100 3"
    );
    assert_eq!(
        lab.path(&a.reply),
        "in eth0 vxlan/100 3 | in vxa 3 | out h-a1 3"
    );
    assert_eq!(
        lab.path(&b.forward),
        "in h-b1 5 | out vxb 5 | unicast dev eth0 | out eth0 vxlan/200 5"
    );
    assert_eq!(b.reply.packets, 0);
    assert_eq!(lab.outcome(&a.forward), "forwarded eth0");
    assert_eq!(lab.outcome(&b.forward), "unanswered eth0");
    // Trouble first.
    assert_eq!(snapshot.flows[0].id, b.id);
}

#[test]
fn the_receiving_node_gives_drops_to_the_tenant_whose_packets_ended() {
    for with_in_dev in [true, false] {
        let (mut lab, _) = node();
        receives(&mut lab, request(), "a", 100, 3);
        lab.comes(request(), "eth0", 3).vxlan(200);
        lab.comes(request(), "vxb", 3);
        let in_dev = with_in_dev.then(|| lab.dev("vxb"));
        lab.drops(request(), "NETFILTER_DROP", "h-b1", 3)
            .place
            .in_dev = in_dev;
        let snapshot = lab.later();
        assert_eq!(snapshot.flows.len(), 2);
        let vni = |v| {
            snapshot
                .flows
                .iter()
                .find(|f| f.id.scope.vni == Some(v))
                .unwrap()
        };
        assert_eq!(lab.outcome(&vni(200).forward), "dropped NETFILTER_DROP");
        assert_eq!(vni(200).forward.drops[0].count, 3);
        assert!(vni(100).forward.drops.is_empty());
        assert_eq!(lab.outcome(&vni(100).forward), "unanswered h-a1");
        assert!(snapshot.stray_drops.is_empty());
    }
}

#[test]
fn a_drop_that_fits_both_is_given_to_neither() {
    let (mut lab, _) = node();
    receives(&mut lab, request(), "a", 100, 3);
    receives(&mut lab, request(), "b", 200, 3);
    lab.drops(request(), "NETFILTER_DROP", "eth0", 1);
    let snapshot = lab.later();
    assert!(snapshot.flows.iter().all(|f| f.forward.drops.is_empty()));
    assert_eq!(snapshot.stray_drops.len(), 1);
}

#[test]
fn an_encapsulated_drop_goes_by_its_vni() {
    let (mut lab, _) = node();
    sends(&mut lab, "a", 100, 3);
    let encap = lab.leaves(request(), "", "eth0", 1).vxlan(200).encap;
    lab.events.pop();
    lab.comes(request(), "h-b1", 3);
    lab.leaves(request(), "h-b1", "vxb", 3).route = None;
    lab.drops(request(), "NETFILTER_DROP", "eth0", 3).encap = encap;
    let snapshot = lab.later();
    assert_eq!(
        lab.outcome(&of(&lab, &snapshot, "h-b1").forward),
        "dropped NETFILTER_DROP"
    );
    assert!(of(&lab, &snapshot, "h-a1").forward.drops.is_empty());
}

#[test]
fn drops_and_retransmits_inside_a_pod_belong_to_its_own_flow() {
    let (mut lab, pods) = node();
    receives(&mut lab, request(), "a", 100, 3);
    receives(&mut lab, request(), "b", 200, 3);
    lab.drops(request(), "NO_SOCKET", "", 3).place.netns = Some(pods[1]);
    let notice = TcpNotice {
        tuple: request().reversed(),
        netns: pods[0],
        what: TcpWhat::SendReset,
    };
    lab.event(Body::Tcp(notice));
    let snapshot = lab.later();
    let vni = |v| {
        snapshot
            .flows
            .iter()
            .find(|f| f.id.scope.vni == Some(v))
            .unwrap()
    };
    assert_eq!(lab.outcome(&vni(200).forward), "dropped NO_SOCKET");
    assert!(vni(100).forward.drops.is_empty());
    assert_eq!((vni(100).forward.resets, vni(200).forward.resets), (1, 0));
}

#[test]
fn answers_of_one_tenant_never_pair_with_the_other() {
    let (mut lab, _) = node();
    sends(&mut lab, "a", 100, 3);
    receives(&mut lab, request().reversed(), "b", 200, 3);
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 2);
    assert!(snapshot.flows.iter().all(|f| f.reply.packets == 0));
}

/// One collect-metadata device for all tenants.
fn shared_tunnel() -> Lab {
    let mut lab = Lab::new();
    lab.uplink("eth0", "10.0.0.1");
    lab.vxlan("vx0", None);
    for pod in ["h-a1", "h-b1"] {
        lab.pod(pod);
    }
    lab
}

#[test]
fn a_shared_tunnel_device_keeps_the_tenants_apart_that_send() {
    let mut lab = shared_tunnel();
    for (pod, vni, packets) in [("h-a1", 100, 3), ("h-b1", 200, 5)] {
        lab.comes(request(), pod, packets);
        lab.leaves(request(), pod, "vx0", packets).key.tunnel_key = Some(vni);
        lab.leaves(request(), "", "eth0", packets).vxlan(vni);
    }
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 2);
    for (pod, vni, packets) in [("h-a1", 100, 3), ("h-b1", 200, 5)] {
        assert_eq!(
            lab.path(&of(&lab, &snapshot, pod).forward),
            format!(
                "in {pod} {packets} | unicast dev vx0 | out vx0 {packets} | unicast dev eth0 | \
                 out eth0 vxlan/{vni} {packets}"
            )
        );
    }
}

#[test]
fn a_shared_tunnel_device_keeps_the_tenants_apart_that_receive() {
    let mut lab = shared_tunnel();
    for (pod, vni, packets) in [("h-a1", 100, 3), ("h-b1", 200, 5)] {
        lab.comes(request(), "eth0", packets).vxlan(vni);
        lab.comes(request(), "vx0", packets).key.tunnel_key = Some(vni);
        lab.leaves(request(), "vx0", pod, packets).key.tunnel_key = Some(vni);
    }
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 2, "{:#?}", snapshot.flows);
    for (pod, vni, packets) in [("h-a1", 100, 3), ("h-b1", 200, 5)] {
        let flow = snapshot.flows.iter().find(|f| f.id.scope.vni == Some(vni));
        assert_eq!(
            lab.path(&flow.unwrap().forward),
            format!(
                "in eth0 vxlan/{vni} {packets} | in vx0 {packets} | unicast dev {pod} | \
                 out {pod} {packets}"
            )
        );
    }
}

#[test]
fn a_packet_whose_vni_was_lost_on_the_way_is_nobodys() {
    let mut lab = shared_tunnel();
    for (vni, packets) in [(100, 3), (200, 5)] {
        lab.comes(request(), "eth0", packets).vxlan(vni);
        lab.comes(request(), "vx0", packets).key.tunnel_key = Some(vni);
    }
    lab.leaves(request(), "vx0", "h-a1", 8);
    let snapshot = lab.later();
    assert_eq!(snapshot.flows.len(), 3);
    let paths: Vec<String> = snapshot
        .flows
        .iter()
        .map(|f| lab.path(&f.forward))
        .collect();
    assert!(
        paths.contains(&"unicast dev h-a1 | out h-a1 8".to_owned()),
        "{paths:?}"
    );
}
