//! `IFLA_LINKINFO`: what kind of device it is, and its settings. Numbers are those of
//! `linux/if_link.h` and `linux/if_tunnel.h`.

use crate::{event::Ifindex, inventory::LinkKind, net::wire::Attr};

const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;

/// What `IFLA_LINKINFO` says.
#[derive(Clone, Debug, Default)]
pub(super) struct Info {
    /// Kind; `None` when the driver gives none.
    pub(super) kind: Option<LinkKind>,
    /// Underlay device of a tunnel.
    pub(super) lower: Option<Ifindex>,
}

impl Info {
    /// Reads `IFLA_LINKINFO`.
    pub(super) fn parse(info: &Attr<'_>) -> Self {
        let (mut name, mut data) = (None, Vec::new());
        for attr in info.nested() {
            match attr.kind {
                INFO_KIND => name = Some(attr.text()),
                INFO_DATA => data = attr.nested().collect(),
                _ => {}
            }
        }
        let Some(name) = name else {
            return Self::default();
        };
        let (mut lower, settings) = (None, data.as_slice());
        let kind = match name.as_str() {
            "veth" => LinkKind::Veth,
            "netkit" => LinkKind::Netkit,
            "bridge" => LinkKind::Bridge,
            "vlan" => vlan(settings),
            "vrf" => vrf(settings),
            "vxlan" => vxlan(settings, &mut lower),
            "geneve" => geneve(settings),
            "tun" => return tun(name, settings),
            _ => match Layout::of(&name) {
                Some(layout) => layout.tunnel(name, settings, &mut lower),
                None => LinkKind::Other(name),
            },
        };
        Self {
            kind: Some(kind),
            lower,
        }
    }
}

/// A device number; 0 is none.
pub(super) fn device(attr: &Attr<'_>) -> Option<Ifindex> {
    attr.u32().filter(|n| *n != 0).map(Ifindex)
}

fn vlan(settings: &[Attr<'_>]) -> LinkKind {
    const IFLA_VLAN_ID: u16 = 1;
    let mut settings = settings.iter().filter(|a| a.kind == IFLA_VLAN_ID);
    let id = settings.find_map(Attr::u16).unwrap_or(0);
    LinkKind::Vlan { id }
}

fn vrf(settings: &[Attr<'_>]) -> LinkKind {
    const IFLA_VRF_TABLE: u16 = 1;
    let mut settings = settings.iter().filter(|a| a.kind == IFLA_VRF_TABLE);
    let table = settings.find_map(Attr::u32).unwrap_or(0);
    LinkKind::Vrf { table }
}

fn vxlan(settings: &[Attr<'_>], lower: &mut Option<Ifindex>) -> LinkKind {
    let (mut vni, mut port, mut external) = (None, 0, false);
    let (mut local_ip, mut remote_ip) = (None, None);
    for attr in settings {
        match attr.kind {
            1 => vni = attr.u32(),
            2 | 16 => remote_ip = attr.some_ip(),
            3 => *lower = device(attr),
            4 | 17 => local_ip = attr.some_ip(),
            15 => port = attr.be16().unwrap_or(0),
            25 => external = attr.u8().is_some_and(|on| on != 0),
            _ => {}
        }
    }
    LinkKind::Vxlan {
        vni: vni.filter(|_| !external),
        port,
        local: local_ip,
        remote: remote_ip,
    }
}

fn geneve(settings: &[Attr<'_>]) -> LinkKind {
    let (mut vni, mut port, mut external, mut remote_ip) = (None, 0, false, None);
    for attr in settings {
        match attr.kind {
            1 => vni = attr.u32(),
            2 | 7 => remote_ip = attr.some_ip(),
            5 => port = attr.be16().unwrap_or(0),
            // a flag: it has no value
            6 => external = true,
            _ => {}
        }
    }
    LinkKind::Geneve {
        vni: vni.filter(|_| !external),
        port,
        remote: remote_ip,
    }
}

/// A tap carries the frames of a virtual machine and is no tunnel.
fn tun(name: String, settings: &[Attr<'_>]) -> Info {
    const IFLA_TUN_TYPE: u16 = 3;
    const IFF_TAP: u8 = 2;
    let mut settings = settings.iter().filter(|a| a.kind == IFLA_TUN_TYPE);
    let tap = settings.any(|a| a.u8() == Some(IFF_TAP));
    let kind = if tap {
        LinkKind::Other(name)
    } else {
        LinkKind::Tunnel {
            kind: name,
            local: None,
            remote: None,
        }
    };
    Info {
        kind: Some(kind),
        lower: None,
    }
}

/// The numbers of a tunnel's attributes; 0 is an attribute that the kind does not have.
struct Layout {
    lower: u16,
    local: u16,
    remote: u16,
}

impl Layout {
    fn of(kind: &str) -> Option<Self> {
        let (lower, local, remote) = match kind {
            // IFLA_IPTUN_*
            "ipip" | "sit" | "ip6tnl" => (1, 2, 3),
            // IFLA_GRE_*
            "gre" | "gretap" | "erspan" | "ip6gre" | "ip6gretap" | "ip6erspan" => (1, 6, 7),
            // IFLA_VTI_*
            "vti" | "vti6" => (1, 4, 5),
            // IFLA_XFRM_*
            "xfrm" => (1, 0, 0),
            // peers are not told by rtnetlink
            "wireguard" => (0, 0, 0),
            _ => return None,
        };
        Some(Self {
            lower,
            local,
            remote,
        })
    }

    fn tunnel(&self, kind: String, settings: &[Attr<'_>], lower: &mut Option<Ifindex>) -> LinkKind {
        let (mut local_ip, mut remote_ip) = (None, None);
        for attr in settings.iter().filter(|a| a.kind != 0) {
            if attr.kind == self.lower {
                *lower = device(attr);
            } else if attr.kind == self.local {
                local_ip = attr.some_ip();
            } else if attr.kind == self.remote {
                remote_ip = attr.some_ip();
            }
        }
        LinkKind::Tunnel {
            kind,
            local: local_ip,
            remote: remote_ip,
        }
    }
}
