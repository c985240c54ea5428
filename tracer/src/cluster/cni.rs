//! What CNIs leave on a node's disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{below, parse_prefix};
use crate::{
    diagnose::{CniGuess, Mode},
    inventory::Prefix,
};

/// What was found, each with the path that says it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Option<CniGuess>,
    pub(super) mode: Option<(Mode, String)>,
    pub(super) pods: Option<(Vec<Prefix>, String)>,
}

/// Where runtimes look for the CNI; the first file by name is the one in use.
const NET_D: &str = "etc/cni/net.d";

/// `type` of a plugin → CNI.
const PLUGINS: &[(&str, &str)] = &[
    ("cilium-cni", "Cilium"),
    ("calico", "Calico"),
    ("flannel", "flannel"),
    ("aws-cni", "AWS VPC CNI"),
    ("kube-ovn", "Kube-OVN"),
];

/// The bridge of kube-router, whose plugin is the plain `bridge`.
const KUBE_BRIDGE: &str = "kube-bridge";

/// Where volumes of pods are on a node.
const POD_VOLUMES: &str = "var/lib/kubelet/pods";

/// Cilium's config map, one file for each key: in the agent's own file tree, and in its volumes on
/// the node (written by the init container since 1.13, mounted before).
const CILIUM_OWN: &str = "tmp/cilium/config-map";
const CILIUM_VOLUMES: [&str; 2] = [
    "kubernetes.io~empty-dir/tmp/cilium/config-map",
    "kubernetes.io~configmap/cilium-config-path",
];

/// flannel's `net-conf.json`: in its own file tree, and in its volume on the node.
const FLANNEL_OWN: &str = "etc/kube-flannel/net-conf.json";
const FLANNEL_VOLUMES: [&str; 1] = ["kubernetes.io~configmap/flannel-cfg/net-conf.json"];
/// What flannel writes for its plugin.
const FLANNEL_ENV: &str = "run/flannel/subnet.env";

/// Larger files are no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// Looks below a root, `/` on a node. What cannot be read or makes no sense is not there.
pub(super) fn read(root: &Path) -> Found {
    let mut found = Found {
        name: plugin(root),
        ..Found::default()
    };
    for dir in places(root, CILIUM_OWN, &CILIUM_VOLUMES) {
        found.take(cilium(&dir));
    }
    for file in places(root, FLANNEL_OWN, &FLANNEL_VOLUMES) {
        found.take(flannel(&file));
    }
    let env = below(root, FLANNEL_ENV);
    found.take(
        text(&env)
            .map(|t| flannel_env(&t, &env))
            .unwrap_or_default(),
    );
    if found.name.as_ref().is_some_and(|n| n.name == "AWS VPC CNI") {
        // it has no other mode: pods have addresses of the VPC
        let why = found.name.as_ref().map_or(String::new(), |n| n.why.clone());
        found.mode.get_or_insert((Mode::Native, why));
    }
    found
}

impl Found {
    /// What was found first stays.
    fn take(&mut self, other: Self) {
        self.name = self.name.take().or(other.name);
        self.mode = self.mode.take().or(other.mode);
        self.pods = self.pods.take().or(other.pods);
    }
}

fn text(path: &Path) -> Option<String> {
    let small = fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MAX_BYTES);
    small.then(|| fs::read_to_string(path).ok()).flatten()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    paths.sort_unstable();
    paths
}

fn places(root: &Path, own: &str, volumes: &[&str]) -> Vec<PathBuf> {
    let pods = entries(&below(root, POD_VOLUMES));
    let mounted = pods
        .iter()
        .flat_map(|pod| volumes.iter().map(move |v| pod.join("volumes").join(v)));
    std::iter::once(below(root, own))
        .chain(mounted)
        .filter(|p| p.exists())
        .collect()
}

