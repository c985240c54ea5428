//! What the network is meant to do, as all outputs say it.

use super::{schema, text::Style};
use crate::{
    diagnose::{CniGuess, Intent, guess_cni},
    inventory::{Inventory, Prefix},
};

/// The CNI, and whether it is a guess: named by its own files, or guessed from devices and rules.
fn cni(inventory: &Inventory, intent: &Intent) -> Option<(CniGuess, bool)> {
    let found = intent.cni.clone().map(|c| (c, false));
    found.or_else(|| guess_cni(inventory).map(|c| (c, true)))
}

/// `meant: …` and a line feed.
pub(super) fn line(style: Style, inventory: &Inventory, intent: &Intent) -> String {
    format!("meant: {}\n", style.sentence(&told(inventory, intent)))
}

/// What is known of it, and where from. Contains names from outside.
pub(super) fn told(inventory: &Inventory, intent: &Intent) -> String {
    let mut used = intent.sources.clone();
    if let Some((cni, true)) = cni(inventory, intent) {
        used.push(format!("CNI: {}, a guess from {}", cni.name, cni.why));
    }
    if used.is_empty() {
        "nothing is known of what is meant (--mode, --pod-cidr, --node-cidr, --cluster)".to_owned()
    } else {
        used.join("; ")
    }
}

/// The same for machines.
pub(super) fn object<'a>(inventory: &Inventory, intent: &'a Intent) -> schema::Intent<'a> {
    let prefixes = |all: &[Prefix]| all.iter().map(ToString::to_string).collect();
    schema::Intent {
        mode: intent.mode.name(),
        source: intent.source.to_string(),
        pod_cidrs: prefixes(&intent.pod_cidrs),
        node_cidrs: prefixes(&intent.node_cidrs),
        nodes: intent.nodes.iter().map(|n| n.name.as_str()).collect(),
        cni: cni(inventory, intent).map(|(cni, guess)| schema::Cni {
            name: cni.name,
            why: cni.why,
            guess,
        }),
        sources: &intent.sources,
    }
}
