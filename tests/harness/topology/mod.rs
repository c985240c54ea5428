//! A lab written down as data: who is connected to what, with which addresses and routes.
//!
//! ```no_run
//! use harness::Topology;
//!
//! let network = Topology::new("two-nodes")
//!     .ns(&["fab", "n1", "n2"])
//!     .forwarding(&["n1", "n2"])
//!     .veth(("n1", "eth0"), ("fab", "pn1"))
//!     .veth(("n2", "eth0"), ("fab", "pn2"))
//!     .bridge("fab", "br0", &["pn1", "pn2"])
//!     .addr("n1", "eth0", &["10.0.0.1/24", "fd00::1/64"])
//!     .addr("n2", "eth0", &["10.0.0.2/24", "fd00::2/64"])
//!     .pod("n1", "p1", "10.244.1.10", Some("fd44:1::10"))
//!     .route("n1", "10.244.2.0/24 via 10.0.0.2")
//!     .raise()?;
//! network.ns("n1")?.exec(&["ip", "route"])?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! What follows a namespace's name is what one types after `ip route add`, `ip link add`, `nft -f -`
//! and so on. Namespaces and veth pairs are made first, then the rest, in the order written within
//! each namespace; what comes after a `reach` happens after it in all of them.

mod network;

pub use network::Network;

use anyhow::Result;

/// One end of a veth pair: namespace, device and, where it matters, the MAC address.
#[derive(Debug, Clone)]
pub struct End {
    pub(crate) ns: String,
    pub(crate) dev: String,
    pub(crate) mac: Option<String>,
}

impl From<(&str, &str)> for End {
    fn from((ns, dev): (&str, &str)) -> Self {
        Self {
            ns: ns.to_owned(),
            dev: dev.to_owned(),
            mac: None,
        }
    }
}

impl From<(&str, &str, &str)> for End {
    fn from((ns, dev, mac): (&str, &str, &str)) -> Self {
        Self {
            mac: Some(mac.to_owned()),
            ..(ns, dev).into()
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Ip,
    /// `ip` with IPv6 where a command does not say the family.
    Ip6,
    Bridge,
    Tc,
}

impl Tool {
    pub(crate) fn argv(self) -> &'static [&'static str] {
        match self {
            Self::Ip => &["ip"],
            Self::Ip6 => &["ip", "-6"],
            Self::Bridge => &["bridge"],
            Self::Tc => &["tc"],
        }
    }
}

/// Something to do in a namespace once links are there.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Command(Tool, String),
    Nft(String),
    Sysctl {
        key: String,
        value: String,
        optional: bool,
    },
    OffloadOff(String),
    ChecksumsInSoftware(String),
    Reach(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) ns: String,
    pub(crate) action: Action,
}

/// A description of namespaces, links, addresses, routes; [`raise`](Self::raise) makes it real.
#[derive(Debug, Clone)]
#[must_use = "a topology is only a description until it is raised"]
pub struct Topology {
    pub(crate) name: String,
    pub(crate) spaces: Vec<String>,
    pub(crate) pairs: Vec<(End, End)>,
    pub(crate) steps: Vec<Step>,
}

impl Topology {
    /// An empty lab. `name` becomes the start of the names of its namespaces.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            spaces: Vec::new(),
            pairs: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Makes the namespaces, and the links, addresses and routes in them.
    pub fn raise(self) -> Result<Network> {
        Network::raise(&self)
    }

    /// Applies `change` when `condition` holds: for what only some modes of a lab have.
    pub fn when(self, condition: bool, change: impl FnOnce(Self) -> Self) -> Self {
        if condition { change(self) } else { self }
    }

    /// Applies `change` to each of `items` in turn.
    pub fn for_each<T>(
        self,
        items: impl IntoIterator<Item = T>,
        change: fn(Self, T) -> Self,
    ) -> Self {
        items.into_iter().fold(self, change)
    }

    /// Namespaces, called by these roles throughout: lo up, no duplicate address detection, no
    /// router solicitations, `rp_filter` 0, no rate limit on ICMP errors, no forwarding.
    pub fn ns(mut self, roles: &[&str]) -> Self {
        self.spaces
            .extend(roles.iter().map(|&role| role.to_owned()));
        self
    }

    /// Makes routers of these namespaces, IPv4 and IPv6.
    pub fn forwarding(self, roles: &[&str]) -> Self {
        roles.iter().fold(self, |topology, role| {
            topology
                .sysctl(role, "net.ipv4.ip_forward=1")
                .sysctl(role, "net.ipv6.conf.all.forwarding=1")
                .sysctl(role, "net.ipv6.conf.default.forwarding=1")
        })
    }

    /// A veth pair, both ends up: `.veth(("n1", "eth0"), ("fab", "pn1"))`, with a MAC address as
    /// third member where it matters.
    pub fn veth(mut self, one: impl Into<End>, other: impl Into<End>) -> Self {
        self.pairs.push((one.into(), other.into()));
        self
    }

    /// A bridge that is up, with these ports: a plain switch without STP and snooping. Netfilter does
    /// not see what crosses it, or `br_netfilter` would run iptables and fragment in between.
    pub fn bridge(self, ns: &str, dev: &str, ports: &[&str]) -> Self {
        let bridge = self
            .optional_sysctl(ns, "net.bridge.bridge-nf-call-iptables=0")
            .optional_sysctl(ns, "net.bridge.bridge-nf-call-ip6tables=0")
            .optional_sysctl(ns, "net.bridge.bridge-nf-call-arptables=0")
            .link(
                ns,
                &format!("{dev} type bridge mcast_snooping 0 forward_delay 0"),
            )
            .ip(ns, &format!("link set {dev} up"));
        ports.iter().fold(bridge, |topology, port| {
            topology.ip(ns, &format!("link set {port} master {dev} up"))
        })
    }

