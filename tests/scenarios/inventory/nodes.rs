//! A node and the pods behind it.

use std::path::Path;

use crate::lab::*;
use tracer::{
    event::NetnsId,
    inventory::{Inventory, Role},
    net::{
        NetnsSelection,
        netns::{Found, run_in},
        read_inventory,
    },
};

/// A node `n1` with an uplink to `fab` and a pod `p1` behind `lxc`.
pub(crate) fn node(test: &str) -> Lab {
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

pub(crate) fn read_from(found: &Found, selection: &NetnsSelection) -> (Inventory, Vec<String>) {
    let read = || read_inventory(selection, Path::new("/proc")).unwrap();
    let read = run_in(found, read).unwrap();
    (read.inventory, read.notes)
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
        read_inventory(&NetnsSelection::default(), Path::new("/proc")).unwrap()
    };
    let read = run_in(&n1, read).unwrap();
    let (inventory, notes) = (read.inventory, read.notes);
    assert_eq!(inventory.netns.len(), 1);
    assert!(inventory.home().unwrap().link_named("lxc").is_some());
    let text = notes.join("\n");
    assert!(
        text.contains(&lab.name("p1")) && text.contains("CAP_SYS_ADMIN"),
        "{text}"
    );
}
