//! Tables that each packet looks into.
//!
//! The standard library's hash resists whoever chooses the keys and takes a tenth of a microsecond for
//! the addresses of a packet; this one is seeded too, and several times as fast.

use std::collections::HashMap;

/// A table with a fast hash.
pub(super) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
