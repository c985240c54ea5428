//! What is taken from the server's objects.

use std::{collections::HashMap, net::IpAddr};

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::runtime::watcher::Event;

use super::Directory;
use crate::inventory::Owner;

/// An object's owner, its addresses and, of a pod, its uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    owner: Owner,
    addresses: Vec<IpAddr>,
}

/// What all kinds of objects are reduced to.
pub(super) trait Named {
    /// Its key among objects of its kind, and what is kept of it.
    fn entry(self) -> (String, Entry);
}

fn addresses(texts: impl IntoIterator<Item = String>) -> Vec<IpAddr> {
    // `None` stands for "no address" in a headless service
    texts.into_iter().filter_map(|t| t.parse().ok()).collect()
}

impl Named for Pod {
    fn entry(self) -> (String, Entry) {
        let (spec, status) = (
            self.spec.unwrap_or_default(),
            self.status.unwrap_or_default(),
        );
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        // a pod on the node's network has the node's addresses; an ended one's may be another's now
        let texts = if spec.host_network == Some(true) || ended {
            Vec::new()
        } else {
            let all = status.pod_ips.unwrap_or_default();
            let all = all.into_iter().map(|ip| ip.ip);
            status.pod_ip.into_iter().chain(all).collect()
        };
        let uid = self.metadata.uid.unwrap_or_default();
        let namespace = self.metadata.namespace.unwrap_or_default();
        let name = self.metadata.name.unwrap_or_default();
        // the kubelet knows a static pod by the hash of its manifest, not by its mirror's uid
        let annotations = self.metadata.annotations.unwrap_or_default();
        let hash = annotations.get("kubernetes.io/config.hash").cloned();
        let key = hash.unwrap_or(uid);
        let entry = Entry {
            owner: Owner::pod(namespace, name, Some(key.clone())),
            addresses: addresses(texts),
        };
        (key, entry)
    }
}

impl Named for Service {
    fn entry(self) -> (String, Entry) {
        let spec = self.spec.unwrap_or_default();
        let balancer = self.status.and_then(|s| s.load_balancer);
        let ingress = balancer.and_then(|b| b.ingress).unwrap_or_default();
        let own = spec.cluster_ips.unwrap_or_default();
        let all = spec.cluster_ip.into_iter().chain(own);
        let all = all.chain(spec.external_ips.unwrap_or_default());
        let all = all.chain(ingress.into_iter().filter_map(|i| i.ip));
        let (namespace, name) = (self.metadata.namespace, self.metadata.name);
        let owner = Owner::service(namespace.unwrap_or_default(), name.unwrap_or_default());
        let entry = Entry {
            addresses: addresses(all),
            owner,
        };
        (entry.owner.to_string(), entry)
    }
}

impl Named for Node {
    fn entry(self) -> (String, Entry) {
        let all = self.status.and_then(|s| s.addresses).unwrap_or_default();
        let ips = all.into_iter().filter(|a| a.type_.ends_with("IP"));
        let name = self.metadata.name.unwrap_or_default();
        let entry = Entry {
            addresses: addresses(ips.map(|a| a.address)),
            owner: Owner::node(&name),
        };
        (name, entry)
    }
}

/// Objects of one kind, while they are listed and watched.
#[derive(Debug, Default)]
pub(super) struct Store {
    current: HashMap<String, Entry>,
    /// A new list that is not complete yet.
    filling: HashMap<String, Entry>,
    /// There was a whole list.
    complete: bool,
}

impl Store {
    /// Takes an event; true when something is different now.
    pub(super) fn take<K: Named>(&mut self, event: Event<K>) -> bool {
        match event {
            Event::Init => {
                self.filling.clear();
                false
            }
            Event::InitApply(object) => {
                let (key, entry) = object.entry();
                self.filling.insert(key, entry);
                false
            }
            Event::InitDone => {
                let new = std::mem::take(&mut self.filling);
                // that there is nothing is an answer as well
                let changed = new != self.current || !self.complete;
                self.complete = true;
                self.current = new;
                changed
            }
            Event::Apply(object) => {
                let (key, entry) = object.entry();
                let changed = self.current.get(&key) != Some(&entry);
                self.current.insert(key, entry);
                changed
            }
            Event::Delete(object) => self.current.remove(&object.entry().0).is_some(),
        }
    }

