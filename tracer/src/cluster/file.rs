//! The file that `--cluster` names: a small TOML.
//!
//! ```toml
//! mode = "native"                       # or "tunnel"
//! pod_cidrs = ["10.244.0.0/16"]
//! node_cidrs = ["10.0.0.0/24"]
//! root = "/host"                        # where the node's own files are; / by default
//!
//! [[nodes]]
//! name = "n2"
//! addresses = ["10.0.0.2"]
//! pod_cidrs = ["10.244.2.0/24"]
//! ```

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{ClusterError, parse_prefix};
use crate::{
    diagnose::{Mode, Node},
    inventory::Prefix,
};

/// What a cluster file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cluster {
    #[serde(deserialize_with = "mode")]
    pub(super) mode: Option<Mode>,
    #[serde(deserialize_with = "prefixes")]
    pub(super) pod_cidrs: Vec<Prefix>,
    #[serde(deserialize_with = "prefixes")]
    pub(super) node_cidrs: Vec<Prefix>,
    pub(super) root: Option<PathBuf>,
    #[serde(deserialize_with = "nodes")]
    pub(super) nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default, deserialize_with = "prefixes")]
    pod_cidrs: Vec<Prefix>,
}

/// Reads a cluster file; a relative `root` is one beside the file.
pub(super) fn read(path: &Path) -> Result<Cluster, ClusterError> {
    let text = fs::read_to_string(path).map_err(|source| ClusterError::Read {
        path: path.into(),
        source,
    })?;
    let mut cluster: Cluster = toml::from_str(&text).map_err(|e| ClusterError::Content {
        path: path.into(),
        text: e.to_string(),
    })?;
    if let (Some(root), Some(dir)) = (&cluster.root, path.parent()) {
        cluster.root = Some(dir.join(root));
    }
    Ok(cluster)
}

fn mode<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Mode>, D::Error> {
    match String::deserialize(d)?.as_str() {
        "native" => Ok(Some(Mode::Native)),
        "tunnel" => Ok(Some(Mode::Tunnel)),
        other => Err(D::Error::custom(format!(
            "mode {other:?}: expected \"native\" or \"tunnel\""
        ))),
    }
}

fn prefixes<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Prefix>, D::Error> {
    let words = Vec::<String>::deserialize(d)?;
    words
        .iter()
        .map(|w| parse_prefix(w).map_err(D::Error::custom))
        .collect()
}

fn nodes<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Node>, D::Error> {
    let lines = Vec::<Line>::deserialize(d)?;
    Ok(lines
        .into_iter()
        .map(|l| Node {
            name: l.name,
            addresses: l.addresses,
            pod_cidrs: l.pod_cidrs,
        })
        .collect())
}
