//! What the network is meant to do.

use std::borrow::Cow;

use serde::Serialize;

/// What findings were judged by.
#[derive(Clone, Debug, Serialize)]
pub struct Intent<'a> {
    /// `native`, `tunnel` or `unknown`.
    pub mode: &'static str,
    /// Where the mode is known from: `flag`, `cluster file`, `CNI's configuration` or `not known`.
    pub source: String,
    /// Prefixes of all pods of the cluster; empty when not known.
    pub pod_cidrs: Vec<String>,
    /// Prefixes of the nodes; empty when not known.
    pub node_cidrs: Vec<String>,
    /// Names of the nodes that are known.
    pub nodes: Vec<&'a str>,
    /// The CNI; `null` when nothing suggests one.
    pub cni: Option<Cni>,
    /// One line for each thing that is known, with where it is known from.
    pub sources: &'a [String],
}

/// Who configured the node.
#[derive(Clone, Debug, Serialize)]
pub struct Cni {
    /// The CNI's own name.
    pub name: Cow<'static, str>,
    /// The devices, rules or file that suggest it.
    pub why: String,
    /// From names of devices and rules, and so no fact.
    pub guess: bool,
}
