//! Who has which address, as an API server tells.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use crate::inventory::Owner;

/// Who has which address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// `None` where several have it: tenants with overlapping addresses.
    addresses: HashMap<IpAddr, Option<Owner>>,
    /// Namespace and name of each pod by uid.
    pods: HashMap<String, (String, String)>,
}

impl Directory {
    /// An owner of an address. Two of one address make it nobody's.
    pub fn add(&mut self, address: IpAddr, owner: Owner) {
        match self.addresses.entry(address) {
            Entry::Vacant(free) => _ = free.insert(Some(owner)),
            Entry::Occupied(mut taken) if taken.get().as_ref() != Some(&owner) => {
                taken.insert(None);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// A pod, with or without addresses.
    pub fn add_pod(&mut self, uid: String, namespace: String, name: String) {
        self.pods.insert(uid, (namespace, name));
    }

    /// Who has the address, when it is one owner alone.
    pub fn owner(&self, address: IpAddr) -> Option<&Owner> {
        self.addresses.get(&address)?.as_ref()
    }

    /// Every address that belongs to one owner alone.
    pub fn owners(&self) -> impl Iterator<Item = (IpAddr, &Owner)> {
        let all = self.addresses.iter();
        all.filter_map(|(address, owner)| Some((*address, owner.as_ref()?)))
    }

    /// Namespaces and names of pods by uid.
    pub fn pods(&self) -> &HashMap<String, (String, String)> {
        &self.pods
    }

    /// Addresses of the pods that are wanted by namespace and name.
    pub fn addresses_of<'a>(
        &'a self,
        wanted: &'a dyn Fn(&str, &str) -> bool,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        self.addresses.iter().filter_map(move |(address, owner)| {
            let (namespace, name) = owner.as_ref()?.as_pod()?;
            wanted(namespace, name).then_some(*address)
        })
    }

    /// Nobody is known.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.pods.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_two_is_nobodys() {
        let (a, b) = ("10.16.0.2".parse().unwrap(), "10.16.0.3".parse().unwrap());
        let mut directory = Directory::default();
        let blue = Owner::pod("blue", "web", None);
        for (address, owner) in [
            (a, blue.clone()),
            (a, Owner::pod("red", "web", None)),
            (a, blue.clone()),
            (b, blue.clone()),
            (b, blue.clone()),
        ] {
            directory.add(address, owner);
        }
        assert_eq!(directory.owner(a), None);
        assert_eq!(directory.owner(b), Some(&blue));
        let all: Vec<_> = directory.addresses_of(&|ns, _| ns == "blue").collect();
        assert_eq!(all, [b]);
    }
}
