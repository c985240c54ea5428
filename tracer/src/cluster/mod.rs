//! What the cluster's network is meant to do: command line, cluster file, and the CNI's own
//! configuration on the node, in this order.
//!
//! Nothing is guessed here. The CNI's files state a mode only where they hold it (`routing-mode` of
//! Cilium, the backend of flannel); from all others only the CNI's name is taken.

mod cni;
mod file;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::{
    diagnose::{Intent, Mode, Source},
    inventory::Prefix,
};

/// Why what is meant cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The file that was named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {text}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        text: String,
    },
}

/// What the operator gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `--mode`.
    pub mode: Option<Mode>,
    /// `--pod-cidr`.
    pub pod_cidrs: Vec<Prefix>,
    /// `--node-cidr`.
    pub node_cidrs: Vec<Prefix>,
    /// `--cluster FILE`.
    pub file: Option<PathBuf>,
}

/// A value with where it is from.
struct Known<T> {
    value: T,
    source: Source,
    /// As a reader names it: `--mode`, a path.
    named: String,
}

/// What is meant, as far as it is known. A file that was named must be good; those of CNIs are read
/// where they are there and make sense.
pub fn intent(given: &Given) -> Result<Intent, ClusterError> {
    let file = match &given.file {
        Some(path) => file::read(path)?,
        None => file::Cluster::default(),
    };
    let name = given
        .file
        .as_ref()
        .map_or(String::new(), |p| p.display().to_string());
    let root = file.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let cni = cni::read(&root);
    let mut sources = Vec::new();
    let mode = first([
        given.mode.map(|m| known(m, Source::Flag, "--mode")),
        file.mode.map(|m| known(m, Source::ClusterFile, &name)),
        cni.mode
            .as_ref()
            .map(|(m, path)| known(*m, Source::CniConfig, path)),
    ]);
    if let Some(m) = &mode {
        sources.push(format!("mode: {} ({})", m.value.name(), m.named));
    }
    let pods = first([
        some(&given.pod_cidrs).map(|p| known(p, Source::Flag, "--pod-cidr")),
        some(&file.pod_cidrs).map(|p| known(p, Source::ClusterFile, &name)),
        cni.pods
            .as_ref()
            .map(|(p, path)| known(p.clone(), Source::CniConfig, path)),
    ]);
    if let Some(p) = &pods {
        sources.push(format!("pods: {} ({})", list(&p.value), p.named));
    }
    let nodes = first([
        some(&given.node_cidrs).map(|p| known(p, Source::Flag, "--node-cidr")),
        some(&file.node_cidrs).map(|p| known(p, Source::ClusterFile, &name)),
    ]);
    if let Some(p) = &nodes {
        sources.push(format!("nodes: {} ({})", list(&p.value), p.named));
    }
    if !file.nodes.is_empty() {
        sources.push(format!("{} nodes listed ({name})", file.nodes.len()));
    }
    if let Some(cni) = &cni.name {
        sources.push(format!("CNI: {} ({})", cni.name, cni.why));
    }
    Ok(Intent {
        source: mode.as_ref().map_or(Source::NotKnown, |m| m.source),
        mode: mode.map_or(Mode::Unknown, |m| m.value),
        pod_cidrs: pods.map(|p| p.value).unwrap_or_default(),
        node_cidrs: nodes.map(|p| p.value).unwrap_or_default(),
        nodes: file.nodes,
        cni: cni.name,
        sources,
    })
}

fn known<T>(value: T, source: Source, named: &str) -> Known<T> {
    Known {
        value,
        source,
        named: named.to_owned(),
    }
}

fn first<T, const N: usize>(ranked: [Option<Known<T>>; N]) -> Option<Known<T>> {
    ranked.into_iter().flatten().next()
}

fn some(prefixes: &[Prefix]) -> Option<Vec<Prefix>> {
    (!prefixes.is_empty()).then(|| prefixes.to_vec())
}

fn list(prefixes: &[Prefix]) -> String {
    let all: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// `10.244.0.0/16`: an address and a length. A bare address is one of full length.
pub fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let (address, len) = text
        .split_once('/')
        .map_or((text, None), |(a, l)| (a, Some(l)));
    let address: std::net::IpAddr = address
        .parse()
        .map_err(|_e| format!("{text:?} is no prefix such as 10.244.0.0/16 or fd44::/48"))?;
    let host = if address.is_ipv6() { 128 } else { 32 };
    let len = match len {
        None => host,
        Some(len) => len
            .parse()
            .ok()
            .filter(|n| *n <= host)
            .ok_or_else(|| format!("{text:?}: the length is at most {host}"))?,
    };
    Ok(Prefix::new(address, len))
}

/// A path below the root that files are looked for in.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
