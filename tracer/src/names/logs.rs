//! Pods' names by their uid, from the directory where the kubelet keeps their logs:
//! `/var/log/pods/NAMESPACE_NAME_UID/`. It is made before a pod's sandbox, and goes with the pod.

use std::{collections::HashMap, fs, io, path::Path};

/// Entries that are looked at; a node has 110 pods by default, and rarely more than 500.
const MOST: usize = 16_384;

/// Namespace and name by uid.
pub(super) type Pods = HashMap<String, (String, String)>;

/// Reads the directory.
pub(super) fn read(directory: &Path) -> io::Result<Pods> {
    let entries = fs::read_dir(directory)?.take(MOST).flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    Ok(names
        .filter_map(|n| parse(&n).map(|(uid, pod)| (uid.to_owned(), pod)))
        .collect())
}

/// Namespaces, names and uids have no underscore in them. The uid of a static pod is the hash of
/// its manifest, in the cgroup as here.
fn parse(name: &str) -> Option<(&str, (String, String))> {
    let (namespace, rest) = name.split_once('_')?;
    let (pod, uid) = rest.rsplit_once('_')?;
    let whole = !namespace.is_empty() && !pod.is_empty() && !uid.is_empty() && !pod.contains('_');
    whole.then(|| (uid, (namespace.to_owned(), pod.to_owned())))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "shop_web-7d4b9c-x2x_0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        "shop",
        "web-7d4b9c-x2x"
    )]
    #[case(
        "kube-system_etcd-n1.example_5a3c1f0e9d8b7a6c5d4e3f2a1b0c9d8e",
        "5a3c1f0e9d8b7a6c5d4e3f2a1b0c9d8e",
        "kube-system",
        "etcd-n1.example"
    )]
    fn directories(
        #[case] entry: &str,
        #[case] uid: &str,
        #[case] namespace: &str,
        #[case] name: &str,
    ) {
        let pod = (namespace.to_owned(), name.to_owned());
        assert_eq!(parse(entry), Some((uid, pod)));
    }

    #[rstest]
    #[case("lost+found")]
    #[case("a_b")]
    #[case("_b_c")]
    #[case("a__c")]
    #[case("a_b_")]
    #[case("a_b_c_d")]
    fn what_is_no_pod(#[case] entry: &str) {
        assert_eq!(parse(entry), None);
    }
}
