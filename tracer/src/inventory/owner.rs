//! Who network namespaces and addresses belong to, in the words of Kubernetes and of container
//! runtimes.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::OnceLock,
};

use serde::{Deserialize, Serialize};

use super::{Inventory, Netns};
use crate::event::{Ifindex, NetnsId};

/// Digits of an identifier that people read, as `docker ps` and `crictl ps` cut them.
const SHORT_ID: usize = 12;

/// What an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    /// A pod.
    Pod,
    /// A container of no pod.
    Container,
    /// A node.
    Node,
    /// A service: addresses that stand for the pods behind it.
    Service,
}

impl OwnerKind {
    /// The name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Node => "node",
            Self::Service => "service",
        }
    }
}

/// Who a network namespace or an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// Kubernetes namespace of a pod.
    pub namespace: Option<String>,
    /// Name; `None` for a pod of which only the uid is known, and for a container.
    pub name: Option<String>,
    /// UID of a pod (of a static one the hash of its manifest), `RUNTIME://ID` of a container.
    pub id: Option<String>,
}

impl Owner {
    /// A node by name.
    pub fn node(name: impl Into<String>) -> Self {
        Self {
            kind: OwnerKind::Node,
            namespace: None,
            name: Some(name.into()),
            id: None,
        }
    }

    /// A pod by namespace and name.
    pub fn pod(namespace: impl Into<String>, name: impl Into<String>, uid: Option<String>) -> Self {
        Self {
            kind: OwnerKind::Pod,
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            id: uid,
        }
    }

    /// A service by namespace and name.
    pub fn service(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind: OwnerKind::Service,
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            id: None,
        }
    }

    /// Namespace and name of a pod whose name is known.
    pub fn as_pod(&self) -> Option<(&str, &str)> {
        let (namespace, name) = (self.namespace.as_deref()?, self.name.as_deref()?);
        (self.kind == OwnerKind::Pod).then_some((namespace, name))
    }
}

impl fmt::Display for Owner {
    /// `shop/web-0`, `svc shop/db`, `node n2`, `pod 0a1b2c3d-4e5f`, `docker://3f2a4b5c6d7e`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &str| id.chars().take(SHORT_ID).collect::<String>();
        let id = self.id.as_deref().unwrap_or("?");
        let text = match (self.kind, self.namespace.as_deref(), self.name.as_deref()) {
            (OwnerKind::Pod, Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (OwnerKind::Service, Some(namespace), Some(name)) => format!("svc {namespace}/{name}"),
            (OwnerKind::Container, ..) => match id.split_once("://") {
                Some((runtime, id)) => format!("{runtime}://{}", short(id)),
                None => short(id),
            },
            (kind, _, Some(name)) => format!("{} {name}", kind.name()),
            (kind, ..) => format!("{} {}", kind.name(), short(id)),
        };
        f.pad(&text)
    }
}

/// The namespaces with an owner that have an address. Worked out when it is first asked for; a
/// clone works it out again.
#[derive(Default)]
pub struct OwnerIndex(OnceLock<ByAddress>);

#[derive(Default)]
struct ByAddress {
    owned: HashMap<IpAddr, Vec<NetnsId>>,
    /// Some namespace has an owner.
    any: bool,
    /// Some address belongs to several.
    overlaps: bool,
}

impl Clone for OwnerIndex {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for OwnerIndex {
    /// It follows from the rest of the inventory.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for OwnerIndex {}

impl fmt::Debug for OwnerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerIndex")
    }
}

impl OwnerIndex {
    fn get(&self, all: &BTreeMap<NetnsId, Netns>) -> &ByAddress {
        self.0.get_or_init(|| {
            let mut index = ByAddress::default();
            for netns in all.values().filter(|n| n.owner.is_some()) {
                index.any = true;
                for (_, address) in netns.addresses().filter(|(_, a)| names_one(a.address)) {
                    let found = index.owned.entry(address.address).or_default();
                    if !found.contains(&netns.id) {
                        found.push(netns.id);
                    }
                    index.overlaps |= found.len() > 1;
                }
            }
            index
        })
    }
}

/// The address is not one that every namespace or link has.
fn names_one(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

impl Inventory {
    /// Whether anything has a name.
    pub fn has_owners(&self) -> bool {
        !self.peers.is_empty() || self.has_pods()
    }

    /// Whether anything on this node has a name.
    pub fn has_pods(&self) -> bool {
        self.index.get(&self.netns).any
    }

    /// Who the namespace belongs to.
    pub fn owner(&self, netns: NetnsId) -> Option<&Owner> {
        self.netns.get(&netns)?.owner.as_ref()
    }

    /// Who is behind the node's end of a pair.
    pub fn owner_behind(&self, netns: NetnsId, dev: Ifindex) -> Option<&Owner> {
        self.owner(self.link(netns, dev)?.peer_netns?)
    }

    /// Namespaces on this node that have an owner and this address: several where addresses overlap.
    pub fn owned_with(&self, address: IpAddr) -> &[NetnsId] {
        self.index
            .get(&self.netns)
            .owned
            .get(&address)
            .map_or(&[], Vec::as_slice)
    }

    /// Who has the address, by the address alone. Nobody on a node where some address belongs to
    /// several: there an address says nothing without the way that a packet took.
    pub fn owner_of(&self, address: IpAddr) -> Option<&Owner> {
        match self.owned_with(address) {
            [] => self.peers.get(&address),
            [one] if !self.index.get(&self.netns).overlaps => self.owner(*one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(OwnerKind::Pod, Some("shop"), Some("web-0"), Some("u"), "shop/web-0")]
    #[case(
        OwnerKind::Pod,
        None,
        None,
        Some("0a1b2c3d-4e5f-6071"),
        "pod 0a1b2c3d-4e5"
    )]
    #[case(OwnerKind::Node, None, Some("n2"), None, "node n2")]
    #[case(OwnerKind::Service, Some("shop"), Some("db"), None, "svc shop/db")]
    #[case(
        OwnerKind::Container,
        None,
        None,
        Some("docker://3f2a4b5c6d7e8f90"),
        "docker://3f2a4b5c6d7e"
    )]
    fn words(
        #[case] kind: OwnerKind,
        #[case] namespace: Option<&str>,
        #[case] name: Option<&str>,
        #[case] id: Option<&str>,
        #[case] text: &str,
    ) {
        let owner = Owner {
            kind,
            namespace: namespace.map(Into::into),
            name: name.map(Into::into),
            id: id.map(Into::into),
        };
        assert_eq!(owner.to_string(), text);
    }
}
