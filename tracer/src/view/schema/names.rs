//! Names of pods, containers, services and nodes.

use serde::Serialize;

use crate::{inventory::Owner, view::Who};

/// Who is at the ends of a flow or packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Names {
    /// At `src`.
    pub src: Option<Owner>,
    /// At `dst`.
    pub dst: Option<Owner>,
    /// At the source behind address translation.
    pub nat_src: Option<Owner>,
    /// At the destination behind address translation.
    pub nat_dst: Option<Owner>,
}

impl Names {
    /// `None` when nobody is known by name.
    pub fn new(who: &Who<'_>) -> Option<Self> {
        let far = who.far.unwrap_or_default();
        (!who.is_empty()).then(|| Self {
            src: who.ends.src.cloned(),
            dst: who.ends.dst.cloned(),
            nat_src: far.src.cloned(),
            nat_dst: far.dst.cloned(),
        })
    }
}

/// A device or address with its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The device or address, as the finding calls it.
    pub of: String,
    /// Whose it is.
    #[serde(flatten)]
    pub owner: Owner,
}
