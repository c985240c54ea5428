use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::net::wire::push_attr;

type Settings<'a> = &'a [(u16, &'a [u8])];

/// A link message; `info` is kind and settings.
fn message(
    device_type: u16,
    attrs: &[(u16, Vec<u8>)],
    info: Option<(&str, Settings<'_>)>,
) -> Vec<u8> {
    let mut body = request(0, IFINFOMSG);
    body[2..4].copy_from_slice(&device_type.to_ne_bytes());
    body[4..8].copy_from_slice(&7u32.to_ne_bytes());
    body[8..12].copy_from_slice(&(IFF_UP | IFF_LOWER_UP).to_ne_bytes());
    push_attr(&mut body, IFLA_IFNAME, b"dev7\0");
    for (kind, data) in attrs {
        push_attr(&mut body, *kind, data);
    }
    if let Some((kind, settings)) = info {
        let mut data = Vec::new();
        for (number, value) in settings {
            push_attr(&mut data, *number, value);
        }
        let mut nested = Vec::new();
        push_attr(&mut nested, 1, kind.as_bytes());
        push_attr(&mut nested, 2, &data);
        push_attr(&mut body, IFLA_LINKINFO | 0x8000, &nested);
    }
    body
}

fn kind_of(kind: &str, settings: &[(u16, &[u8])]) -> LinkKind {
    let defects = Defects::default();
    let body = message(ARPHRD_ETHER, &[], Some((kind, settings)));
    let link = parse_link(&body, &defects).unwrap().link;
    assert_eq!(defects.count(), 0);
    link.kind
}

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

#[test]
fn kinds_are_read_with_their_settings() {
    let vni = 42u32.to_ne_bytes();
    let port = 8472u16.to_be_bytes();
    let vxlan: &[(u16, &[u8])] = &[
        (1, &vni),
        (15, &port),
        (4, &[10, 0, 0, 1]),
        (2, &[10, 0, 0, 2]),
    ];
    let expected = LinkKind::Vxlan {
        vni: Some(42),
        port: 8472,
        local: Some(ip("10.0.0.1")),
        remote: Some(ip("10.0.0.2")),
    };
    assert_eq!(kind_of("vxlan", vxlan), expected);
    let external = kind_of("vxlan", &[(1, &[0; 4]), (15, &port), (25, &[1])]);
    assert_eq!(external.vni(), None);
    let geneve = kind_of(
        "geneve",
        &[(1, &5u32.to_ne_bytes()), (5, &6081u16.to_be_bytes())],
    );
    assert_eq!(geneve.vni(), Some(5));
    let external = kind_of("geneve", &[(1, &0u32.to_ne_bytes()), (6, &[])]);
    assert_eq!(external.vni(), None);
    assert_eq!(
        kind_of("vlan", &[(1, &5u16.to_ne_bytes())]),
        LinkKind::Vlan { id: 5 }
    );
    assert_eq!(
        kind_of("vrf", &[(1, &77u32.to_ne_bytes())]),
        LinkKind::Vrf { table: 77 }
    );
    assert_eq!(kind_of("dummy", &[]), LinkKind::Other("dummy".into()));
}

#[test]
fn tunnels_differ_in_where_their_addresses_are() {
    let (own, far): (&[u8], &[u8]) = (&[10, 0, 0, 1], &[10, 0, 0, 2]);
    for (kind, local, remote) in [("ipip", 2, 3), ("gre", 6, 7), ("vti", 4, 5)] {
        let expected = LinkKind::Tunnel {
            kind: kind.into(),
            local: Some(ip("10.0.0.1")),
            remote: Some(ip("10.0.0.2")),
        };
        assert_eq!(kind_of(kind, &[(local, own), (remote, far)]), expected);
    }
    assert!(kind_of("tun", &[(3, &[1])]).is_tunnel());
    assert!(!kind_of("tun", &[(3, &[2])]).is_tunnel(), "a tap");
}

#[test]
fn the_far_end_of_a_pair_is_no_lower_device() {
    let linked = (IFLA_LINK, 9u32.to_ne_bytes().to_vec());
    let elsewhere = (IFLA_LINK_NETNSID, 3u32.to_ne_bytes().to_vec());
    let parse = |attrs: &[_], kind| {
        let body = message(ARPHRD_ETHER, attrs, Some((kind, &[])));
        parse_link(&body, &Defects::default()).unwrap()
    };
    let veth = parse(&[linked.clone(), elsewhere.clone()], "veth");
    assert_eq!((veth.link.peer, veth.link.lower), (Some(Ifindex(9)), None));
    assert_eq!(veth.link_nsid, Some(3));
    let vlan = parse(std::slice::from_ref(&linked), "vlan");
    assert_eq!((vlan.link.peer, vlan.link.lower), (None, Some(Ifindex(9))));
    // number 9 is a device of another namespace
    let moved = parse(&[linked, elsewhere], "macvlan");
    assert_eq!(moved.link.lower, None);
}

#[test]
fn a_point_to_point_address_has_no_prefix_of_its_own() {
    let mut body = request(2, IFADDRMSG);
    body[1] = 24;
    push_attr(&mut body, IFA_ADDRESS, &[10, 9, 0, 2]);
    push_attr(&mut body, IFA_LOCAL, &[10, 0, 0, 1]);
    let (_, address) = parse_address(&body, &Defects::default()).unwrap();
    assert_eq!((address.address, address.prefix_len), (ip("10.0.0.1"), 32));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let defects = Defects::default();
        prop_assert!(bytes.len() >= IFINFOMSG || parse_link(&bytes, &defects).is_none());
        prop_assert!(bytes.len() >= IFADDRMSG || parse_address(&bytes, &defects).is_none());
    }

    /// Real messages with a few bytes changed reach deeper than noise.
    #[test]
    fn damaged_links_are_survived(
        at in proptest::collection::vec((0usize..100, any::<u8>()), 1..8),
        cut in 0usize..120,
    ) {
        let settings: &[(u16, &[u8])] = &[(1, &[1, 0, 0, 0]), (15, &[1, 2]), (2, &[1, 2, 3, 4])];
        let mut body = message(ARPHRD_ETHER, &[(IFLA_MTU, vec![1, 2, 3, 4])], Some(("vxlan", settings)));
        for (at, value) in at {
            if let Some(byte) = body.get_mut(at) {
                *byte = value;
            }
        }
        body.truncate(cut);
        let defects = Defects::default();
        if let Some(found) = parse_link(&body, &defects) {
            prop_assert!(!found.link.name.is_empty());
        }
    }
}
