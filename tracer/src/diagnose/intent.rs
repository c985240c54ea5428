//! What the operator means the network to do, as far as it is known.

use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::inventory::{Inventory, LinkKind, Netns, Owner, Prefix};

/// How pods of different nodes are meant to reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By routes of the underlay, without encapsulation.
    Native,
    /// Through a tunnel device.
    Tunnel,
    /// Not known: rules that need it say nothing or only warn.
    #[default]
    Unknown,
}

impl Mode {
    /// The name in output: `native`, `tunnel`, `unknown`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tunnel => "tunnel",
            Self::Unknown => "unknown",
        }
    }
}

/// Where an intent is known from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Given on the command line.
    Flag,
    /// The file that `--cluster` names.
    ClusterFile,
    /// The CNI's own configuration on the node.
    CniConfig,
    /// Not given, and not guessed.
    #[default]
    NotKnown,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::ClusterFile => "cluster file",
            Self::CniConfig => "CNI's configuration",
            Self::NotKnown => "not known",
        })
    }
}

/// A node of the cluster, as the operator lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its addresses on the underlay.
    pub addresses: Vec<IpAddr>,
    /// Prefixes of its pods.
    pub pod_cidrs: Vec<Prefix>,
}

/// What the network is meant to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Intent {
    /// Native routing or tunnel.
    pub mode: Mode,
    /// Where the mode is known from.
    pub source: Source,
    /// Prefixes of all pods of the cluster; empty when not known.
    pub pod_cidrs: Vec<Prefix>,
    /// Prefixes of the nodes; empty when not known.
    pub node_cidrs: Vec<Prefix>,
    /// The nodes of the cluster, this one among them or not; empty when not known.
    pub nodes: Vec<Node>,
    /// The CNI, when a file of its own names it.
    pub cni: Option<CniGuess>,
    /// One line for each thing that is known, with where it is known from.
    pub sources: Vec<String>,
}

impl Intent {
    /// Nothing is known.
    pub const UNKNOWN: &'static Self = &Self {
        mode: Mode::Unknown,
        source: Source::NotKnown,
        pod_cidrs: Vec::new(),
        node_cidrs: Vec::new(),
        nodes: Vec::new(),
        cni: None,
        sources: Vec::new(),
    };

    /// The underlay address of the listed node that has the pods of a prefix, in a family.
    pub fn node_for(&self, pods: &Prefix, ipv6: bool) -> Option<IpAddr> {
        let has = |n: &&Node| {
            let holds = |p: &Prefix| p.len <= pods.len && p.contains(pods.address);
            n.pod_cidrs.iter().any(holds)
        };
        let node = self.nodes.iter().find(has)?;
        node.addresses.iter().find(|a| a.is_ipv6() == ipv6).copied()
    }

    /// Addresses of the listed nodes, with the node that has them.
    pub fn named_nodes(&self) -> BTreeMap<IpAddr, Owner> {
        let all = self.nodes.iter().flat_map(|n| {
            let owner = Owner::node(&n.name);
            n.addresses.iter().map(move |a| (*a, owner.clone()))
        });
        all.collect()
    }

    /// `native (flag)`: the mode and where it is known from.
    pub fn told(&self) -> String {
        match self.mode {
            Mode::Unknown => Source::NotKnown.to_string(),
            mode => format!("{} ({})", mode.name(), self.source),
        }
    }
}

/// Which CNI seems to have configured the node. From the names of devices it is a guess, never a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniGuess {
    /// The CNI's own name.
    pub name: Cow<'static, str>,
    /// The devices, rules or file that suggest it.
    pub why: String,
}

/// Devices of a CNI: exact names, or prefixes when they end in `*`.
const MARKS: &[(&str, &[&str])] = &[
    (
        "Cilium",
        &["cilium_host", "cilium_vxlan", "cilium_geneve", "cilium_net"],
    ),
    ("Kube-OVN", &["ovn0", "mirror0"]),
    ("Calico", &["vxlan.calico", "vxlan-v6.calico", "cali*"]),
    ("kube-router", &["kube-bridge", "kube-dummy-if", "tun-*"]),
    ("flannel", &["flannel.1", "flannel-v6.1"]),
];

/// Rule preferences that the AWS VPC CNI installs: pod addresses, node SNAT mark, pod sources.
const AWS_PREFERENCES: [u32; 3] = [512, 1024, 1536];

/// Recognises a CNI by the devices and rules it leaves on a node.
///
/// `None` when nothing matches. Where several match (Calico policy on top of another network), the
/// more specific one wins; `why` says what was seen.
pub fn guess_cni(inventory: &Inventory) -> Option<CniGuess> {
    let ns = inventory.home()?;
    for (name, marks) in MARKS {
        let seen: Vec<&str> = marks.iter().filter_map(|m| device(ns, m)).collect();
        if !seen.is_empty() {
            return Some(CniGuess {
                name: (*name).into(),
                why: format!("device {}", seen.join(", ")),
            });
        }
    }
    aws(ns)
}

fn device<'n>(ns: &'n Netns, mark: &str) -> Option<&'n str> {
    ns.links
        .values()
        .find(|l| match mark.strip_suffix('*') {
            // tap devices of virtual machines are also called tun-something
            Some("tun-") => l.name.starts_with("tun-") && matches!(l.kind, LinkKind::Tunnel { .. }),
            Some(head) => l.name.starts_with(head),
            None => l.name == mark,
        })
        .map(|l| l.name.as_str())
}

/// Pod devices of the AWS VPC CNI are `eni…`, which a physical device can be called as well: its
/// rules have to be there too.
fn aws(ns: &Netns) -> Option<CniGuess> {
    let eni = device(ns, "eni*")?;
    let rules: Vec<String> = AWS_PREFERENCES
        .iter()
        .filter(|p| ns.rules.iter().any(|r| r.preference == **p))
        .map(ToString::to_string)
        .collect();
    (!rules.is_empty()).then(|| CniGuess {
        name: "AWS VPC CNI".into(),
        why: format!("device {eni}, rules {}", rules.join(", ")),
    })
}
