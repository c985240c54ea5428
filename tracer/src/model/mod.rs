//! Events → flows with paths, drops and outcomes.
//!
//! ```text
//! event ─▶ store (totals by tuple) ─▶ stitch (hops → chains) ─▶ attach (drops, errors) ─▶ pair
//!                                      ─▶ path, outcome ─▶ Flow ─▶ Snapshot
//! ```

mod attach;
mod chain;
mod draft;
mod explain;
mod feeders;
mod flow;
mod group;
mod loss;
mod nat;
mod outcome;
mod pair;
mod path;
mod record;
mod recount;
mod redirect;
mod shared;
mod snapshot;
mod stitch;
mod store;
mod sums;
mod topology;
mod totals;

pub use explain::{Explain, Explanation, Lookup, NoExplain};
pub use flow::{
    Decision, Direction, Drop, Flow, FlowId, Hop, Loss, Outcome, Scope, Snapshot, Step,
};
pub use outcome::SENT_TO_MANY;
pub use snapshot::{Model, ModelConfig, Orientation};
pub use sums::{DropAt, Sums, Volume};

#[cfg(test)]
mod tests;
