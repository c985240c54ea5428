//! Names that the kernel gives to numbers: symbols and drop reasons.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// Names of kernel functions by address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// Start address and name (without compiler suffix), ascending.
    sorted: Vec<(u64, Arc<str>)>,
}

impl Symbols {
    /// From pairs in any order; compiler suffixes (`.isra.0`, `.constprop.0`, `.part.0`, `.cold`)
    /// are cut off, because they differ between builds of one kernel.
    pub fn new(pairs: impl IntoIterator<Item = (u64, Arc<str>)>) -> Self {
        let mut sorted: Vec<(u64, Arc<str>)> = pairs
            .into_iter()
            .map(|(a, n)| match n.split_once('.') {
                Some((head, _)) if !head.is_empty() => (a, Arc::from(head)),
                _ => (a, n),
            })
            .collect();
        sorted.sort_by_key(|(a, _)| *a);
        Self { sorted }
    }

    /// The function that contains `address`; `None` below the first one or without symbols.
    pub fn name(&self, address: u64) -> Option<&Arc<str>> {
        let i = self.sorted.partition_point(|(a, _)| *a <= address);
        self.sorted.get(i.checked_sub(1)?).map(|(_, n)| n)
    }

    /// No symbol is known (`kptr_restrict`, no `CAP_SYSLOG`).
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

/// This kernel's drop reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropReasons {
    /// Number → name without `SKB_DROP_REASON_`; subsystem reasons have their id in the upper
    /// 16 bits.
    pub names: BTreeMap<u32, Arc<str>>,
}

/// Everything that turns numbers of this kernel into names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Kernel functions.
    pub symbols: Symbols,
    /// Drop reasons.
    pub reasons: DropReasons,
}

impl Names {
    /// The function that contains `address`, or `?`.
    pub fn symbol(&self, address: u64) -> Arc<str> {
        self.symbols
            .name(address)
            .cloned()
            .unwrap_or_else(|| Arc::from("?"))
    }

    /// The name of drop reason `n`: `NOT_SPECIFIED` on kernels without reasons, `REASON_n` for a
    /// number that this kernel's BTF does not name.
    pub fn reason(&self, n: u32) -> Arc<str> {
        match self.reasons.names.get(&n) {
            Some(name) => name.clone(),
            None if self.reasons.names.is_empty() => Arc::from("NOT_SPECIFIED"),
            None => Arc::from(format!("REASON_{n}").as_str()),
        }
    }
}