/// The CNI that the runtime calls: the first known plugin of the first file.
fn plugin(root: &Path) -> Option<CniGuess> {
    let is_config = |p: &PathBuf| {
        p.extension()
            .is_some_and(|e| ["conf", "conflist", "json"].iter().any(|x| e == *x))
    };
    let path = entries(&below(root, NET_D)).into_iter().find(is_config)?;
    let config: Value = serde_json::from_str(&text(&path)?).ok()?;
    let list = config["plugins"].as_array();
    let plugins: Vec<&Value> = list.map_or_else(|| vec![&config], |l| l.iter().collect());
    let kind = |p: &Value| -> Option<&'static str> {
        if p["bridge"] == KUBE_BRIDGE {
            return Some("kube-router");
        }
        let of = p["type"].as_str()?;
        Some(PLUGINS.iter().find(|(plugin, _)| *plugin == of)?.1)
    };
    Some(CniGuess {
        name: plugins.into_iter().find_map(kind)?.into(),
        why: path.display().to_string(),
    })
}

/// Keys of Cilium's config map. `tunnel` was replaced by the other two in 1.14.
fn cilium(dir: &Path) -> Found {
    let key = |name: &str| text(&dir.join(name)).map(|v| v.trim().to_owned());
    let mode = match (key("routing-mode").as_deref(), key("tunnel").as_deref()) {
        (Some("native"), _) => Some((Mode::Native, "routing-mode")),
        (Some("tunnel"), _) => Some((Mode::Tunnel, "routing-mode")),
        (None, Some("disabled")) => Some((Mode::Native, "tunnel")),
        (None, Some("vxlan" | "geneve")) => Some((Mode::Tunnel, "tunnel")),
        _ => None,
    };
    let pools = ["cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr"];
    let pods: Vec<Prefix> = pools
        .iter()
        .filter_map(|k| key(k))
        .flat_map(|v| cidrs(&v))
        .collect();
    let at = |name: &str| dir.join(name).display().to_string();
    Found {
        name: Some(CniGuess {
            name: "Cilium".into(),
            why: dir.display().to_string(),
        }),
        mode: mode.map(|(m, name)| (m, at(name))),
        pods: (!pods.is_empty()).then(|| (pods, at(pools[0]))),
    }
}

/// Prefixes between commas or blanks.
fn cidrs(value: &str) -> Vec<Prefix> {
    value
        .split([',', ' '])
        .filter_map(|w| parse_prefix(w).ok())
        .collect()
}

/// flannel's backend. With `DirectRouting` it uses both, depending on the peer: no mode then.
fn flannel(path: &Path) -> Found {
    let config: Option<Value> = text(path).and_then(|t| serde_json::from_str(&t).ok());
    let Some(config) = config else {
        return Found::default();
    };
    let backend = &config["Backend"];
    let direct = backend["DirectRouting"] == true;
    let mode = match backend["Type"].as_str() {
        Some("host-gw") => Some(Mode::Native),
        Some("vxlan" | "ipip" | "udp") if !direct => Some(Mode::Tunnel),
        _ => None,
    };
    let pods: Vec<Prefix> = ["Network", "IPv6Network"]
        .iter()
        .filter_map(|k| config[*k].as_str())
        .flat_map(cidrs)
        .collect();
    let at = || path.display().to_string();
    Found {
        name: Some(CniGuess {
            name: "flannel".into(),
            why: at(),
        }),
        mode: mode.map(|m| (m, at())),
        pods: (!pods.is_empty()).then(|| (pods, at())),
    }
}

fn flannel_env(text: &str, path: &Path) -> Found {
    let pods: Vec<Prefix> = text
        .lines()
        .filter_map(|l| l.split_once('='))
        .filter(|(k, _)| matches!(*k, "FLANNEL_NETWORK" | "FLANNEL_IPV6_NETWORK"))
        .flat_map(|(_, v)| cidrs(v))
        .collect();
    Found {
        name: Some(CniGuess {
            name: "flannel".into(),
            why: path.display().to_string(),
        }),
        mode: None,
        pods: (!pods.is_empty()).then(|| (pods, path.display().to_string())),
    }
}