    /// It holds all that there is.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn add_to(&self, directory: &mut Directory) {
        for entry in self.current.values() {
            for address in &entry.addresses {
                directory.add(*address, entry.owner.clone());
            }
            if let (Some((namespace, name)), Some(uid)) = (entry.owner.as_pod(), &entry.owner.id) {
                directory.add_pod(uid.clone(), namespace.to_owned(), name.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ip: &str, more: serde_json::Value) -> Pod {
        let mut object = json!({
            "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}")},
            "spec": {"containers": []},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}, {"ip": "fd44:2::20"}]},
        });
        for (key, value) in more.as_object().unwrap() {
            for (inner, value) in value.as_object().unwrap() {
                object[key][inner] = value.clone();
            }
        }
        serde_json::from_value(object).unwrap()
    }

    fn directory(stores: &[&Store]) -> Directory {
        let mut directory = Directory::default();
        stores.iter().for_each(|s| s.add_to(&mut directory));
        directory
    }

    fn owner(store: &Store, address: &str) -> Option<String> {
        let directory = directory(&[store]);
        directory
            .owner(address.parse().unwrap())
            .map(ToString::to_string)
    }

    #[test]
    fn pods_come_change_and_go() {
        let mut store = Store::default();
        let db = || pod("db-0", "10.244.2.20", json!({}));
        assert!(!store.take(Event::<Pod>::Init));
        assert!(!store.take(Event::InitApply(db())));
        assert_eq!(
            owner(&store, "10.244.2.20"),
            None,
            "the list is not complete"
        );
        assert!(store.take(Event::<Pod>::InitDone));
        assert_eq!(owner(&store, "10.244.2.20").unwrap(), "shop/db-0");
        assert_eq!(owner(&store, "fd44:2::20").unwrap(), "shop/db-0");
        assert!(!store.take(Event::Apply(db())), "nothing is new");
        assert!(store.take(Event::Apply(pod("db-0", "10.244.2.21", json!({})))));
        assert_eq!(owner(&store, "10.244.2.20"), None);
        assert!(store.take(Event::Delete(db())));
        assert_eq!(owner(&store, "10.244.2.21"), None);
    }

    #[test]
    fn addresses_of_others_name_no_pod() {
        let mut store = Store::default();
        for (name, more) in [
            ("host", json!({"spec": {"hostNetwork": true}})),
            ("ended", json!({"status": {"phase": "Succeeded"}})),
        ] {
            assert!(store.take(Event::Apply(pod(name, "10.0.0.2", more))));
        }
        assert_eq!(owner(&store, "10.0.0.2"), None);
        // by uid they have names all the same
        assert_eq!(directory(&[&store]).pods().len(), 2);
    }

    #[test]
    fn a_static_pod_is_known_by_the_hash_of_its_manifest() {
        let hash = "5a3c1f0e9d8b7a6c5d4e3f2a1b0c9d8e";
        let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.hash": hash}}});
        let mut store = Store::default();
        store.take(Event::Apply(pod("etcd-n1", "10.0.0.2", mirror)));
        assert!(directory(&[&store]).pods().contains_key(hash));
    }

    #[test]
    fn services_and_nodes() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "db"},
            "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd96::a"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.80"}, {"hostname": "lb"}]}},
        }))
        .unwrap();
        let headless: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "peers"},
            "spec": {"clusterIP": "None", "clusterIPs": ["None"]},
        }))
        .unwrap();
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n2"},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "10.0.0.2"},
                {"type": "Hostname", "address": "n2"},
            ]},
        }))
        .unwrap();
        let mut services = Store::default();
        services.take(Event::Apply(service));
        services.take(Event::Apply(headless));
        for address in ["10.96.0.10", "fd96::a", "192.0.2.80"] {
            assert_eq!(owner(&services, address).unwrap(), "svc shop/db");
        }
        let mut nodes = Store::default();
        nodes.take(Event::Apply(node));
        assert_eq!(owner(&nodes, "10.0.0.2").unwrap(), "node n2");
        assert!(directory(&[&services, &nodes]).pods().is_empty());
    }
}