    /// `ip link add …`, for example `vxlan7 type vxlan id 7 dstport 8472 …`.
    pub fn link(self, ns: &str, link: &str) -> Self {
        self.ip(ns, &format!("link add {link}"))
    }

    /// Addresses with prefix length on a device.
    pub fn addr(self, ns: &str, dev: &str, addresses: &[&str]) -> Self {
        addresses.iter().fold(self, |topology, address| {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            topology.ip(ns, &format!("addr add {address} dev {dev}{nodad}"))
        })
    }

    /// `ip route add …`. Write `::/0` for a default route of IPv6 that has no gateway.
    pub fn route(self, ns: &str, route: &str) -> Self {
        self.ip(ns, &format!("route add {route}"))
    }

    /// `ip rule add …`; a rule with an IPv6 address is one of `ip -6 rule`.
    pub fn rule(self, ns: &str, rule: &str) -> Self {
        let tool = if rule.contains(':') {
            Tool::Ip6
        } else {
            Tool::Ip
        };
        self.step(ns, Action::Command(tool, format!("rule add {rule}")))
    }

    /// A permanent neighbour: `ip neigh replace ADDRESS lladdr MAC dev DEV nud permanent`.
    pub fn neigh(self, ns: &str, dev: &str, address: &str, mac: &str) -> Self {
        self.ip(
            ns,
            &format!("neigh replace {address} lladdr {mac} dev {dev} nud permanent"),
        )
    }

    /// Any `ip` command: `link set eth0 mtu 1400`, `route append …`.
    pub fn ip(self, ns: &str, command: &str) -> Self {
        self.step(ns, Action::Command(Tool::Ip, command.to_owned()))
    }

    /// Any `ip -6` command, where nothing in it tells the family: `route del default`.
    pub fn ip6(self, ns: &str, command: &str) -> Self {
        self.step(ns, Action::Command(Tool::Ip6, command.to_owned()))
    }

    /// `bridge fdb replace …`.
    pub fn fdb(self, ns: &str, entry: &str) -> Self {
        self.step(
            ns,
            Action::Command(Tool::Bridge, format!("fdb replace {entry}")),
        )
    }

    /// Any `bridge` command: `fdb append …`, `vlan add …`.
    pub fn bridge_command(self, ns: &str, command: &str) -> Self {
        self.step(ns, Action::Command(Tool::Bridge, command.to_owned()))
    }

    /// Any `tc` command: `qdisc add dev eth0 root netem loss 1%`.
    pub fn tc(self, ns: &str, command: &str) -> Self {
        self.step(ns, Action::Command(Tool::Tc, command.to_owned()))
    }

    /// A ruleset as `nft -f` reads it.
    pub fn nft(self, ns: &str, ruleset: &str) -> Self {
        self.step(ns, Action::Nft(ruleset.to_owned()))
    }

    /// `key=value`.
    pub fn sysctl(self, ns: &str, setting: &str) -> Self {
        self.any_sysctl(ns, setting, false)
    }

    fn optional_sysctl(self, ns: &str, setting: &str) -> Self {
        self.any_sysctl(ns, setting, true)
    }

    fn any_sysctl(self, ns: &str, setting: &str, optional: bool) -> Self {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        self.step(
            ns,
            Action::Sysctl {
                key,
                value,
                optional,
            },
        )
    }

    /// Turns TSO, GSO and GRO of a device off, so that what crosses it has the size that it would
    /// have on a wire. A veth hands large TCP segments over whole otherwise.
    pub fn offload_off(self, ns: &str, dev: &str) -> Self {
        self.step(ns, Action::OffloadOff(dev.to_owned()))
    }

    /// Has checksums of what leaves by a device computed before it leaves.
    pub fn checksums_in_software(self, ns: &str, dev: &str) -> Self {
        self.step(ns, Action::ChecksumsInSoftware(dev.to_owned()))
    }

    /// Requires an answer from `address`, and so has the neighbours on the way resolved.
    pub fn reach(self, ns: &str, address: &str) -> Self {
        self.step(ns, Action::Reach(address.to_owned()))
    }

    /// A pod as Cilium, Calico and the AWS CNI wire it: a namespace with a host address on `eth0`,
    /// the default route through the link-local address of the node's side `lxc-POD`, and the host
    /// route on the node.
    pub fn pod(self, node: &str, pod: &str, v4: &str, v6: Option<&str>) -> Self {
        let host = format!("lxc-{pod}");
        let topology = self
            .ns(&[pod])
            .veth((node, host.as_str(), "ee:ee:ee:ee:ee:ee"), (pod, "eth0"))
            .ip(
                node,
                &format!("addr add 169.254.1.1/32 dev {host} scope link"),
            )
            .route(node, &format!("{v4} dev {host} scope link"));
        let topology = match v6 {
            Some(v6) => topology
                .ip(node, &format!("addr add fe80::1/64 dev {host} nodad"))
                .route(node, &format!("{v6} dev {host}")),
            None => topology,
        };
        let topology = topology
            .ip(pod, &format!("addr add {v4}/32 dev eth0"))
            .route(pod, "169.254.1.1 dev eth0 scope link")
            .route(pod, "default via 169.254.1.1 dev eth0");
        match v6 {
            Some(v6) => topology
                .ip(pod, &format!("addr add {v6}/128 dev eth0 nodad"))
                .route(pod, "default via fe80::1 dev eth0"),
            None => topology,
        }
    }

    fn step(mut self, ns: &str, action: Action) -> Self {
        self.steps.push(Step {
            ns: ns.to_owned(),
            action,
        });
        self
    }
}
